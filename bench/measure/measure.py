"""Measures a cell: memory, time, operators and kernels of an executed call."""

import logging
import os
from contextlib import nullcontext
from functools import partial
from typing import Literal

from ann.spec import UnavailableError
from bench.measure import ceilings, cpu_timer, cuda_timer, memory, other_counters, profiler
from bench.predict import measured_memory, sequence_of, wall_times
from bench.records import MeasuredMemory, Measures, Timing
from bench.workloads import (
    Workload,
    make_workload,
    unswitched,
    warm_device,
)
from experiments.spec import MachineCheck, Measurement

Device = Literal["cpu", "cuda"]

REPEATS = 5  # of a profiled call
COMPILED = ("compiled", "fast-compiled")
NO_COMPILER = ("InvalidCxxCompiler", "No working C++ compiler", "TritonMissing")  # torch's words


def measure_cell(cell: Measurement | MachineCheck, device: Device) -> Measures:
    """Run the cell's probes on a device, memory before time so that nothing is warm in the allocator.

    Args:
        cell: what to run.
        device: where.

    Raises:
        ValueError: the subject can't be built.
        RuntimeError: whatever its execution raises.
    """
    with unswitched():
        return _measure(cell, device)


def _measure(cell: Measurement | MachineCheck, device: Device) -> Measures:
    match cell:
        case Measurement(protocol="paper"):
            return _by_the_paper(cell, device)
        case Measurement():
            return _measure_call(cell, device)
        case MachineCheck(reads="counters"):
            return Measures(rivals=other_counters.count_with_other_tools(cell.call))
        case MachineCheck():
            return Measures(ceilings=ceilings.measure_ceilings(device))


def _measure_call(cell: Measurement, device: Device) -> Measures:
    warm_device(cell, device)
    work = make_workload(cell, device)
    # In inference under autocast all calls share one context, and so the weights that it has cast.
    with work.numbers() if cell.mode == "eval" else nullcontext():
        return _read(cell, work, device)


def _read(cell: Measurement, work: Workload, device: Device) -> Measures:
    if cell.implementation in COMPILED:
        _compile(work)
    asked = cell.probes
    read = memory.measure_memory(work, device=device) if "memory" in asked else None
    timings = _time(cell, work, device) if "timing" in asked else ()
    profile = partial(profiler.profile, work, device=device, repeats=REPEATS)
    return Measures(
        memory=read,
        timings=timings,
        operations=profile() if "operations" in asked else (),
        kernels=profiler.executed_kernels(work, device=device) if _attends(cell) else (),
    )


def _attends(cell: Measurement) -> bool:
    """Whether which attention kernel runs is a question."""
    return cell.implementation not in ("plain", "chunked", "onnxruntime")


def _compile(work: Workload) -> None:
    """Call once, which compiles for these shapes, in this process: it is killed at its end."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        work()
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        if not any(name in told for name in NO_COMPILER):
            raise
        msg = (
            "torch.compile found no working compiler; install a C++ compiler (g++) for the CPU or "
            "triton for a GPU, or set CXX"
        )
        raise UnavailableError(msg) from error


def _time(cell: Measurement, work: Workload, device: Device) -> tuple[Timing, ...]:
    if device == "cpu":
        return cpu_timer.time_cpu(work, budget_s=cell.budget_s)
    return cuda_timer.time_cuda(work, budget_s=cell.budget_s)


def _by_the_paper(cell: Measurement, device: Device) -> Measures:
    """What the released scripts read, flaws and all."""
    sequence = sequence_of(cell)
    figure = measured_memory(sequence)[-1] if device == "cuda" else None
    times = wall_times(*sequence[-1], device=device, budget_s=cell.budget_s)
    return Measures(
        memory=MeasuredMemory(paper_bytes=figure) if figure is not None else None, timings=(times,)
    )
