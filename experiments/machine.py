"""What the machine itself reaches, measured once at the start of a run: one copy, and a product in each number format.

Every run that times blocks for long enough does it; the reports draw their rooflines from its record.
On two CPU cores eight seconds, half of them the start of a process.
"""

from collections.abc import Sequence

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments.spec import Cell

NAME = "ceilings"
# A cell has a subject; no block is built for this one.
CELL = Cell(
    experiment=NAME,
    axes={"machine": NAME},
    subject=BLOCKS["nb"],
    size=Size(width=1, height=1),
    probes=("ceilings",),
    budget_s=3.0,
)


def first(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Put the machine's ceilings ahead of cells whose timing takes at least as long as theirs."""
    timed_s = sum(cell.budget_s for cell in cells if "timing" in cell.probes)
    return (CELL, *cells) if timed_s >= CELL.budget_s else tuple(cells)
