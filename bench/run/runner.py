"""Cells in, records out: predictions at once, then each measurement in a process that may die.

Records are appended to one file as they come, so that a run that was killed goes on where it
stopped. A cell that is too large for the device is not started, one that dies or outlasts its limit
leaves a record that says so.
"""

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from ann.spec import UnavailableError
from bench.records import (
    Environment,
    Failure,
    Measures,
    Record,
    append_line,
    one_line,
    read_records,
)
from bench.run import environment, process
from bench.run.job_code import code_digest
from bench.run.pool import Act, Engine, Lost, one_by_one
from experiments.spec import Job

Source = Literal["predicted", "measured"]

RECORDS_FILE = "records.jsonl"
ROOT = Path(__file__).resolve().parents[2]
# Bytes that a process with torch in it takes before it has a tensor.
PROCESS_BYTES = 600 * 2**20


def resolve_device(device: str) -> str:
    """Turn `auto` into `cuda` where there is a GPU, else `cpu`.

    Raises:
        ValueError: cuda was asked for and there is none.
    """
    import torch  # seconds

    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device == "cuda" and not has_gpu:
        msg = "device 'cuda': torch finds no NVIDIA GPU here; pass --device cpu, or meta for predictions alone"
        raise ValueError(msg)
    return device


def set_records_aside(out: Path) -> None:
    """Put the records of earlier runs aside, as .bak."""
    path = out / RECORDS_FILE
    if path.exists():
        path.replace(path.with_suffix(".jsonl.bak"))


def default_slots(device: str) -> int:
    """How many trainings share a machine: one for each GPU, two on a processor with as many cores."""
    return _gpus() if device == "cuda" else min(2, _describe(device).cores)


def _gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def run_cells(
    cells: Sequence[Job],
    out: Path,
    *,
    source: Source,
    device: str,
    engine: Engine = one_by_one,
    slots: int = 1,
) -> Iterator[Record]:
    """Predict or measure each cell; yield the records as they come, those of earlier runs first.

    Args:
        cells: what to do; one of which nothing is executed is not measured.
        out: folder of the records.
        source: `predicted` or `measured`.
        device: `cpu` or `cuda`, for cells that don't name one; predictions are made on `meta`.
        engine: what runs cells: one by one wherever time or memory is read; trainings may run at
            once.
        slots: how many the engine runs at once on this machine; they share its threads.

    Raises:
        ValueError: the folder holds something that is no record.
        OSError: the folder can't be written.
    """
    path = out / RECORDS_FILE
    device = "meta" if source == "predicted" else device
    kept = {_row(item.experiment, item.axes, item.cell) for item in _read(path, source)}
    asked = [cell for cell in cells if source == "predicted" or cell.is_executed]
    wheres: dict[str, Environment] = {}
    for cell in asked:
        where = environment_of(device, cell, slots=slots)
        wheres |= dict.fromkeys(_ids(cell, device), where)
    fits = finished(out, wheres, source=source)
    todo: dict[str, Job] = {}
    twins: dict[str, list[Job]] = {}
    for cell in asked:
        first, *others = _ids(cell, device)
        seen = next((fits[name] for name in (first, *others) if name in fits), None)
        twin = next((name for name in (first, *others) if name in todo), None)
        if seen is not None:
            yield _again(seen, cell, path=path, kept=kept)
        elif twin is not None:
            twins.setdefault(twin, []).append(cell)
        else:
            todo[first] = cell
    if source == "predicted":
        act: Act = partial(_predict_where, wheres)
    else:
        act = partial(_measure_where, wheres, folder=out.resolve(), slots=slots)
    try:
        for ended in engine(list(todo.values()), act):
            new = ended if isinstance(ended, Record) else _without(ended, source, wheres)
            append_line(path, new)
            yield new
            for cell in twins.get(new.cell, ()):
                yield _again(new, cell, path=path, kept=kept)
    finally:
        if source == "measured":
            process.end_kept()


def _ids(cell: Job, device: str) -> tuple[str, ...]:
    """Ids of one measurement, the cell's own first: it may name the run's device or leave it open."""
    other = {"auto": device, device: "auto"}.get(cell.device)
    # A prediction for a device is another one than for the one that is there.
    if device == "meta" or other is None:
        return (cell.id,)
    return cell.id, replace(cell, device=other).id  # type: ignore[arg-type]  # one of the two


def _predict_where(wheres: Mapping[str, Environment], cell: Job, slot: int) -> Record:
    del slot  # predictions need no device
    return predicted_record(cell, wheres[cell.id])


def _measure_where(
    wheres: Mapping[str, Environment], cell: Job, slot: int, *, folder: Path, slots: int
) -> Record:
    return measured_record(cell, wheres[cell.id], folder=folder, slot=slot, slots=slots)


def _without(lost: Lost, source: Source, wheres: Mapping[str, Environment]) -> Record:
    return make_record(lost.cell, source, wheres[lost.cell.id], failure=lost.failure)


def _again(seen: Record, cell: Job, *, path: Path, kept: set[tuple[object, ...]]) -> Record:
    """Two rows of a table may ask for one measurement; it is made once and written for each."""
    row = {"experiment": cell.experiment, "axes": dict(cell.axes), "subject": cell.name}
    same = seen.model_copy(update={**row, "cell": cell.id})
    if _row(same.experiment, same.axes, same.cell) not in kept:
        append_line(path, same)
    return same


def finished(
    out: Path, wheres: Mapping[str, Environment], *, source: Source = "measured"
) -> dict[str, Record]:
    """Records by cell, of those that were made before in the environment in which they would be made now."""
    latest = {item.cell: item for item in _read(out / RECORDS_FILE, source)}
    return {
        cell: latest[cell]
        for cell, where in wheres.items()
        if cell in latest and _still_holds(latest[cell], where)
    }


