"""Where the records of a report come from: machines with their versions and switches, and the commands."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from bench import called
from bench.records import Environment, Record
from reports.model import BY_COMMAND, GIBI, Column, Table, text_column

WORDED = itemgetter(
    *("device", "device_name", "os", "cores", "threads", "memory_bytes", "compute_capability"),
    *("python", "torch", "cuda", "cudnn", "driver", "commit", "code"),
)

ABOUT = (
    "What context blocks for semantic segmentation cost, such as those of Asymmetric Non-local Neural Networks, and "
    "what they bring."
)


def source_tables(records: Sequence[Record]) -> tuple[Table, ...]:
    """The environments and the commands of the records of runs; each where there are some."""
    runs = [record for record in records if record.source != "published"]
    return tuple(table for table in (environment_table(runs), command_table(runs)) if table.rows)


def records_summary(records: Sequence[Record]) -> tuple[str, ...]:
    """What the page is about, and of how many records and which devices; nothing without records of runs."""
    runs = [record for record in records if record.source != "published"]
    if not runs:
        return ()
    measured = (record.environment for record in runs if record.source == "measured")
    places = dict.fromkeys(where.device_name for where in measured if where)
    where = f"measured on {', '.join(places)}" if places else "predicted without running anything"
    return (f"{ABOUT} {len(runs):,} records, {where}.",)


def environment_table(records: Sequence[Record]) -> Table:
    """One row for each environment that differs in more than its load, with the number of records from it."""
    # Many records have few environments, whose words take longer than their comparison.
    words: dict[tuple[object, ...], tuple[str, ...]] = {}
    counted: Counter[tuple[str, ...]] = Counter()
    for where in (record.environment for record in records if record.environment):
        key = (*WORDED(vars(where)), *where.packages.items(), None, *where.flags.items())
        if key not in words:
            words[key] = _environment_words(where)
        counted[words[key]] += 1
    wide = (text_column(n, wide=True) for n in ("system", "versions", "packages", "switches"))
    return Table(
        name="environments",
        title="Environments",
        columns=(
            text_column("device"),
            *wide,
            *map(text_column, ("commit", "code")),
            Column("records"),
        ),
        rows=tuple((*cells, count) for cells, count in counted.items()),
        caption="Each machine, version and switch under which records were taken.",
    )


def _environment_words(where: Environment) -> tuple[str, ...]:
    versions = {
        "Python": where.python,
        "torch": where.torch,
        "CUDA": where.cuda,
        "cuDNN": where.cudnn,
        "driver": where.driver,
        "compute capability": where.compute_capability,
    }
    known = {name: value for name, value in versions.items() if value}
    memory = f"{where.memory_bytes / GIBI:.1f} GiB"
    named = (known, where.packages, where.flags)
    return (
        f"{where.device}: {where.device_name}",
        f"{where.os}, {where.cores} cores, {where.threads} threads, {memory}",
        *(", ".join(f"{name} {value}" for name, value in each.items()) for each in named),
        *(where.commit or "", where.code or ""),
    )


def command_table(records: Sequence[Record]) -> Table:
    """Every command that left records; for records that name none, the one that measures the same again."""
    counted: Counter[tuple[str, str]] = Counter()
    for record in records:
        name = record.experiment
        again = (
            called("efficiency")
            if name in BY_COMMAND
            else f"{called('ablations')} --experiment {name}"
        )
        unsaid = f"the records do not say; measured again by: {again}"
        counted[record.command or unsaid, name] += 1
    return Table(
        name="commands",
        title="Commands",
        columns=(text_column("command", wide=True), text_column("experiment"), Column("records")),
        rows=tuple((*key, count) for key, count in counted.items()),
        caption=f"This page is made from the records alone: {called('report')} RECORDS --out FOLDER.",
    )
