"""Where the records of a report come from: machines with their versions and switches, and the commands."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter

from bench.records import Environment, Record
from reports.model import GIBI, Column, Table

UNSAID = "the records do not say; measured again by: {}"
FIRST = ("efficiency",)
WORDED = itemgetter(
    *("device", "device_name", "os", "cores", "threads", "memory_bytes", "compute_capability"),
    *("python", "torch", "cuda", "cudnn", "driver", "commit", "code"),
)
WIDE = ("system", "versions", "packages", "switches")


def source_tables(records: Sequence[Record]) -> tuple[Table, ...]:
    """The environments and the commands; none where there are no records of runs."""
    own = [record for record in records if record.source != "published"]
    return (environment_table(own), command_table(own)) if own else ()


def environment_table(records: Sequence[Record]) -> Table:
    """One row for each environment that differs in more than its load, with the number of records from it."""
    # Many records have few environments, whose words take longer than their comparison.
    met: dict[object, Environment] = {}
    times: Counter[object] = Counter()
    for found in (record.environment for record in records):
        if found is not None:
            key = _shared(found)
            met.setdefault(key, found)
            times[key] += 1
    counted: Counter[tuple[str, ...]] = Counter()
    for key, found in met.items():
        counted[_words(found)] += times[key]
    names = ("device", "system", "versions", "packages", "switches", "commit", "code")
    columns = [Column(name, align="left", wide=name in WIDE) for name in names]
    return Table(
        name="environments",
        title="Environments",
        columns=(*columns, Column("records")),
        rows=tuple((*words, count) for words, count in counted.items()),
        caption="Each machine, version and switch under which records were taken.",
    )


def _shared(found: Environment) -> object:
    return (*WORDED(vars(found)), *found.packages.items(), None, *found.flags.items())


def _words(found: Environment) -> tuple[str, ...]:
    memory = f"{found.memory_bytes / GIBI:.1f} GiB"
    versions = {
        "Python": found.python,
        "torch": found.torch,
        "CUDA": found.cuda,
        "cuDNN": found.cudnn,
        "driver": found.driver,
        "compute capability": found.compute_capability,
    }
    return (
        f"{found.device}: {found.device_name}",
        f"{found.os}, {found.cores} cores, {found.threads} threads, {memory}",
        ", ".join(f"{name} {value}" for name, value in versions.items() if value),
        ", ".join(f"{name} {value}" for name, value in found.packages.items()),
        ", ".join(f"{name} {value}" for name, value in found.flags.items()),
        found.commit or "",
        found.code or "",
    )


def command_table(records: Sequence[Record]) -> Table:
    """Every command that left records; for records that name none, the one that measures the same again."""
    counted: dict[tuple[str, str], int] = {}
    for record in records:
        said = record.command or UNSAID.format(_again(record.experiment))
        key = (said, record.experiment)
        counted[key] = counted.get(key, 0) + 1
    return Table(
        name="commands",
        title="Commands",
        columns=(
            Column("command", align="left", wide=True),
            Column("experiment", align="left"),
            Column("records"),
        ),
        rows=tuple((*key, count) for key, count in counted.items()),
        caption="This page is made from the records alone: python -m reports RECORDS --out FOLDER.",
    )


def _again(experiment: str) -> str:
    if experiment in FIRST:
        return "python -m bench.efficiency"
    return f"python -m bench.ablations --experiment {experiment}"
