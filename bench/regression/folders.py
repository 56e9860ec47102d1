"""Two folders of records: exact gates on the cells that both have; times of separate runs are only shown.

Times are judged where they were taken by turns: where `comparisons.jsonl` beside the head's folder
has comparisons of these two commits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.analysis import median_interval
from bench.records import (
    COMPARISONS_FILE,
    Comparison,
    Environment,
    Finding,
    Record,
    SideRecord,
    cell_name,
    read_comparisons,
    read_records,
)
from bench.regression import exact
from bench.regression.exact import Key

# What makes times of one another's; a prediction depends on the last ones alone.
MACHINE = ("device", "device_name", "driver", "cuda", "compute_capability", "cores", "threads")
VERSIONS = ("torch",)
PRECISION = ("matmul_precision", "conv_precision", "fp32_precision")
ACCIDENTS = ("foreseen", "timeout", "unavailable")
APART = "by separate runs, which decide nothing"


def is_records(folder: str) -> bool:
    """Whether this names a folder that has records."""
    path = Path(folder)
    return path.is_dir() and any(path.rglob("*.jsonl"))


def read_folder(folder: Path) -> tuple[Record, ...]:
    """The records that a run has made, the latest of each cell.

    Raises:
        ValueError: there are none.
    """
    latest: dict[tuple[object, ...], Record] = {}
    for one in read_records(folder):
        if one.source != "published":
            latest[(one.source, *exact.key_of(one))] = one
    if not latest:
        msg = f"folder {str(folder)!r} has no records of a run; pass one that a run has written"
        raise ValueError(msg)
    return tuple(latest.values())


def side(folder: Path, records: Sequence[Record]) -> SideRecord:
    """What a folder is, by its last record."""
    where = next((one.environment for one in reversed(records) if one.environment), None)
    return SideRecord(name=folder.name, commit=where.commit if where else None, environment=where)


def compare_folders(base: Sequence[Record], head: Sequence[Record]) -> tuple[Finding, ...]:
    """Findings on all cells.

    Raises:
        ValueError: records of one cell are of other devices or settings; the message has the field.
    """
    found: list[Finding] = []
    for source in ("predicted", "measured"):
        sides = [_by_key(records, source) for records in (base, head)]
        for key in sides[1]:
            if key in sides[0]:
                found += _pair(sides[0][key], sides[1][key])
            elif source == "predicted":
                found.append(exact.new(sides[1][key]))
        if source == "predicted":
            found += [_absent(sides[0][key]) for key in sides[0] if key not in sides[1]]
    return tuple(found)


def _by_key(records: Sequence[Record], source: str) -> Mapping[Key, Record]:
    return {exact.key_of(one): one for one in records if one.source == source}


def _absent(base: Record) -> Finding:
    reason = "the head's folder does not have it"
    return exact.gone(base).model_copy(update={"verdict": "SHOWN", "reason": reason})


def _pair(base: Record, head: Record) -> tuple[Finding, ...]:
    refuse_others(base, head)
    if base.source == "predicted":
        return exact.compare_records(base, head)
    if base.failure or head.failure:
        (found,) = exact.compare_records(base, head)
        accident = head.failure is not None and head.failure.kind in ACCIDENTS
        return (found.model_copy(update={"verdict": "SHOWN"}) if accident else found,)
    return _shown(base, head)


def refuse_others(base: Record, head: Record) -> None:
    """Compare what must be equal for two records to be comparable.

    Raises:
        ValueError: a field differs; the message has it and both values.
    """
    if base.environment is None or head.environment is None:
        return
    fields = VERSIONS if base.source == "predicted" else (*MACHINE, *VERSIONS)
    for name in fields:
        _refuse(name, [getattr(one.environment, name) for one in (base, head)], head)
    flags = [one.environment.flags if one.environment else {} for one in (base, head)]
    for name in PRECISION:
        _refuse(name, [given.get(name) for given in flags], head)


def _refuse(name: str, values: Sequence[object], head: Record) -> None:
    if values[0] == values[1]:
        return
    msg = (
        f"{cell_name(head)}: {name} differs: {values[0]} in the base, {values[1]} in the head; "
        "compare records of one device, driver, torch and precision setting"
    )
    raise ValueError(msg)


def _shown(base: Record, head: Record) -> tuple[Finding, ...]:
    """Medians of the first clock, and measured memory."""
    found = []
    timings = [one.measures.timings[:1] for one in (base, head)]
    if all(timings):
        medians = [median_interval(one[0].samples_s).median for one in timings]
        found.append(_apart(head, "time", "s", medians))
    memory = [
        one.measures.memory.added_bytes if one.measures.memory else None for one in (base, head)
    ]
    if all(memory):
        found.append(_apart(head, "memory", "bytes", [float(one or 0) for one in memory]))
    return tuple(found)


def _apart(head: Record, quantity: str, unit: str, values: Sequence[float]) -> Finding:
    before, after = values
    return Finding(
        cell=cell_name(head),
        quantity=quantity,
        kind="time" if quantity == "time" else "memory",
        verdict="SHOWN",
        unit=unit,
        before=before,
        after=after,
        ratio=after / before if before else None,
        reason=APART,
    )


def by_turns(
    folder: Path, base: Environment | None, head: Environment | None
) -> tuple[Comparison, ...]:
    """Comparisons of these two commits, in a folder or the one that it is in."""
    if base is None or head is None or not (base.commit and head.commit):
        return ()
    files = [place / COMPARISONS_FILE for place in (folder, folder.resolve().parent)]
    return tuple(
        one
        for file in files
        for one in read_comparisons(file)
        if one.gate_role and _is_of(one, base.commit, head.commit)
    )


def _is_of(made: Comparison, base: str, head: str) -> bool:
    """Whether it compares these commits; a control has the base on both sides."""
    commits = [arm.arm.rpartition("@")[2] for arm in (made.first, made.second)]
    return commits == ([base, base] if made.gate_role in ("untouched", "planted") else [base, head])
