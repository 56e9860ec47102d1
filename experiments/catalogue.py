"""The experiments by name, found in `experiments.paper` and `experiments.beyond`: a new one is a file there.

A module's `Experiment`s ask what needs no training; what its `make` gives for a `Setting` is trained, and is called as
the module.
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
_FIXED = [
    value
    for module in _MODULES.values()
    for value in vars(module).values()
    if isinstance(value, Experiment)
]

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in sorted(_FIXED, key=lambda each: (each.beyond_paper, each.place))
}
TRAININGS: dict[str, Callable[[Setting], Experiment]] = {
    name: module.make for name, module in _MODULES.items() if hasattr(module, "make")
}

# What the paper and the model zoo print, what we ask beyond them, and what only settles how others are trained.
BEYOND = tuple(name for name, experiment in EXPERIMENTS.items() if experiment.beyond_paper)
SETTLING = tuple(
    name for name in TRAININGS if _MODULES[name].__name__.startswith(f"{beyond.__name__}.")
)
PAPER = tuple(name for name in (*EXPERIMENTS, *TRAININGS) if name not in (*BEYOND, *SETTLING))
