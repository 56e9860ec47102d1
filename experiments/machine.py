"""What the machine itself reaches, measured once at the start of a run: one copy, and a product in each number format.

Every run that times blocks for long enough does it; the reports draw their rooflines from its record. On two CPU cores
eight seconds, half of them the start of a process.
"""

from collections.abc import Sequence

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments.spec import Job, MachineCheck, Measurement

NAME = "ceilings"
BUDGET_S = 3.0  # about
# A job has a subject; no block is built for this one.
CELL = MachineCheck(
    experiment=NAME,
    axes={"machine": NAME},
    subject=BLOCKS["nb"],
    size=Size(width=1, height=1),
    reads="ceilings",
)


def first(cells: Sequence[Job]) -> tuple[Job, ...]:
    """Put the machine's ceilings ahead of cells whose timing takes at least as long as theirs."""
    timed = (cell for cell in cells if isinstance(cell, Measurement) and "timing" in cell.probes)
    return (CELL, *cells) if sum(cell.budget_s for cell in timed) >= BUDGET_S else tuple(cells)
