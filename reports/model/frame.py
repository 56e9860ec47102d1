"""Records to one data frame: a row for each thing that was asked, its published, predicted and measured readings.

Everything is in base units. Records of one cell are joined by what they describe (experiment, subject, axes, size,
batch, dtype, mode, protocol); the latest of a kind wins, and readings of different devices stay apart, in rows of
their own. Published records join where their axes agree.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.records import Environment, MeasuredMemory, Record, read_records
from reports.model.table import GIBI, GIGA, MEBI, MEGA, MILLI

if TYPE_CHECKING:
    import pandas as pd

# Not imported for this: pandas takes longer than all of reports.
Frame: TypeAlias = "pd.DataFrame"

PUBLISHED = Path(__file__).parents[1] / "published"
IDENTITY = ("experiment", "subject", "size", "batch", "dtype", "mode", "protocol")
# What `bench.efficiency` measures, and whose published numbers stand beside it.
BY_COMMAND = {"efficiency": "table1"}
# What a printed number is in base units: the column, and what to multiply by. MB and GB are the scripts' 2 ** 20 and
# 2 ** 30 (MendelXu/ANN totaltime_test.py, mmcv's logger hook).
PRINTED = {
    "gflops": ("published_operations", GIGA),
    "memory_mb": ("published_memory_bytes", MEBI),
    "memory_gb": ("published_memory_bytes", GIBI),
    "time_ms": ("published_time_s", MILLI),
    "time_s": ("published_time_s", 1.0),
    "parameters_m": ("published_parameters", MEGA),
    "fps": ("published_fps", 1.0),
    "miou": ("published_miou_percent", 1.0),
    "miou_ms_flip": ("published_miou_ms_flip_percent", 1.0),
    "anchors": ("published_anchors", 1),
    "times": ("published_times", 1.0),
}
FRAME_COLUMNS = (
    *IDENTITY,
    "axes",
    "cell",
    "created_at",
    "device",
    "device_name",
    "environment",
    "parameters",
    "buffers",
    "macs",
    "flops",
    "paper_operations",
    "ledger",
    "predicted_peak_bytes",
    "predicted_increment_bytes",
    "predicted_paper_bytes",
    "memory_bytes",
    "reserved_bytes",
    "measured_paper_bytes",
    "timings",
    "operations",
    "accuracy",
    "rivals",
    "ceilings",
    "kernels",
    "predicted_device",
    "failure",
    "document",
    "published_place",
    "origins",
    *dict.fromkeys(column for column, _ in PRINTED.values()),
)


def published_records() -> tuple[Record, ...]:
    """Read the documents' own numbers, which come with this package."""
    return read_records(PUBLISHED)


def build_frame(records: Sequence[Record], documents: Sequence[Record] | None = None) -> Frame:
    """Join records into a frame with the columns `COLUMNS`.

    Args:
        records: of runs; those with `source="published"` count as documents.
        documents: published records; those of this package by default.

    Returns:
        One row for each thing asked and device, in the order of first appearance, then a row with protocol
        `published` for each published record that nothing joined. A reading that is not there is None.
    """
    import pandas as pd

    printed = (
        *(published_records() if documents is None else documents),
        *_only(records, "published"),
    )
    documents = list({document.cell: document for document in printed}.values())
    printed_of: dict[str, list[Record]] = {}
    for one in documents:
        printed_of.setdefault(one.experiment, []).append(one)
    rows, used = [], set()
    for same in _alike(record for record in records if record.source != "published"):
        candidates = printed_of.get(_asked_as(same[0]), ())
        document = next((d for d in candidates if joins(same[0], d)), None)
        if document is not None and document.experiment == same[0].experiment:
            used.add(document.cell)
        rows.extend(_rows(same, document))
    rows.extend(_published_row(d) for d in documents if d.cell not in used)
    places = {id(d.document): at for at, d in enumerate(documents) if d.document is not None}
    for row in rows:
        row["published_place"] = places.get(id(row.get("document")))
    whole = [{column: row.get(column) for column in FRAME_COLUMNS} for row in rows]
    return pd.DataFrame(whole, columns=list(FRAME_COLUMNS), dtype=object)


