"""Records of jobs: where a job is done, and what becomes of it, predicted here or measured in another process."""

import sys
import threading
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from ann.spec import UnavailableError
from bench import shell
from bench.records import Environment, Failure, Measures, PredictedMemory, Record, one_line
from bench.run import environment, process
from bench.run.job_code import code_digest
from experiments.spec import Job

Source = Literal["predicted", "measured"]

# Bytes that a process with torch in it takes before it has a tensor.
PROCESS_BYTES = 600 * 2**20


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is a GPU, else `cpu`.

    Raises:
        ValueError: it is `cuda` and there is none.
    """
    import torch  # seconds

    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device == "cuda" and not has_gpu:
        msg = "device 'cuda': torch finds no NVIDIA GPU here; pass --device cpu, or meta for predictions alone"
        raise ValueError(msg)
    return device


def default_slots(device: str) -> int:
    """How many trainings share a machine: one for each GPU, two on a processor with as many cores."""
    return _gpus(device) or min(2, _describe(device).cores)


def _gpus(device: str) -> int:
    import torch

    return max(1, torch.cuda.device_count()) if device == "cuda" else 0


def environment_of(device: str, cell: Job, *, slots: int = 1) -> Environment:
    """Describe this machine, the threads that a cell gets of it, and the code that it runs."""
    where = _describe(device)
    flags = where.flags
    if cell.call.protocol == "strict":
        from bench.workloads import format_flags  # brings torch

        flags = flags | format_flags(cell.call.dtype, device)
    threads = max(1, where.threads // slots)
    code = code_digest(cell, device)
    return where.model_copy(update={"code": code, "threads": threads, "flags": flags})


_describe = cache(environment.describe)


def timestamp() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def make_record(
    cell: Job, source: Source, where: Environment, outcome: Measures | Failure | None = None
) -> Record:
    """Put a cell's outcome into a record."""
    names = ("batch", "dtype", "mode", "protocol", "implementation")
    return Record(
        source=source,
        experiment=cell.experiment,
        cell=cell.id,
        subject=cell.name,
        axes=dict(cell.axes),
        size=str(cell.size),
        **{name: getattr(cell.call, name) for name in names},
        input_gradient=cell.call.goes_back_to_inputs,
        environment=where,
        created_at=timestamp(),
        measures=outcome if isinstance(outcome, Measures) else Measures(),
        failure=outcome if isinstance(outcome, Failure) else None,
    )


def predicted_record(cell: Job, where: Environment, *, keeps_disputed: bool = False) -> Record:
    """Count and predict on fake tensors, here and now; no execution, no memory.

    What depends on a device follows the cell's, or else the GPU of this machine if it has one. A count with
    which another counter disagrees is a failure, or kept with that note.
    """
    outcome: Measures | Failure
    try:
        outcome = _predictions(cell, resolve_device("auto"))
    except UnavailableError as error:
        outcome = Failure(kind="unavailable", reason=one_line(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # somebody's own module may raise anything, and end the process
        disputed = getattr(error, "measures", None) if keeps_disputed else None
        failure = Failure(kind="error", reason=f"can't be predicted: {one_line(error)}")
        outcome = disputed or process.say_how_made(failure, cell)
    return make_record(cell, "predicted", where, outcome)


def _predictions(cell: Job, aim: str) -> Measures:
    from bench.predict import predict_cell

    # Neither the seed nor the training changes what one call does.
    same = replace(cell.call, seed=0, probes=())
    key = (same.id, aim)
    # Standard output is for results, and somebody's own module may print; it is the whole process's,
    # so that of the threads that wait for trainings one at a time may turn it aside.
    if key not in _MEMO:  # else there is no need to wait for another's
        with _PREDICTING, shell.undisturbed(), redirect_stdout(sys.stderr):
            if key not in _MEMO:
                _MEMO[key] = predict_cell(same, aim)  # type: ignore[arg-type]  # it computes
    return _MEMO[key]


_MEMO: dict[tuple[str, str], Measures] = {}
_PREDICTING = threading.Lock()


def measured_record(
    cell: Job, where: Environment, *, folder: Path | None = None, slot: int = 0, slots: int = 1
) -> Record:
    """Execute a cell in a process that is not this one, unless it can't fit or its device is not there.

    A training leaves more in the folder of the records. Of so many slots, of cells that run at once, a cell
    has one, which says which GPU it gets.
    """
    if (failure := _foresee(cell, where)) is not None:
        return make_record(cell, "measured", where, failure)
    task = process.Task(
        cell=cell,
        device=where.device,
        folder=folder,
        code=where.code,
        slot=slot,
        threads=where.threads if slots > 1 else None,
        gpus=_gpus(where.device),
        waits_on_device=environment.has_context(where.device),
    )
    return make_record(cell, "measured", where, process.run_task(task))


def _foresee(cell: Job, where: Environment) -> Failure | None:
    if cell.device not in ("auto", where.device):
        reason = f"measured on {cell.device} alone, and this run is on {where.device}"
        return Failure(kind="unavailable", reason=reason)
    try:
        predicted = _predictions(cell, where.device).predicted
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # what can't be predicted is simply tried
        return None
    return memory_failure(predicted_need(predicted), where, who="needs")


def predicted_need(memory: PredictedMemory | None) -> int:
    """Bytes of a process at the peak of its call."""
    return (memory.peak_bytes if memory else 0) + PROCESS_BYTES


def memory_failure(needs: int, where: Environment, *, who: str) -> Failure | None:
    """Why so many bytes, and who needs them, can't be had on the environment's device; None if they can."""
    try:
        free = environment.available_bytes(where.device)
    except (RuntimeError, ValueError) as error:  # it was there when the run began
        reason = f"device {where.device!r} does not answer any more: {one_line(error)}"
        return Failure(kind="error", reason=reason)
    if needs <= free:
        return None
    gibi = 2**30
    reason = (
        f"{who} {needs / gibi:.1f} GiB by prediction, {free / gibi:.1f} GiB are free; not started"
    )
    return Failure(kind="foreseen", reason=reason, needs_bytes=needs)
