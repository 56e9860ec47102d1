"""The budget `smoke`: every cell end to end in as little time as can be; nothing that comes of it is a result.

Whatever is executed is made so small that its id is that of no other budget's cell, and says `smoke` among its axes,
by which the reports mark every table. What is predicted alone is predicted as ever.
"""

from dataclasses import replace

from ann.spec import NetworkSpec, Size
from experiments.spec import Experiment, Job, Measurement

BUDGET = "smoke"
BUDGET_S = 0.1
DIVISOR = 8
# Maps and images are no smaller: the largest grid of the pyramids is 12, and PSANet takes sides of 8k + 1.
SMALLEST_SIDE = 12
IMAGE = Size(width=65, height=65)


def shrink(experiment: Experiment) -> Experiment:
    """Shrink what an experiment executes; a training is as short as its recipe's `smoke` by itself."""
    return replace(experiment, cells=tuple(map(_shrunk, experiment.cells)))


def _shrunk(cell: Job) -> Job:
    axes = {**cell.axes, "budget": BUDGET}
    if not isinstance(cell, Measurement) or not cell.probes or cell.device == "cuda":
        return replace(cell, axes=axes)
    size = _small(cell.size, cell.subject)
    before = tuple((subject, _small(other, subject)) for subject, other in cell.preceded_by)
    if "size" in axes:
        axes["size"] = str(size)
    return replace(cell, axes=axes, size=size, preceded_by=before, budget_s=BUDGET_S)


def _small(size: Size, subject: object) -> Size:
    if isinstance(subject, NetworkSpec):
        return IMAGE
    width, height = (max(SMALLEST_SIDE, side // DIVISOR) for side in (size.width, size.height))
    return Size(width=width, height=height)
