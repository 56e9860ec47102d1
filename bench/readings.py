"""All probes of one cell: what is counted and predicted without running it, and what a run of it shows."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from ann.spec import BlockSpec, NetworkSpec, Size
from bench import workload
from bench.probes import memory, operations, opinions, paper, timing
from bench.record import Counts, MeasuredMemory, Measures, PredictedMemory, Timing
from bench.workload import Workload
from experiments.spec import Cell, OwnModule, Subject

Device = Literal["cpu", "cuda"]

REPEATS = 5  # of a profiled call
WARM_SIZE = Size(width=16, height=16)
WARM_IMAGE = Size(width=65, height=65)


def predict(cell: Cell) -> Measures:
    """Count operations and predict memory on meta tensors.

    Raises:
        ValueError: the subject can't be built, or the counters disagree.
    """
    work = workload.make(cell, "meta")
    return Measures(counts=_counts(cell, work), predicted=_predicted(cell, work))


def _counts(cell: Cell, work: Workload) -> Counts:
    spec = cell.subject if isinstance(cell.subject, BlockSpec) else None
    return opinions.counts(
        work.module,
        work.inputs,
        mode=cell.mode,
        spec=spec,
        size=cell.size,
        # Somebody's own module is run in the cell's process alone, where it can do no harm.
        execute=not isinstance(cell.subject, OwnModule),
    )


def _predicted(cell: Cell, work: Workload) -> PredictedMemory:
    found = memory.predict(work.module, work.inputs, mode=cell.mode)
    if cell.protocol == "strict":
        return found
    figure = paper.predicted_memory(_sequence(cell))[-1]
    return found.model_copy(update={"paper_bytes": figure})


def _sequence(
    cell: Cell,
) -> tuple[tuple[Callable[[], nn.Module], Size, int | tuple[int, ...]], ...]:
    """What the released script would have run, in order, this cell last."""
    runs = (*cell.preceded_by, (cell.subject, cell.size))
    return tuple(
        (partial(workload.build_subject, subject), size, _channels(subject))
        for subject, size in runs
    )


def _channels(subject: Subject) -> int | tuple[int, ...]:
    if isinstance(subject, NetworkSpec):
        return 3
    low = subject.low_channels if isinstance(subject, BlockSpec) else None
    return (subject.channels, low) if low else subject.channels


def measure(cell: Cell, device: Device, folder: Path | None = None) -> Measures:
    """Run the cell's probes on a device, memory before time so that nothing is warm in the allocator.

    Args:
        cell: what to run.
        device: where.
        folder: of the records, for what a training leaves beside them.

    Raises:
        ValueError: the subject can't be built.
        RuntimeError: whatever its execution raises.
    """
    if cell.protocol == "paper":
        return _by_the_paper(cell, device)
    if "accuracy" in cell.probes:
        from bench.accuracy import run

        return Measures(accuracy=run.measure(cell, device, folder))
    _warm(cell, device)
    work = workload.make(cell, device)
    asked = cell.probes
    read = memory.measure(work, device=device) if "memory" in asked else None
    timings = _time(cell, work, device) if "timing" in asked else ()
    profile = partial(operations.profile, work, device=device, repeats=REPEATS)
    return Measures(
        memory=read, timings=timings, operations=profile() if "operations" in asked else ()
    )


def _warm(cell: Cell, device: Device) -> None:
    """Run the subject once on a tiny map, so that libraries are loaded before anything is read."""
    size = WARM_IMAGE if isinstance(cell.subject, NetworkSpec) else WARM_SIZE
    workload.make(replace(cell, size=size, batch=2 if cell.mode == "train" else 1), device)()


def _time(cell: Cell, work: Workload, device: Device) -> tuple[Timing, ...]:
    if device == "cpu":
        return timing.time_cpu(work, budget_s=cell.budget_s)
    return timing.time_cuda(work, budget_s=cell.budget_s)


def _by_the_paper(cell: Cell, device: Device) -> Measures:
    """What the released scripts read, flaws and all."""
    sequence = _sequence(cell)
    figure = paper.measured_memory(sequence)[-1] if device == "cuda" else None
    times = paper.wall_times(*sequence[-1], device=device, budget_s=cell.budget_s)
    return Measures(
        memory=MeasuredMemory(paper_bytes=figure) if figure is not None else None, timings=(times,)
    )
