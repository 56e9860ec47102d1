"""Measures a cell: memory, time, operators and kernels of an executed call."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, Literal

from ann.spec import UnavailableError
from bench.measure import ceilings, other_counters, probe_modules, profiler
from bench.measure.memory import measure_memory
from bench.predict import measured_memory, sequence_of, small_counts, wall_times
from bench.records import MeasuredMemory, Measures
from bench.workloads import Workload, make_workload, unswitched, warm_device
from experiments.spec import MachineCheck, Measurement, OwnModule

Device = Literal["cpu", "cuda"]

COMPILED = ("compiled", "fast-compiled")
NO_COMPILER = ("InvalidCxxCompiler", "No working C++ compiler", "TritonMissing")  # torch's words


def measure_cell(cell: Measurement | MachineCheck, device: Device) -> Measures:
    """Run the cell's probes on a device, memory before time so that nothing is warm in the allocator.

    Raises:
        ValueError: the subject can't be built.
        RuntimeError: whatever its execution raises.
    """
    with unswitched():
        match cell:
            case Measurement(protocol="paper"):
                return _by_the_paper(cell, device)
            case Measurement():
                return _measure_call(cell, device)
            case MachineCheck(reads="counters"):
                return Measures(counters=other_counters.count_with_other_tools(cell.call))
            case MachineCheck():
                return Measures(ceilings=ceilings.measure_ceilings(device))


def memory_on_cpu(cell: Measurement) -> MeasuredMemory:
    """Read a cell's memory on the processor; nothing is to be timed in this process afterwards.

    Raises:
        ValueError: the subject can't be built.
        RuntimeError: whatever its execution raises.
    """
    with _workload(cell, "cpu") as work:
        return measure_memory(work, device="cpu")


def _measure_call(cell: Measurement, device: Device) -> Measures:
    fields: dict[str, Any] = {"readings": {}}
    with _workload(cell, device) as work:
        for module in probe_modules(cell.probes, device):
            taken = import_module(module).probe(work, cell, device)
            fields["readings"] |= taken.pop("readings", {})
            fields |= taken
        # Of these there is no question which attention kernel runs.
        attends = cell.implementation not in ("plain", "chunked", "onnxruntime")
        kernels = profiler.executed_kernels(work, device=device) if attends else ()
    if isinstance(cell.subject, OwnModule) and cell.mode == "eval":  # here it can do no harm
        fields["readings"] |= small_counts(cell)
    return Measures(kernels=kernels, **fields)


@contextmanager
def _workload(cell: Measurement, device: Device) -> Iterator[Workload]:
    warm_device(cell, device)
    work = make_workload(cell, device)
    # In inference under autocast all calls share one context, and so the weights that it has cast.
    with work.numbers() if cell.mode == "eval" else nullcontext():
        if cell.implementation in COMPILED:
            _compile(work)
        yield work


def _compile(work: Callable[[], object]) -> None:
    """Call once, which compiles for these shapes, in this process: it is killed at its end."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        work()
    except Exception as error:
        if not any(name in f"{type(error).__name__}: {error}" for name in NO_COMPILER):
            raise
        msg = (
            "torch.compile found no working compiler; install a C++ compiler (g++) for the CPU or "
            "triton for a GPU, or set CXX"
        )
        raise UnavailableError(msg) from error


def _by_the_paper(cell: Measurement, device: Device) -> Measures:
    """What the released scripts read, flaws and all."""
    sequence = sequence_of(cell)
    figure = measured_memory(sequence)[-1] if device == "cuda" else None
    times = wall_times(*sequence[-1], device=device, budget_s=cell.budget_s)
    return Measures(
        memory=MeasuredMemory(paper_bytes=figure) if figure is not None else None, timings=(times,)
    )
