"""Table 1: operations, memory and time of NB and APNB, at the paper's two sizes.

`python -m bench.ablations --experiment table1`; on two CPU cores about six minutes, half of it NB
at 256x128. Expect 58.0 and 601.4 (the paper's GFLOPs, which are MACs of one of NB's two products
and of the shared projection once), 15.6 where the paper has 15.5, no 43.5 by any count, and 609,
150, 7797 and 277 MB under the paper's procedure.
"""

from typing import Any

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments.spec import Cell, Experiment

TRAINING, TESTING = SIZES = (Size(width=96, height=96), Size(width=256, height=128))
STRICT = ("nb", "apnb", "apnb-concat", "nb-bottleneck", "apnb-bottleneck")
# Seconds of timing; one call of NB at 256x128 takes 15 s on two CPU cores, and a median wants several.
BUDGET_S = 10.0
BUDGETS_S = {("nb", TESTING): 60.0}
# The released script runs the blocks in this order, one size after the other, in one process
# (models of the memory figures: the maximum is never reset, so that what ran before decides).
SEQUENCE = tuple((name, size) for size in SIZES for name in ("apnb-concat", "nb"))


def _cell(name: str, size: Size, **fields: Any) -> Cell:  # noqa: ANN401
    axes = {"block": name, "size": str(size)}
    return Cell(experiment="table1", axes=axes, subject=BLOCKS[name], size=size, **fields)


EXPERIMENT = Experiment(
    name="table1",
    question="Is APNB 6 times faster and 28 times smaller than a non-local block?",
    order=lambda cell: (3,) if cell.protocol == "paper" else (1, cell.size != TESTING),
    cells=(
        *(
            _cell(name, size, budget_s=BUDGETS_S.get((name, size), BUDGET_S))
            for size in SIZES
            for name in STRICT
        ),
        *(
            _cell(
                name,
                size,
                protocol="paper",
                preceded_by=tuple((BLOCKS[other], at) for other, at in SEQUENCE[:place]),
            )
            for place, (name, size) in enumerate(SEQUENCE)
        ),
    ),
)
