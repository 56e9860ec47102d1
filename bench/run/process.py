"""Runs a cell in a worker process of its own, or in one that cells share, or in a fork of one that is ready.

A crash, hang or out-of-memory there is that cell's failure and affects nothing else. Workers end with
the run that started them, however that ends: a run that is killed leaves nothing behind that would take
the machine from the next one, or write into the same checkpoint.
"""

import gc
import os
import sys
import threading
from collections.abc import Generator, Hashable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from bench import measure, training
from bench.records import NO_GRAPH, Failure, Measures, error_failure
from bench.workers import Worker, ask_in_fork
from experiments.spec import Evaluation, Job, MachineCheck, Measurement, OwnModule, TrainingJob

TARGET = f"{__name__}:measure_cells"
# Processes between two cells, by what they are ready for.
_KEPT: dict[Hashable, Worker] = {}
_KEEPING = threading.Lock()
# What a cell on a processor imports, which takes longer than many of them; none of it computes.
IMPORTED_FIRST = (
    *(f"{measure.__name__}.{name}" for name in ("measure", "cpu_timer")),
    *("scipy.special", "timm"),
)
# Beyond the limit of a cell in a fork, for the process that waits for it.
ANSWER_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a process is to measure."""

    cell: Job
    device: str
    folder: Path | None = None  # of the records, for what a training leaves beside them
    code: str | None = None  # its digest; a training goes on with a checkpoint of the same
    slot: int = 0  # which of the cells that run at once this is
    threads: int | None = None  # its share of the processor; None if it has the machine to itself
    gpus: int = 1  # how many the machine has
    waits_on_device: bool = False  # whether its parent has a context on the device, and idles there


def run_task(task: Task) -> Measures | Failure:
    """Measure in a process that is not this one; whatever becomes of it is the outcome.

    To load torch, and CUDA, takes longer than many a cell. So cells that leave a process as they found
    it follow one another in one, and what is measured on a processor runs in a fork of one that has
    loaded it all and run nothing. Both are kept until `end_kept`; all others have one of their own.
    """
    key = _kept_for(task)
    if key is None:
        end_kept()  # it would keep memory of the device, and be another process on it
        with Worker(TARGET) as worker:
            return worker.ask(task, limit_s=task.cell.time_limit_s)
    with _KEEPING:
        worker = _KEPT.pop(key) if key in _KEPT else Worker(TARGET).start()
    if worker.is_gone():
        worker.end()
        worker = Worker(TARGET).start()
    try:
        return worker.ask(task, limit_s=task.cell.time_limit_s + ANSWER_S * forks(task))
    finally:
        if worker.goes_on:
            with _KEEPING:
                _KEPT[key] = worker
        else:
            worker.end()


def _kept_for(task: Task) -> Hashable:
    """What a kept process must be ready for to take a task; None where the task has one of its own."""
    if forks(task):
        return "forks"
    # Which device, and how many threads, is settled before torch is loaded.
    return (task.device, task.slot, task.threads) if shares(task) else None


def forks(task: Task) -> bool:
    """Whether a cell is measured in a fork, which is as a process of its own that has imported what it needs.

    On a processor, under Linux. Of somebody's own module and of compiled code nobody knows what they
    need of a process before it has loaded torch.
    """
    if task.device != "cpu" or task.threads is not None or sys.platform != "linux":
        return False
    return _leaves_nothing_behind(task.cell)


def shares(task: Task) -> bool:
    """Whether a cell may follow others in one process.

    On a GPU its readings then are what they would be in its own: memory is a rise over what stands,
    its peak is set back ahead of the call, and clocks wait until they are steady. But the paper's procedure
    never sets a maximum back, and a training starts processes. On a processor trainings follow one
    another: they start none there, and all that they draw follows from their seed.
    """
    if task.device == "cpu":
        return isinstance(task.cell, TrainingJob)
    is_strict = not isinstance(task.cell, Measurement) or task.cell.protocol == "strict"
    return task.threads is None and is_strict and _leaves_nothing_behind(task.cell)


def _leaves_nothing_behind(cell: Job) -> bool:
    """Whether a cell leaves nothing behind: compiled code stays, and somebody's own module may leave anything."""
    if isinstance(cell, Measurement):
        compiles = cell.implementation in ("compiled", "fast-compiled")
        return not compiles and not isinstance(cell.subject, OwnModule)
    return isinstance(cell, MachineCheck) and cell.reads == "ceilings"


