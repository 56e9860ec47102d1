"""Cells in, records out: predictions at once, then each measurement in a process of its own.

Records are appended to one file as they come, so that a run that was killed goes on where it
stopped. A cell that is too large for the device is not started, one that dies or outlasts its limit
leaves a record that says so.
"""

import hashlib
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from bench import environment, record
from bench.record import Environment, Failure, Measures, Record
from experiments.spec import Cell, OwnModule

Source = Literal["predicted", "measured"]

RECORDS = "records.jsonl"
ROOT = Path(__file__).resolve().parent.parent
# Bytes that a process with torch in it takes before it has a tensor.
PROCESS_BYTES = 600 * 2**20


def resolve(device: str) -> str:
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


def start_over(out: Path) -> None:
    """Put the records of earlier runs aside, as .bak."""
    path = out / RECORDS
    if path.exists():
        path.replace(path.with_suffix(".jsonl.bak"))


def run(cells: Sequence[Cell], out: Path, *, source: Source, device: str) -> Iterator[Record]:
    """Predict or measure each cell; yield the records in that order, those of earlier runs included.

    Args:
        cells: what to do; one without probes is not measured.
        out: folder of the records.
        source: `predicted` or `measured`.
        device: `cpu` or `cuda`, for cells that don't name one; predictions are made on `meta`.

    Raises:
        ValueError: the folder holds something that is no record.
        OSError: the folder can't be written.
    """
    path = out / RECORDS
    device, action = ("meta", predict) if source == "predicted" else (device, measure)
    old = record.read(path) if path.exists() else ()
    latest = {item.cell: item for item in old if item.source == source}
    kept = {_row(item.experiment, item.axes, item.cell) for item in old if item.source == source}
    for cell in cells:
        if source == "measured" and not cell.probes:
            continue
        where = _environment(device, cell)
        seen = latest.get(cell.id)
        known = seen is not None and _still_holds(seen, where)
        new = _in_row(seen, cell) if seen is not None and known else action(cell, where)
        if not known or _row(cell.experiment, cell.axes, cell.id) not in kept:
            record.append(path, new)
        latest[cell.id] = new
        yield new


def _row(experiment: str, axes: Mapping[str, object], cell_id: str) -> tuple[object, ...]:
    return experiment, cell_id, *sorted(axes.items())


def _in_row(seen: Record, cell: Cell) -> Record:
    """Two rows of a table may ask for one measurement; it is made once."""
    row = {"experiment": cell.experiment, "axes": dict(cell.axes), "subject": cell.name}
    return seen.model_copy(update=row)


def _still_holds(old: Record, where: Environment) -> bool:
    """Whether a record was made by this code on this machine, and is no accident worth another try."""
    if old.environment is None or (old.failure is not None and old.failure.kind == "error"):
        return False
    same_code = old.environment.code == where.code
    return same_code and environment.fingerprint(old.environment) == environment.fingerprint(where)


def _environment(device: str, cell: Cell) -> Environment:
    return _describe(device).model_copy(update={"code": code_digest(cell.subject)})


_describe = cache(environment.describe)


