"""Records to one data frame: a row for each cell and device, its published, predicted and measured readings.

Everything is in base units. Records of one cell are joined by what they describe (experiment, subject, axes, size,
batch, dtype, mode, protocol); the latest of a kind wins, and readings of different devices stay apart, in rows of
their own. Published records join where their axes agree.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from bench.records import MeasuredMemory, Record, read_records
from reports.model.table import GIBI, GIGA, MEBI, MEGA, MILLI

if TYPE_CHECKING:
    import pandas as pd

# Not imported for this: pandas takes longer than all of reports.
Frame: TypeAlias = "pd.DataFrame"

ItemT = TypeVar("ItemT")
KeyT = TypeVar("KeyT", bound=Hashable)

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
PREDICTED_SIZES = (
    *("peak_bytes", "increment_bytes", "paper_bytes", "device"),
    *("allocated_bytes", "reserved_bytes", "expandable_reserved_bytes"),
)
MEASURED_COLUMNS = (
    "timings",
    "operations",
    "accuracy",
    "counters",
    "ceilings",
    "kernels",
    "readings",
)
FRAME_COLUMNS = (
    *IDENTITY,
    *("axes", "cell", "created_at", "device", "device_name", "environment", "failure", "origins"),
    *COUNT_COLUMNS,
    "predicted_failure",
    *(f"predicted_{name}" for name in PREDICTED_SIZES),
    *("memory_bytes", "memory_resolution_bytes", "requested_bytes", "reserved_bytes"),
    "measured_paper_bytes",
    *MEASURED_COLUMNS,
    *("document", "published_place"),
    *dict.fromkeys(column for column, _ in PRINTED.values()),
)


def grouped(items: Iterable[ItemT], key: Callable[[ItemT], KeyT]) -> dict[KeyT, list[ItemT]]:
    """Items by their key; keys and items in the order of their first appearance."""
    groups: dict[KeyT, list[ItemT]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def published_records() -> tuple[Record, ...]:
    """Read the documents' own numbers, which come with this package."""
    return read_records(PUBLISHED)


def build_frame(records: Sequence[Record], documents: Sequence[Record] | None = None) -> Frame:
    """Join records to rows of `FRAME_COLUMNS`, with None for what is not there.

    A document, by default of this package, joins a record of its experiment whose axes hold its own. Rows stand in the
    order of first appearance, then one with protocol `published` for each that nothing joined.
    """
    import pandas as pd

    printed = published_records() if documents is None else documents
    by_cell = {document.cell: document for document in (*printed, *_only(records, "published"))}
    by_experiment = grouped(by_cell.values(), lambda document: document.experiment)
    columns = {cell: _printed_columns(by_cell[cell], at) for at, cell in enumerate(by_cell)}
    rows, joined = [], set[str]()
    alike = grouped(
        (record for record in records if record.source != "published"),
        lambda record: (*itemgetter(*IDENTITY)(vars(record)), *sorted(record.axes.items())),
    )
    for same in alike.values():
        experiment, axes = _documented_as(same[0]), same[0].axes.items()
        candidates = by_experiment.get(experiment, ())
        match = next((each.cell for each in candidates if each.axes.items() <= axes), "")
        if match and experiment == same[0].experiment:
            joined.add(match)
        rows.extend(_joined_rows(same, columns.get(match, {})))
    alone = {"protocol": "published"}
    rows.extend(
        _identity_columns(document) | alone | columns[cell]
        for cell, document in by_cell.items()
        if cell not in joined
    )
    whole = [{column: row.get(column) for column in FRAME_COLUMNS} for row in rows]
    return pd.DataFrame(whole, columns=list(FRAME_COLUMNS), dtype=object)


def _documented_as(record: Record) -> str:
    # What a command measures is that of Table 1 where it is what the paper measured.
    plain = not {"channels", "key_channels"} & record.axes.keys()
    usual = (record.batch, record.dtype, record.mode) == (1, "float32", "eval")
    name = record.experiment
    return BY_COMMAND.get(name, name) if plain and usual else name


def _only(records: Iterable[Record], source: str) -> list[Record]:
    return [record for record in records if record.source == source]


def _latest(records: Sequence[Record]) -> Record:
    # max() keeps the first of equals, and of two records without a time the later line is the newer one.
    return max(reversed(records), key=lambda record: record.created_at)


def _joined_rows(same: list[Record], printed: dict[str, Any]) -> list[dict[str, Any]]:
    predicted = _only(same, "predicted")
    origins = (_latest(predicted),) if predicted else ()
    shared = _identity_columns(same[0]) | printed
    for record in origins:
        shared |= _predicted_columns(record) | {"predicted_failure": record.failure}
    by_device = grouped(
        _only(same, "measured"),
        lambda record: record.environment.device_name if record.environment else "",
    )
    rows = [
        shared | _measured_columns(record, shared) | {"origins": (*origins, record)}
        for record in map(_latest, by_device.values())
    ]
    return rows or [shared | {"origins": origins}]


class RecordAxes(dict[str, Any]):
    """Axes of a record; a ValueError says which record has not the axis that a table asks for."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.axes)
        self._of = f"a record of {record.experiment} (cell {record.cell}, {record.subject})"

    def __missing__(self, name: str) -> Any:  # noqa: ANN401  # never returns
        msg = f"{self._of} has no axis {name!r}, which its table needs; take the line out, or measure the cell again"
        raise ValueError(msg)


def _identity_columns(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in IDENTITY} | {"axes": RecordAxes(record)}


def _printed_columns(document: Record, place: int) -> dict[str, Any]:
    scaled = {
        PRINTED[name][0]: value * PRINTED[name][1]
        for name, value in document.measures.printed.items()
        if name in PRINTED
    }
    where = {"document": document.document, "published_place": place}
    return scaled | (where if document.document else {})


def _predicted_columns(record: Record) -> dict[str, Any]:
    counts, memory = record.measures.counts, record.measures.predicted
    row: dict[str, Any] = {"environment": record.environment, "failure": record.failure}
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
        "requested_bytes": memory.requested_bytes,
        "memory_resolution_bytes": memory.resolution_bytes,
        "reserved_bytes": memory.reserved_bytes,
        "measured_paper_bytes": memory.paper_bytes,
        "cell": record.cell,
        "created_at": record.created_at,
        "failure": record.failure,
    }