def end_kept() -> None:
    """End the processes that are kept for cells, if there are any."""
    with _KEEPING:
        while _KEPT:
            _KEPT.popitem()[1].end()


def tidy_process() -> bool:
    """Give back what tensors took that are gone; return whether a GPU still computes."""
    import torch

    gc.collect()
    measure.give_back()
    if torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
            torch.cuda.synchronize()
        except RuntimeError:  # what was measured before is good
            return False
    return True


def measure_cells() -> Generator[Measures | Failure, Task, Measures | Failure]:
    """In the process: answer each task with its outcome; the last one after which it can't be shared."""
    task = yield  # type: ignore[misc]  # the first question
    while True:
        if forks(task):
            for name in IMPORTED_FIRST:
                import_module(name)
            task = yield ask_in_fork(measured_outcome, task, limit_s=task.cell.time_limit_s)
            continue
        outcome = measured_outcome(task)
        if not (shares(task) and is_clean(outcome) and tidy_process()):
            return outcome
        task = yield outcome


def measured_outcome(task: Task) -> Measures | Failure:
    """Measure a cell in this process."""
    if task.threads is not None:
        take_slot(task)
    try:
        outcome = _measured(task)
    except BaseException as error:  # noqa: BLE001  # whatever goes wrong in a cell is that cell's record
        outcome = error_failure(error)
    return say_how_made(outcome, task.cell) if isinstance(outcome, Failure) else outcome


def _measured(task: Task) -> Measures | Failure:
    match task.cell:
        case TrainingJob() as cell:
            if task.device == "cpu":
                measure.set_malloc(measure.ALL_KEPT)
            accuracy = training.train_cell(cell, task.device, task.folder, code=task.code)
            return Measures(accuracy=accuracy)
        case Evaluation():
            return Failure(kind="error", reason="checkpoints are evaluated by bench.ablations")
        case Measurement() as cell if reads_apart(cell, task.device):
            return measured_apart(cell)
        case cell:
            measure.waiting.count = int(task.waits_on_device)
            return measure.measure_cell(cell, task.device)  # type: ignore[arg-type]  # a device


def say_how_made(failure: Failure, cell: Job) -> Failure:
    """Add how a factory was called to an error in somebody's own block, which may be why it doesn't fit the map."""
    if failure.kind != "error" or not isinstance(cell.subject, OwnModule):
        return failure
    from bench.workloads import prepare_call  # brings torch

    try:
        call = prepare_call(cell.subject, cell.size)
    except Exception:  # noqa: BLE001  # which is the failure itself
        return failure
    return failure.model_copy(update={"reason": f"{failure.reason}; made by {call}"})


def reads_apart(cell: Measurement, device: str) -> bool:
    """Whether a cell's memory is read in another process than what else is: a processor's, on Linux alone."""
    beside = {"memory"} < set(cell.probes) and cell.protocol == "strict"
    return beside and device == "cpu" and sys.platform == "linux"


def measured_apart(cell: Measurement) -> Measures | Failure:
    """Measure a cell on the processor, its memory in a fork, as a heap that keeps nothing slows what is timed.

    Nothing of torch has run here before.
    """
    memory = ask_in_fork(measure.memory_on_cpu, cell, limit_s=cell.time_limit_s)
    if isinstance(memory, Failure):
        return memory
    others = replace(cell, probes=tuple(name for name in cell.probes if name != "memory"))
    return measure.measure_cell(others, "cpu").model_copy(update={"memory": memory})


def is_clean(outcome: Measures | Failure) -> bool:
    """Whether what a cell leaves behind is known.

    Not after a failure, unless nothing was run, and not after a capture that failed: nobody knows in
    what state that leaves the allocator and the streams.
    """
    if isinstance(outcome, Failure):
        return outcome.kind == "unavailable"
    notes = (note for timing in outcome.timings for note in timing.notes)
    return not any(note.startswith(NO_GRAPH) for note in notes)


def take_slot(task: Task) -> None:
    """Take this slot's GPU and its share of the processor, before torch is loaded.

    Where there are more slots than GPUs, some share one.
    """
    os.environ["OMP_NUM_THREADS"] = str(task.threads)
    if task.device == "cuda":
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = shown.split(",") if shown else list(map(str, range(task.gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = names[task.slot % len(names)]
