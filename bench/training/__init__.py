"""Trains and evaluates networks; torch is loaded with the first name that is taken from here."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.training.distributed import place, processes
    from bench.training.run import evaluate_checkpoint, find_data, train_cell

_MODULES = {
    "evaluate_checkpoint": "run",
    "find_data": "run",
    "place": "distributed",
    "processes": "distributed",
    "train_cell": "run",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
