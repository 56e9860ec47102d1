"""Measurements of executed calls: time, memory, kernels, ceilings; torch is loaded by what executes."""

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from ann.spec import unknown
from bench.measure.collect import HostClock, collector_off
from bench.measure.cuda_stream import TorchGpu
from bench.measure.cuda_timer import LAUNCH_S, LONGEST_HOLD_S, QUEUE_S
from bench.measure.nvml import current_nvml, waiting

if TYPE_CHECKING:
    from bench.measure.cheating import MisleadingCallError, watched
    from bench.measure.exactness import float64_errors
    from bench.measure.measure import measure_cell, memory_on_cpu
    from bench.measure.memory import ALL_KEPT, give_back, measure_memory, set_malloc

# What a cell may name as its probes, in the order in which they are run: memory before time, so that nothing is warm in
# the allocator. The function `probe` of each module here takes workload, cell and device, gives fields of `Measures`.
PROBES = {
    "memory": "memory",
    "timing": "{device}_timer",
    "operations": "profiler",
}
_MODULES = {
    "ALL_KEPT": "memory",
    "MisleadingCallError": "cheating",
    "float64_errors": "exactness",
    "give_back": "memory",
    "measure_cell": "measure",
    "memory_on_cpu": "measure",
    "measure_memory": "memory",
    "set_malloc": "memory",
    "watched": "cheating",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def probe_modules(names: Iterable[str], device: str) -> tuple[str, ...]:
    """Modules of probes on a device, in their order.

    Raises:
        ValueError: there is no such probe.
    """
    names = tuple(names)
    for name in names:
        if name not in PROBES:
            msg = unknown("probe", name, PROBES)
            raise ValueError(msg)
    chosen = (module for name, module in PROBES.items() if name in names)
    return tuple(f"{__name__}.{module.format(device=device)}" for module in chosen)
