"""Measurements of executed calls: time, memory, kernels, ceilings; torch is loaded by what executes."""

from importlib import import_module
from typing import TYPE_CHECKING

from bench.measure.collect import HostClock, collector_off
from bench.measure.cuda_stream import TorchGpu
from bench.measure.cuda_timer import LAUNCH_S, LONGEST_HOLD_S, QUEUE_S
from bench.measure.nvml import current_nvml, waiting

if TYPE_CHECKING:
    from bench.measure.exactness import float64_errors
    from bench.measure.measure import measure_cell
    from bench.measure.memory import measure_memory

_MODULES = {"float64_errors": "exactness", "measure_cell": "measure", "measure_memory": "memory"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
