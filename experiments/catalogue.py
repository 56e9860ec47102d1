"""The experiments by name, in the order in which they are run."""

from experiments import fig2, table1, table2, zoo_ann, zoo_dnl
from experiments.spec import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in (table1, fig2, zoo_ann, zoo_dnl, table2)
}
