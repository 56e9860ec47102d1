"""Cells in, records out: predictions at once, then each measurement in a process that may die.

Records are appended to one file as they come, so that a run that was killed goes on where it
stopped. A cell that is too large for the device is not started, one that dies or outlasts its limit
leaves a record that says so.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import training
from bench.records import Environment, Measures, Record, append_line, read_records
from bench.run import job_records, process
from bench.run.environment import fingerprint
from bench.run.job_records import Source, environment_of, make_record, measured_record
from bench.run.pool import Engine, Lost, in_order
from experiments.spec import Job, TrainingJob

RECORDS_FILE = "records.jsonl"


def set_records_aside(out: Path, name: str = RECORDS_FILE) -> None:
    """Put a file with records of earlier runs aside, as .bak."""
    path = out / name
    if path.exists():
        path.replace(path.with_suffix(".jsonl.bak"))


def run_cells(
    cells: Sequence[Job],
    out: Path,
    *,
    source: Source,
    device: str,
    engine: Engine = in_order,
    slots: int = 1,
) -> Iterator[Record]:
    """Predict or measure each cell; yield the records as they come, those of earlier runs first.

    Args:
        cells: what to do; one of which nothing is executed is not measured.
        out: folder of the records.
        source: of the records.
        device: `cpu` or `cuda`, for cells that don't name one; predictions are made on `meta`.
        engine: one by one wherever time or memory is read; trainings may run at once.
        slots: how many the engine runs at once on this machine; they share its threads.

    Raises:
        ValueError: the folder holds something that is no record.
        OSError: the folder can't be written.
    """
    path, folder = out / RECORDS_FILE, out.resolve()
    device = "meta" if source == "predicted" else device
    rows = set(map(_row, _read(path, source)))
    chosen = [cell for cell in cells if source == "predicted" or cell.is_executed]
    wheres: dict[str, Environment] = {}
    for cell in chosen:
        wheres |= dict.fromkeys(_ids(cell, device), environment_of(device, cell, slots=slots))
    fits = finished(out, wheres, source=source)

    def act(cell: Job, slot: int) -> Record:
        where = wheres[cell.id]
        if source == "predicted":
            return job_records.predicted_record(cell, where)
        return measured_record(cell, where, folder=folder, slot=slot, slots=slots)

    again = partial(_again, path=path, rows=rows)
    groups: dict[frozenset[str], list[Job]] = {}
    for cell in chosen:
        ids = _ids(cell, device)
        record = next((fits[name] for name in ids if name in fits), None)
        if record is not None:
            yield again(record, cell)
        else:
            groups.setdefault(frozenset(ids), []).append(cell)
    twins = {first.id: others for first, *others in groups.values()}
    try:
        for ended in engine([group[0] for group in groups.values()], act):
            new = ended
            if isinstance(new, Lost):
                new = make_record(new.cell, source, wheres[new.cell.id], new.failure)
            append_line(path, new)
            yield new
            yield from (again(new, cell) for cell in twins[new.cell])
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


def _again(record: Record, cell: Job, *, path: Path, rows: set[tuple[object, ...]]) -> Record:
    """Two rows of a table may want one measurement; it is made once and written for each."""
    row = {"experiment": cell.experiment, "axes": dict(cell.axes), "subject": cell.name}
    same = record.model_copy(update={**row, "cell": cell.id})
    if _row(same) not in rows:
        append_line(path, same)
    return same


def finished(
    out: Path, wheres: Mapping[str, Environment], *, source: Source = "measured"
) -> dict[str, Record]:
    """Records by cell, of those that were made before in the environment in which they would be made now."""
    latest = {record.cell: record for record in _read(out / RECORDS_FILE, source)}
    return {
        cell: latest[cell]
        for cell, where in wheres.items()
        if cell in latest and _still_holds(latest[cell], where)
    }


def _read(path: Path, source: Source) -> tuple[Record, ...]:
    records = read_records(path) if path.exists() else ()
    return tuple(record for record in records if record.source == source)


def _row(record: Record) -> tuple[object, ...]:
    return record.experiment, record.cell, *sorted(record.axes.items())


def _still_holds(old: Record, where: Environment) -> bool:
    """Whether a record was made by this code on this machine, and is no accident to try again."""
    if old.environment is None or (old.failure and old.failure.kind in ("error", "timeout")):
        return False
    same_code = old.environment.code == where.code
    return same_code and fingerprint(old.environment) == fingerprint(where)


def run_under_torchrun(cells: Sequence[Job], out: Path, *, device: str) -> bool:
    """Train and evaluate, each cell by all processes of torchrun; whether this one writes, and may go on to report.

    Of the cells the trainings are done, and of these what has no record yet.

    Raises:
        ValueError: the device or a data set is not there, or a training diverged.
    """
    resolved = job_records.resolve_device(device)
    trainings = [cell for cell in cells if isinstance(cell, TrainingJob)]
    with training.processes(resolved) as device_of_process:
        first = training.place().rank == 0
        together = {"processes": os.environ.get("WORLD_SIZE", "1")}
        wheres = {}
        for cell in trainings:
            where = environment_of(resolved, cell)
            wheres[cell.id] = where.model_copy(update={"flags": where.flags | together})
        # Read before anything is written, so that all processes leave the same cells out.
        done = finished(out, wheres)
        for cell in trainings:
            where = wheres[cell.id]
            if cell.id in done:
                continue
            accuracy = training.train_cell(cell, str(device_of_process), out, code=where.code)
            if first:
                record = make_record(cell, "measured", where, Measures(accuracy=accuracy))
                append_line(out / RECORDS_FILE, record)
    return first
