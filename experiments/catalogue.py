"""The experiments by name, in the order in which they are run."""

from collections.abc import Callable

from experiments.beyond import counters, crossover, implementations, precision
from experiments.paper import fig2, table1, table2, table6, table7, zoo
from experiments.spec import Experiment
from experiments.training import Setting

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *(table1.EXPERIMENT, fig2.EXPERIMENT, zoo.ANN, zoo.DNL, table2.EXPERIMENT),
        *(module.EXPERIMENT for module in (counters, crossover, implementations, precision)),
    )
}

# These train; each is made for a setting: the data, the budget, the seeds.
TRAININGS: dict[str, Callable[[Setting], Experiment]] = {
    "table6": table6.make,
    "table7": table7.make,
}

# What the paper and the model zoo print, and what we ask beyond them.
BEYOND = tuple(name for name, experiment in EXPERIMENTS.items() if experiment.beyond_paper)
PAPER = tuple(name for name in (*EXPERIMENTS, *TRAININGS) if name not in BEYOND)