@cache
def _suite_digest() -> str:
    digest = hashlib.sha256()
    for folder in ("ann", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def code_digest(subject: object) -> str:
    """Twelve digits that change with the code that is measured and the code that measures."""
    if not isinstance(subject, OwnModule):
        return _suite_digest()
    found = importlib.util.find_spec(subject.factory.partition(":")[0])
    own = Path(found.origin).read_bytes() if found and found.origin else b""
    return hashlib.sha256(_suite_digest().encode() + own).hexdigest()[:12]


def now() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _record(cell: Cell, source: str, where: Environment, **outcome: Any) -> Record:  # noqa: ANN401
    return Record(
        source=source,  # type: ignore[arg-type]  # checked by pydantic
        experiment=cell.experiment,
        cell=cell.id,
        subject=cell.name,
        axes=dict(cell.axes),
        size=str(cell.size),
        batch=cell.batch,
        dtype=cell.dtype,
        mode=cell.mode,
        protocol=cell.protocol,
        environment=where,
        created_at=now(),
        **outcome,
    )


def predict(cell: Cell, where: Environment) -> Record:
    """Count and predict on meta tensors, here and now; no execution, no memory."""
    try:
        return _record(cell, "predicted", where, measures=_predictions(replace(cell, axes={})))
    except Exception as error:  # noqa: BLE001  # somebody's own module may raise anything
        failure = Failure(kind="error", reason=f"can't be predicted: {one_line(error)}")
        return _record(cell, "predicted", where, failure=failure)


def _predictions(cell: Cell) -> Measures:
    from bench import readings

    if cell.id not in _MEMO:
        _MEMO[cell.id] = readings.predict(cell)
    return _MEMO[cell.id]


_MEMO: dict[str, Measures] = {}


def measure(cell: Cell, where: Environment) -> Record:
    """Execute a cell in a process of its own, unless it can't fit or its device is not there."""
    failure = _foresee(cell, where)
    if failure is not None:
        return _record(cell, "measured", where, failure=failure)
    outcome = _in_child(cell, where.device)
    if isinstance(outcome, Failure):
        return _record(cell, "measured", where, failure=outcome)
    return _record(cell, "measured", where, measures=outcome)


def _foresee(cell: Cell, where: Environment) -> Failure | None:
    if cell.device not in ("auto", where.device):
        reason = f"measured on {cell.device} alone, and this run is on {where.device}"
        return Failure(kind="unavailable", reason=reason)
    try:
        predicted = _predictions(replace(cell, axes={})).predicted
    except Exception:  # noqa: BLE001  # what can't be predicted is simply tried
        return None
    needs = (predicted.peak_bytes if predicted else 0) + PROCESS_BYTES
    has = environment.available_bytes(where.device)
    if needs <= has:
        return None
    reason = (
        f"needs {needs / 2**30:.1f} GiB by prediction, {has / 2**30:.1f} GiB are free; not started"
    )
    return Failure(kind="foreseen", reason=reason, needs_bytes=needs)


def _in_child(cell: Cell, device: str) -> Measures | Failure:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(cell, device, sender), daemon=True)
    child.start()
    sender.close()
    try:
        if not receiver.poll(cell.time_limit_s):
            reason = f"not done after {cell.time_limit_s:.0f} s; ended"
            return Failure(kind="timeout", reason=reason)
        kind, text = receiver.recv_bytes().decode().split("\n", 1)
    except EOFError:
        child.join()
        return _died(child.exitcode)
    finally:
        child.kill()
        child.join()
    model = Measures if kind == "measures" else Failure
    return model.model_validate_json(text)


def _died(exit_code: int | None) -> Failure:
    if exit_code == -9:
        reason = "the process was killed (signal 9); the machine was most likely out of memory"
        return Failure(kind="out-of-memory", reason=reason)
    return Failure(kind="error", reason=f"the process died with exit status {exit_code}")


def _child(cell: Cell, device: Literal["cpu", "cuda"], sender: Connection) -> None:
    """Measure in this process and send the outcome as text; what a module prints goes to standard error."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _offer_to_oom_killer()
    from bench import readings  # brings torch, seconds

    try:
        text = "measures\n" + readings.measure(cell, device).model_dump_json()
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a cell is that cell's record
        text = "failure\n" + _failure(error).model_dump_json()
    sender.send_bytes(text.encode())


def _offer_to_oom_killer() -> None:
    """Ask the kernel to end this process rather than the run, should memory end."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _failure(error: Exception) -> Failure:
    import torch

    out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
    return Failure(kind="out-of-memory" if out_of_memory else "error", reason=one_line(error))


def one_line(error: Exception) -> str:
    """Name and first line of an error, short enough for a table's note."""
    text = str(error).strip().split("\n", 1)[0][:300]
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