def _read(path: Path, source: Source) -> tuple[Record, ...]:
    old = read_records(path) if path.exists() else ()
    return tuple(item for item in old if item.source == source)


def _row(experiment: str, axes: Mapping[str, object], cell_id: str) -> tuple[object, ...]:
    return experiment, cell_id, *sorted(axes.items())


def _still_holds(old: Record, where: Environment) -> bool:
    """Whether a record was made by this code on this machine, and is no accident worth another try."""
    if old.environment is None or (
        old.failure is not None and old.failure.kind in ("error", "timeout")
    ):
        return False
    same_code = old.environment.code == where.code
    return same_code and environment.fingerprint(old.environment) == environment.fingerprint(where)


def environment_of(device: str, cell: Job, *, slots: int = 1) -> Environment:
    """Describe this machine, the threads that a cell gets of it, and the code that it runs."""
    found = _describe(device)
    threads = max(1, found.threads // slots)
    own = {"code": code_digest(cell, device), "threads": threads}
    call = cell.call
    if call.protocol == "strict":
        from bench.workloads import format_flags  # brings torch

        own["flags"] = found.flags | format_flags(call.dtype, device)
    return found.model_copy(update=own)


_describe = cache(environment.describe)


def timestamp() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def make_record(cell: Job, source: str, where: Environment, **outcome: Any) -> Record:  # noqa: ANN401
    """Put a cell's outcome, its measures or its failure, into a record."""
    call = cell.call
    return Record(
        source=source,  # type: ignore[arg-type]  # checked by pydantic
        experiment=cell.experiment,
        cell=cell.id,
        subject=cell.name,
        axes=dict(cell.axes),
        size=str(cell.size),
        batch=call.batch,
        dtype=call.dtype,
        mode=call.mode,
        protocol=call.protocol,
        implementation=call.implementation,
        environment=where,
        created_at=timestamp(),
        **outcome,
    )


def predicted_record(cell: Job, where: Environment) -> Record:
    """Count and predict on fake tensors, here and now; no execution, no memory.

    What depends on a device follows the cell's, or else the GPU of this machine if it has one.
    """
    try:
        return make_record(cell, "predicted", where, measures=_predictions(cell, _aim()))
    except UnavailableError as error:
        failure = Failure(kind="unavailable", reason=one_line(error))
    except Exception as error:  # noqa: BLE001  # somebody's own module may raise anything
        failure = Failure(kind="error", reason=f"can't be predicted: {one_line(error)}")
    return make_record(cell, "predicted", where, failure=failure)


def _aim() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _predictions(cell: Job, aim: str) -> Measures:
    from bench.predict import predict_cell

    # Neither the seed nor the training changes what one call does.
    same = replace(cell.call, seed=0, probes=())
    key = (same.id, aim)
    # Standard output is for results, and somebody's own module may print; it is the whole process's,
    # so that of the threads that wait for trainings one at a time may turn it aside.
    if key not in _MEMO:  # else there is no need to wait for another's
        with _PREDICTING:
            if key not in _MEMO:
                with redirect_stdout(sys.stderr):
                    _MEMO[key] = predict_cell(same, aim)  # type: ignore[arg-type]  # it computes
    return _MEMO[key]


_MEMO: dict[tuple[str, str], Measures] = {}
_PREDICTING = threading.Lock()


def measured_record(
    cell: Job, where: Environment, *, folder: Path | None = None, slot: int = 0, slots: int = 1
) -> Record:
    """Execute a cell in a process that is not this one, unless it can't fit or its device is not there.

    Args:
        cell: what to run.
        where: the environment, whose device is meant.
        folder: of the records, for what a training leaves beside them.
        slot: which of the cells that run at once this is; it says which GPU it gets.
        slots: how many run at once.
    """
    failure = _foresee(cell, where)
    if failure is not None:
        return make_record(cell, "measured", where, failure=failure)
    task = process.Task(
        cell=cell,
        device=where.device,
        folder=folder,
        code=where.code,
        slot=slot,
        threads=where.threads if slots > 1 else None,
        gpus=_gpus() if where.device == "cuda" else 0,
        waits_on_device=environment.has_context(where.device),
    )
    outcome = process.run_task(task)
    if isinstance(outcome, Failure):
        return make_record(cell, "measured", where, failure=outcome)
    return make_record(cell, "measured", where, measures=outcome)


def _foresee(cell: Job, where: Environment) -> Failure | None:
    if cell.device not in ("auto", where.device):
        reason = f"measured on {cell.device} alone, and this run is on {where.device}"
        return Failure(kind="unavailable", reason=reason)
    try:
        predicted = _predictions(cell, where.device).predicted
    except Exception:  # noqa: BLE001  # what can't be predicted is simply tried
        return None
    needs = (predicted.peak_bytes if predicted else 0) + PROCESS_BYTES
    return memory_failure(needs, where, said="needs")


def memory_failure(needs: int, where: Environment, *, said: str) -> Failure | None:
    """Why so many bytes can't be had; None if they can.

    Args:
        needs: bytes.
        where: the environment, whose device is meant.
        said: who needs them, as the reason begins.
    """
    try:
        has = environment.available_bytes(where.device)
    except (RuntimeError, ValueError) as error:  # it was there when the run began
        reason = f"device {where.device!r} does not answer any more: {one_line(error)}"
        return Failure(kind="error", reason=reason)
    if needs <= has:
        return None
    reason = (
        f"{said} {needs / 2**30:.1f} GiB by prediction, {has / 2**30:.1f} GiB are free; not started"
    )
    return Failure(kind="foreseen", reason=reason, needs_bytes=needs)
