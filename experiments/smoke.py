"""The budget `smoke`: every cell end to end in as little time as can be; nothing that comes of it is a result.

Whatever is executed is made so small that its id is that of no other budget's cell, and says `smoke` among its axes,
by which the reports mark every table. What is predicted alone is predicted as ever.
"""

from dataclasses import replace

from ann.spec import NetworkSpec, Size
from experiments.spec import Experiment, Job, Measurement, TrainingJob

BUDGET = "smoke"
BUDGET_S = 0.1
DIVISOR = 8
# Sides of maps before one is added, which makes sizes that no experiment has: the largest grid of the pyramids is 12.
SIDES = (12, 24)
# PSANet takes sides of 8k + 1.
IMAGE = Size(width=65, height=65)


def shrink(experiment: Experiment) -> Experiment:
    """Shrink what an experiment executes; a training is as short as its recipe's `smoke`."""
    return replace(experiment, cells=tuple(map(_shrunk, experiment.cells)))


def _shrunk(cell: Job) -> Job:
    axes = {**cell.axes, "budget": BUDGET}
    if isinstance(cell, TrainingJob):
        shortest = cell.training.recipe.length(BUDGET)
        return replace(cell, axes=axes, training=replace(cell.training, iterations=shortest))
    if not isinstance(cell, Measurement) or not cell.probes:
        return replace(cell, axes=axes)
    size = _small(cell.size, cell.subject)
    before = tuple((subject, _small(other, subject)) for subject, other in cell.preceded_by)
    if "size" in axes:
        axes["size"] = str(size)
    return replace(cell, axes=axes, size=size, preceded_by=before, budget_s=BUDGET_S)


def _small(size: Size, subject: object) -> Size:
    if isinstance(subject, NetworkSpec):
        return IMAGE
    least, most = SIDES
    width, height = (
        min(most, max(least, side // DIVISOR)) + 1 for side in (size.width, size.height)
    )
    return Size(width=width, height=height)
