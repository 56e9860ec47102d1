"""Table 1: operations, memory and time of NB and APNB, at the paper's two sizes.

`python -m bench.ablations --experiment table1`; on two CPU cores about five minutes, half of it NB at 256x128. Expect
58.0 and 601.4 (the paper's GFLOPs, which are MACs of one of NB's two products and of the shared projection once), 15.6
where the paper has 15.5, no 43.5 by any count, and 609, 150, 7797 and 277 MB under the paper's procedure.
"""

from dataclasses import replace

from ann.spec import Size
from experiments.spec import Experiment
from experiments.variants import grid

TRAINING, TESTING = SIZES = (Size(width=96, height=96), Size(width=256, height=128))
STRICT = {"size": SIZES, "block": ("nb", "apnb", "apnb-concat", "nb-bottleneck", "apnb-bottleneck")}
# The released script runs the blocks in this order, one size after the other, in one process
# (models of the memory figures: the maximum is never reset, so that what ran before decides).
PAPER = tuple(grid("table1", {"size": SIZES, "block": ("apnb-concat", "nb")}, protocol="paper"))
SEQUENCE = tuple((cell.name, cell.size) for cell in PAPER)

EXPERIMENT = Experiment(
    name="table1",
    place=1,
    question="Is APNB 6 times faster and 28 times smaller than a non-local block?",
    order=lambda cell: (3,) if cell.protocol == "paper" else (1, cell.size != TESTING),
    cells=(
        *(
            # One call of NB at 256x128 takes 15 s on two CPU cores, and a median wants several.
            replace(cell, budget_s=60.0 if (cell.name, cell.size) == ("nb", TESTING) else 10.0)
            for cell in grid("table1", STRICT)
        ),
        *(
            replace(cell, preceded_by=tuple((other.subject, other.size) for other in PAPER[:place]))
            for place, cell in enumerate(PAPER)
        ),
    ),
)
