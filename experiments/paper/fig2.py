"""Fig. 2: where the time of NB and APNB goes, operation by operation, at 256x128.

`python -m bench.ablations --experiment fig2`; on two CPU cores about a minute. The paper reads "nearly five times
faster" off the sum on a GPU.
"""

from ann.spec import Size
from experiments.spec import Experiment
from experiments.variants import grid

SIZE = Size(width=256, height=128)

EXPERIMENT = Experiment(
    name="fig2",
    place=2,
    question="Which operations make NB slow?",
    order=lambda _: (2, 1),
    cells=tuple(grid("fig2", {"size": (SIZE,), "block": ("nb", "apnb")}, probes=("operations",))),
)
