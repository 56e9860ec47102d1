"""Table 6: which part of the network brings how much, trained and evaluated.

`python -m bench.ablations --table 6`. On the procedural scenes nine networks are trained with three seeds each; the
paper has one run each on Cityscapes, which `--dataset cityscapes --root PATH --budget paper` repeats.
"""

from ann.catalogue import NETWORKS
from ann.spec import NetworkSpec
from experiments.spec import Experiment
from experiments.training import Axes, Setting, cells

ROWS: dict[Axes, NetworkSpec] = {
    (("network", name),): spec for name, spec in NETWORKS.items() if name.startswith("paper/")
}


def make(setting: Setting) -> Experiment:
    """All rows on some data."""
    question = "What do APNB and AFNB bring, and what does asymmetric sampling cost in accuracy?"
    return Experiment(name="table6", question=question, cells=tuple(cells("table6", ROWS, setting)))
