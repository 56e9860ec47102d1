"""Records to one data frame: a row for each thing that was asked, its published, predicted and measured readings.

Everything is in base units. Records of one cell are joined by what they describe (experiment, subject, axes, size,
batch, dtype, mode, protocol); the latest of a kind wins, and readings of different devices stay apart, in rows of
their own. Published records join where their axes agree.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.records import MeasuredMemory, Record, read_records
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
COUNT_COLUMNS = ("parameters", "buffers", "macs", "flops", "paper_operations", "ledger")
PREDICTED_SIZES = ("peak_bytes", "increment_bytes", "paper_bytes", "device")
MEASURED_COLUMNS = ("timings", "operations", "accuracy", "counters", "ceilings", "kernels")
FRAME_COLUMNS = (
    *IDENTITY,
    *("axes", "cell", "created_at", "device", "device_name", "environment", "failure", "origins"),
    *COUNT_COLUMNS,
    *(f"predicted_{name}" for name in PREDICTED_SIZES),
    *("memory_bytes", "reserved_bytes", "measured_paper_bytes"),
    *MEASURED_COLUMNS,
    *("document", "published_place"),
    *dict.fromkeys(column for column, _ in PRINTED.values()),
)


def published_records() -> tuple[Record, ...]:
    """Read the documents' own numbers, which come with this package."""
    return read_records(PUBLISHED)


def build_frame(records: Sequence[Record], documents: Sequence[Record] | None = None) -> Frame:
    """Join records into a frame with the columns `FRAME_COLUMNS`.

    Args:
        records: of runs; those with `source="published"` count as documents.
        documents: published records; those of this package by default.

    Returns:
        One row for each thing asked and device, in the order of first appearance, then a row with protocol
        `published` for each published record that nothing joined. A reading that is not there is None.
    """
    import pandas as pd

    printed = published_records() if documents is None else documents
    by_cell = {document.cell: document for document in (*printed, *_only(records, "published"))}
    documents = list(by_cell.values())
    by_experiment: dict[str, list[Record]] = {}
    for document in documents:
        by_experiment.setdefault(document.experiment, []).append(document)
    rows, joined = [], set()
    for same in _alike(record for record in records if record.source != "published"):
        candidates = by_experiment.get(_documented_as(same[0]), ())
        match = next((document for document in candidates if joins(same[0], document)), None)
        if match is not None and match.experiment == same[0].experiment:
            joined.add(match.cell)
        rows.extend(_joined_rows(same, match))
    rows.extend(_published_row(document) for document in documents if document.cell not in joined)
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
    same = document.experiment == _documented_as(record)
    return same and document.axes.items() <= record.axes.items()


def _documented_as(record: Record) -> str:
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


def _joined_rows(same: list[Record], document: Record | None) -> list[dict[str, Any]]:
    predicted = _latest(_only(same, "predicted"))
    shared = _identity_columns(same[0]) | _printed_columns(document)
    shared |= _predicted_columns(predicted) if predicted else {}
    devices: dict[str, list[Record]] = {}
    for record in _only(same, "measured"):
        name = record.environment.device_name if record.environment else ""
        devices.setdefault(name, []).append(record)
    latest = (_latest(group) for group in devices.values())
    origins = (predicted,) if predicted else ()
    rows = [
        shared | _measured_columns(record, shared) | {"origins": (*origins, record)}
        for record in latest
        if record is not None
    ]
    return rows or [shared | {"origins": origins}]


def _published_row(document: Record) -> dict[str, Any]:
    return _identity_columns(document) | {"protocol": "published"} | _printed_columns(document)


def _identity_columns(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in IDENTITY} | {"axes": dict(record.axes)}


def _printed_columns(document: Record | None) -> dict[str, Any]:
    if document is None:
        return {}
    row: dict[str, Any] = {"document": document.document}
    for name, value in document.measures.printed.items():
        if name in PRINTED:
            column, factor = PRINTED[name]
            row[column] = value * factor
    return row


def _predicted_columns(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {"environment": record.environment, "failure": record.failure}
    counts, memory = record.measures.counts, record.measures.predicted
    if counts:
        row |= {name: getattr(counts, name) for name in COUNT_COLUMNS}
    if memory:
        row |= {f"predicted_{name}": getattr(memory, name) for name in PREDICTED_SIZES}
    return row


def _measured_columns(record: Record, shared: Mapping[str, Any]) -> dict[str, Any]:
    where = record.environment
    memory = record.measures.memory or MeasuredMemory()
    sizes = (memory.allocated_bytes, memory.requested_bytes, memory.high_water_bytes)
    return {
        **({} if "macs" in shared else _predicted_columns(record)),
        **{name: getattr(record.measures, name) for name in MEASURED_COLUMNS},
        "device": where.device if where else None,
        "device_name": (where.device_name if where else None) or None,
        "environment": where,
        "memory_bytes": next((size for size in sizes if size is not None), None),
        "reserved_bytes": memory.reserved_bytes,
        "measured_paper_bytes": memory.paper_bytes,
        "cell": record.cell,
        "created_at": record.created_at,
        "failure": record.failure,
    }