def joins(record: Record, document: Record) -> bool:
    """Tell whether a published record is about what a record measured.

    The axes of the document must be among those of the record. What the command line measures (experiment
    `efficiency`) joins Table 1 where it is what the paper measured: the default widths, batch 1, float32, no gradients.
    """
    experiment = _asked_as(record)
    return document.experiment == experiment and document.axes.items() <= record.axes.items()


def _asked_as(record: Record) -> str:
    """The experiment of the documents that a record is about."""
    plain = not {"channels", "key_channels"} & record.axes.keys()
    usual = (record.batch, record.dtype, record.mode) == (1, "float32", "eval")
    name = record.experiment
    return BY_COMMAND.get(name, name) if plain and usual else name


def _only(records: Iterable[Record], source: str) -> list[Record]:
    return [record for record in records if record.source == source]


def _alike(records: Iterable[Record]) -> list[list[Record]]:
    described = itemgetter(*IDENTITY)
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        identity = *described(vars(record)), *sorted(record.axes.items())
        groups.setdefault(identity, []).append(record)
    return list(groups.values())


def _latest(records: Iterable[Record]) -> Record | None:
    # max() keeps the first of equals, and of two records without a time the later line is the newer one.
    return max(reversed(list(records)), key=lambda record: record.created_at, default=None)


def _rows(same: list[Record], document: Record | None) -> list[dict[str, Any]]:
    predicted = _latest(_only(same, "predicted"))
    shared = _identity(same[0]) | _predicted(predicted) | _printed(document)
    devices: dict[str, list[Record]] = {}
    for record in _only(same, "measured"):
        devices.setdefault(_device_name(record.environment), []).append(record)
    latest = [found for group in devices.values() if (found := _latest(group)) is not None]
    told = () if predicted is None else (predicted,)
    seen = [shared | _measured(found, shared) | {"origins": (*told, found)} for found in latest]
    return seen or [shared | {"origins": told}]


def _published_row(document: Record) -> dict[str, Any]:
    return _identity(document) | {"protocol": "published"} | _printed(document)


def _identity(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in IDENTITY} | {"axes": dict(record.axes)}


def _device_name(environment: Environment | None) -> str:
    return environment.device_name if environment else ""


def _printed(document: Record | None) -> dict[str, Any]:
    if document is None:
        return {}
    known = {
        PRINTED[key]: value for key, value in document.measures.printed.items() if key in PRINTED
    }
    return {"document": document.document} | {
        column: value * factor for (column, factor), value in known.items()
    }


def _counts(record: Record) -> dict[str, Any]:
    counts = record.measures.counts
    names = ("parameters", "buffers", "macs", "flops", "paper_operations", "ledger")
    return {name: getattr(counts, name) for name in names} if counts else {}


def _predicted(record: Record | None) -> dict[str, Any]:
    if record is None:
        return {}
    memory = record.measures.predicted
    sizes = ("peak_bytes", "increment_bytes", "paper_bytes", "device")
    return (
        _counts(record)
        | ({f"predicted_{name}": getattr(memory, name) for name in sizes} if memory else {})
        | {"environment": record.environment, "failure": record.failure}
    )


def _measured(record: Record, shared: dict[str, Any]) -> dict[str, Any]:
    measures = record.measures
    memory = measures.memory or MeasuredMemory()
    counts = {} if "macs" in shared else _predicted(record)
    return counts | {
        "device": record.environment.device if record.environment else None,
        "device_name": _device_name(record.environment) or None,
        "environment": record.environment,
        "memory_bytes": _first(
            memory.allocated_bytes, memory.requested_bytes, memory.high_water_bytes
        ),
        "reserved_bytes": memory.reserved_bytes,
        "measured_paper_bytes": memory.paper_bytes,
        "timings": measures.timings,
        "operations": measures.operations,
        "accuracy": measures.accuracy,
        "rivals": measures.rivals,
        "ceilings": measures.ceilings,
        "kernels": measures.kernels,
        "cell": record.cell,
        "created_at": record.created_at,
        "failure": record.failure,
    }


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
