"""The experiments by name, found in `experiments.paper` and `experiments.beyond`: a new one is a file there.

A module with an `EXPERIMENT` asks what needs no training; one with a function `make` is trained, on the data of a
`Setting`, and is called as its module.
"""

import pkgutil
from collections.abc import Callable
from importlib import import_module

from experiments import beyond, paper
from experiments.spec import Experiment
from experiments.training import Setting

_MODULES = {
    module.name.rpartition(".")[2]: import_module(module.name)
    for room in (paper, beyond)
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
}

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in sorted(
        (module.EXPERIMENT for module in _MODULES.values() if hasattr(module, "EXPERIMENT")),
        key=lambda experiment: (experiment.beyond_paper, experiment.place),
    )
}
TRAININGS: dict[str, Callable[[Setting], Experiment]] = {
    name: module.make for name, module in _MODULES.items() if hasattr(module, "make")
}

# What the paper and the model zoo print, and what we ask beyond them.
BEYOND = tuple(name for name, experiment in EXPERIMENTS.items() if experiment.beyond_paper)
PAPER = tuple(name for name in (*EXPERIMENTS, *TRAININGS) if name not in BEYOND)
