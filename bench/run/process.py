"""Runs a cell in a worker process of its own, or in the one that cells of a GPU share.

A crash, hang or out-of-memory there is that cell's failure and affects nothing else. Workers end with
the run that started them, however that ends: a run that is killed leaves nothing behind that would take
the machine from the next one, or write into the same checkpoint.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

from bench.records import Failure, Measures
from bench.workers import Worker
from experiments.spec import Job, MachineCheck, Measurement, OwnModule

TARGET = "bench.run.worker:measure_cells"
# The process that cells share, between two of them.
_KEPT: list[Worker] = []
_KEEPING = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a process is told to measure.

    Attributes:
        cell: what to measure.
        device: where.
        folder: of the records, for what a training leaves beside them.
        code: digest of the code, as records have it; a training goes on with a checkpoint of the same.
        slot: which of the cells that run at once this is.
        threads: its share of the processor; None if it has the machine to itself.
        gpus: how many the machine has.
        waits_on_device: whether the process that asks has a context on the device, where it idles.
    """

    cell: Job
    device: str
    folder: Path | None = None
    code: str | None = None
    slot: int = 0
    threads: int | None = None
    gpus: int = 1
    waits_on_device: bool = False


def run_task(task: Task) -> Measures | Failure:
    """Measure in a process that is not this one; whatever becomes of it is the outcome.

    On a GPU cells that leave a process as they found it follow one another in one, which is kept
    until `end_kept`: to load torch and CUDA takes longer there than most cells. All others have
    one of their own.
    """
    if shares(task):
        with _KEEPING:
            return _run_in_kept(task)
    end_kept()  # it would hold memory of the device, and be another process on it
    with Worker(TARGET) as worker:
        return _outcome(worker, task)


def shares(task: Task) -> bool:
    """Whether a cell may follow others in one process.

    Its readings then are what they would be in its own: memory is a rise over what stands, its peak
    is set back ahead of the call, and clocks wait until they are steady. But the paper's procedure
    never sets a maximum back, compiled code stays, somebody's own module may leave anything behind,
    and a training starts processes.
    """
    match task.cell:
        case Measurement() as cell:
            leaves_traces = (
                cell.protocol == "paper"
                or cell.implementation in ("compiled", "fast-compiled")
                or isinstance(cell.subject, OwnModule)
            )
        case other:
            leaves_traces = not (isinstance(other, MachineCheck) and other.reads == "ceilings")
    return task.device == "cuda" and task.threads is None and not leaves_traces


def end_kept() -> None:
    """End the process that cells share, if there is one."""
    with _KEEPING:
        while _KEPT:
            _KEPT.pop().end()


def _run_in_kept(task: Task) -> Measures | Failure:
    while _KEPT and _KEPT[-1].is_gone():
        _KEPT.pop().end()
    worker = _KEPT.pop() if _KEPT else Worker(TARGET).start()
    try:
        return _outcome(worker, task)
    finally:
        if worker.goes_on:
            _KEPT.append(worker)
        else:
            worker.end()


def _outcome(worker: Worker, task: Task) -> Measures | Failure:
    outcome: Measures | Failure = worker.ask(task, limit_s=task.cell.time_limit_s)
    return outcome


def tidy_process() -> bool:
    """Give back what tensors of a GPU took that are gone; return whether it still computes."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
            torch.cuda.synchronize()
        except RuntimeError:  # what was measured before is good
            return False
    return True
