"""Comparison of two folders of records: exact gates on the cells that both have; separate runs' times are only shown.

Times have verdicts where they were taken by turns: where `comparisons.jsonl` beside the head's folder
has comparisons of these two commits.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import records
from bench.analysis import median_interval
from bench.records import Comparison, Environment, Finding, Record, SideRecord, cell_name
from bench.regression import exact
from bench.regression.verdicts import EXPECTED

# What makes times comparable; a prediction depends on the last one alone.
MACHINE = ("device", "device_name", "driver", "cuda", "compute_capability", "cores", "threads")
VERSIONS = ("torch",)
PRECISION_FLAGS = ("matmul_precision", "conv_precision", "fp32_precision")


def is_records(folder: str) -> bool:
    """Whether this names a folder that has records; an empty text names none."""
    return folder != "" and Path(folder).is_dir() and any(Path(folder).rglob("*.jsonl"))


def read_folder(folder: Path) -> tuple[Record, ...]:
    """The records that a run has made, the latest of each cell.

    Raises:
        ValueError: there are none.
    """
    latest: dict[tuple[object, ...], Record] = {}
    for record in records.read_records(folder):
        if record.source != "published":
            latest[(record.source, *exact.key_of(record))] = record
    if not latest:
        msg = f"folder {str(folder)!r} has no records of a run; pass one that a run has written"
        raise ValueError(msg)
    return tuple(latest.values())


def side(folder: Path, run: Sequence[Record]) -> SideRecord:
    """What a folder is, by its last record."""
    environments = (record.environment for record in reversed(run) if record.environment)
    where = next(environments, None)
    return SideRecord(name=folder.name, commit=where.commit if where else None, environment=where)


def compare_folders(base: Sequence[Record], head: Sequence[Record]) -> tuple[Finding, ...]:
    """Findings on all cells.

    Raises:
        ValueError: records of one cell are of other devices or settings; the message has the field.
    """
    findings: list[Finding] = []
    for source in ("predicted", "measured"):
        before, after = (
            {exact.key_of(record): record for record in run if record.source == source}
            for run in (base, head)
        )
        for key, record in after.items():
            if key in before:
                findings += _findings_of(before[key], record)
            elif source == "predicted":
                findings.append(exact.new(record))
        if source == "predicted":
            shown = {"verdict": "SHOWN", "reason": "the head's folder does not have it"}
            absent = (record for key, record in before.items() if key not in after)
            findings += [exact.gone(record).model_copy(update=shown) for record in absent]
    return tuple(findings)


def _findings_of(base: Record, head: Record) -> tuple[Finding, ...]:
    refuse_others(base, head)
    if base.source == "measured" and not (base.failure or head.failure):
        return tuple(_shown(base, head))
    findings = exact.compare_records(base, head)
    accidents = ("foreseen", "timeout", "unavailable")
    if base.source == "measured" and head.failure and head.failure.kind in accidents:
        return tuple(finding.model_copy(update={"verdict": "SHOWN"}) for finding in findings)
    return findings


def refuse_others(base: Record, head: Record) -> None:
    """Compare what must be equal for two records to be comparable.

    Raises:
        ValueError: a field differs; the message has it and both values.
    """
    if base.environment is None or head.environment is None:
        return
    fields = VERSIONS if base.source == "predicted" else (*MACHINE, *VERSIONS)
    before, after = (
        {name: getattr(where, name) for name in fields}
        | {name: where.flags.get(name) for name in PRECISION_FLAGS}
        for where in (base.environment, head.environment)
    )
    for name, value in before.items():
        if value != after[name]:
            msg = (
                f"{cell_name(head)}: {name} differs: {value} in the base, {after[name]} in the head; "
                "compare records of one device, driver, torch and precision setting"
            )
            raise ValueError(msg)


def _shown(base: Record, head: Record) -> Iterator[Finding]:
    """Medians of the first clock, and measured memory."""
    units: dict[records.FindingKind, str] = {"time": "s", "memory": "bytes"}
    sides = [
        {
            "time": median_interval(item.timings[0].samples_s).median if item.timings else None,
            "memory": item.memory.added_bytes if item.memory else None,
        }
        for item in (base.measures, head.measures)
    ]
    for kind, unit in units.items():
        before, after = (readings[kind] for readings in sides)
        if before and after:
            yield Finding(
                cell=cell_name(head),
                quantity=kind,
                kind=kind,
                verdict="SHOWN",
                unit=unit,
                before=float(before),
                after=float(after),
                ratio=after / before,
                reason="by separate runs, which decide nothing",
            )


def by_turns(
    folder: Path, base: Environment | None, head: Environment | None
) -> tuple[Comparison, ...]:
    """Comparisons of these two commits, in a folder or the one that it is in."""
    if base is None or head is None or not (base.commit and head.commit):
        return ()
    files = [place / records.COMPARISONS_FILE for place in (folder, folder.resolve().parent)]
    comparisons = (comparison for file in files for comparison in records.read_comparisons(file))
    # A control has the base on both sides.
    commits = {"": None, **dict.fromkeys(EXPECTED, (base.commit, base.commit))}
    return tuple(
        comparison
        for comparison in comparisons
        if commits.get(comparison.gate_role, (base.commit, head.commit))
        == tuple(arm.arm.rpartition("@")[2] for arm in (comparison.first, comparison.second))
    )
