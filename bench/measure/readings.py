"""All probes of one cell: what is counted and predicted without running it, and what a run of it shows."""

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from ann.spec import BlockSpec, NetworkSpec, Size, UnavailableError
from bench.measure import ceilings, cpu_timer, memory, other_counters, profiler
from bench.predict import attention_kernels, cross_check, released_scripts
from bench.predict.imitation import Imitation
from bench.records import Counts, MeasuredMemory, Measures, PredictedMemory, Timing
from bench.workloads import (
    Workload,
    build_subject,
    lower_dtype,
    make_workload,
    require_format,
    unswitched,
    warm_device,
)
from experiments.spec import Job, MachineCheck, Measurement, OwnModule, Subject, TrainingJob

Device = Literal["cpu", "cuda"]

REPEATS = 5  # of a profiled call
COMPILED = ("compiled", "fast-compiled")
NO_COMPILER = ("InvalidCxxCompiler", "No working C++ compiler", "TritonMissing")  # torch's words


def predict_cell(cell: Measurement, aim: Device = "cuda") -> Measures:
    """Count operations and predict memory on meta tensors.

    Args:
        cell: what to predict; what is compiled is predicted as its source.
        aim: device whose rules for autocast and attention kernels hold where the cell names none;
            what the CPU does not have is predicted for CUDA, and says so.

    Raises:
        ValueError: the subject can't be built, or the counters disagree.
        UnavailableError: no device that may be meant has such a number format or attention kernel.
    """
    if cell.device in ("cpu", "cuda"):
        return _predict(cell, cell.device)
    try:
        return _predict(cell, aim)
    except UnavailableError:
        if aim == "cuda":
            raise
        return _predict(cell, "cuda", instead=True)


def _predict(cell: Measurement, aim: Device, *, instead: bool = False) -> Measures:
    if aim == "cpu":
        require_format(cell.dtype, aim)
    work = make_workload(cell, "meta")
    with Imitation(aim, lower_dtype(cell.dtype)).around(work.module) as imitation:
        # Ahead of counting: clocks are read of calls that are not the first, memory of a processor
        # of the first, since the heap keeps what others leave.
        predicted = _predicted(cell, work, first=aim == "cpu")
        counts = _counts(cell, work)
    if cell.implementation == "onnxruntime":  # which has its own memory plan
        return Measures(counts=counts)
    device = aim if imitation.changed or instead else None
    return Measures(counts=counts, predicted=predicted.model_copy(update={"device": device}))


def _counts(cell: Measurement, work: Workload) -> Counts:
    # The formula and the paper's rules are of the blocks as they were written.
    plain = cell.implementation == "plain" and isinstance(cell.subject, BlockSpec)
    return cross_check.cross_checked_counts(
        work.module,
        work.inputs,
        mode=cell.mode,
        spec=cell.subject if plain else None,  # type: ignore[arg-type]  # it is a block's
        size=cell.size,
        # Somebody's own module is run in the cell's process alone, where it can do no harm.
        execute=not isinstance(cell.subject, OwnModule),
    )


def _predicted(cell: Measurement, work: Workload, *, first: bool) -> PredictedMemory:
    found = memory.predict_memory(work.module, work.inputs, mode=cell.mode, first=first)
    if cell.protocol == "strict":
        return found
    figure = released_scripts.predicted_memory(_sequence(cell))[-1]
    return found.model_copy(update={"paper_bytes": figure})


def _sequence(
    cell: Measurement,
) -> tuple[tuple[Callable[[], nn.Module], Size, int | tuple[int, ...]], ...]:
    """What the released script would have run, in order, this cell last."""
    runs = (*cell.preceded_by, (cell.subject, cell.size))
    return tuple(
        (partial(build_subject, subject), size, _channels(subject)) for subject, size in runs
    )


def _channels(subject: Subject) -> int | tuple[int, ...]:
    if isinstance(subject, NetworkSpec):
        return 3
    low = subject.low_channels if isinstance(subject, BlockSpec) else None
    return (subject.channels, low) if low else subject.channels


def measure_cell(cell: Job, device: Device, folder: Path | None = None) -> Measures:
    """Run the cell's probes on a device, memory before time so that nothing is warm in the allocator.

    Args:
        cell: what to run.
        device: where.
        folder: of the records, for what a training leaves beside them.

    Raises:
        ValueError: the subject can't be built.
        RuntimeError: whatever its execution raises.
    """
    with unswitched():
        return _measure(cell, device, folder)


def _measure(cell: Job, device: Device, folder: Path | None) -> Measures:
    match cell:
        case Measurement(protocol="paper"):
            return _by_the_paper(cell, device)
        case Measurement():
            return _measure_call(cell, device)
        case TrainingJob():
            from bench.training import run

            return Measures(accuracy=run.train_cell(cell, device, folder))
        case MachineCheck(reads="counters"):
            return Measures(rivals=other_counters.count_with_other_tools(cell.call))
        case MachineCheck():
            return Measures(ceilings=ceilings.measure_ceilings(device))
    msg = f"a checkpoint is judged by bench.training.judge, got {type(cell).__name__}"
    raise ValueError(msg)


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
        kernels=attention_kernels.executed_kernels(work, device=device) if _attends(cell) else (),
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
    return cpu_timer.time_cuda(work, budget_s=cell.budget_s)


def _by_the_paper(cell: Measurement, device: Device) -> Measures:
    """What the released scripts read, flaws and all."""
    sequence = _sequence(cell)
    figure = released_scripts.measured_memory(sequence)[-1] if device == "cuda" else None
    times = released_scripts.wall_times(*sequence[-1], device=device, budget_s=cell.budget_s)
    return Measures(
        memory=MeasuredMemory(paper_bytes=figure) if figure is not None else None, timings=(times,)
    )
