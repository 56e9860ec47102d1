"""Table 6: which part of the network brings how much, trained and judged.

`python -m bench.ablations --table 6`. On the procedural scenes nine networks are trained with three seeds each; the
paper has one run each on Cityscapes, which `--dataset cityscapes --root PATH --budget paper` repeats.
"""

from ann.catalogue import NETWORKS
from ann.spec import NetworkSpec
from experiments.spec import Experiment
from experiments.training import Axes, Setting, cells

NAMES = tuple(name for name in NETWORKS if name.startswith("paper/"))
ROWS: dict[Axes, NetworkSpec] = {(("network", name),): NETWORKS[name] for name in NAMES}


def make(setting: Setting) -> Experiment:
    """All rows on some data."""
    return Experiment(
        name="table6",
        question="What do APNB and AFNB bring, and what does asymmetric sampling cost in accuracy?",
        cells=tuple(cells("table6", ROWS, setting)),
    )
