"""Columns and how their values follow from a row of the frame; the tables pick from these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from bench.records import Record
from reports.model import notes as say
from reports.model import values as readings
from reports.model.table import GIGA, MEBI, MEGA, Column, Interval, Mark, Source, Table, Value
from reports.model.values import Row, measured_value, predicted_value, published_value, ratio_of


@dataclass(frozen=True, slots=True)
class Field:
    """A column and how its value follows from a row; an optional one goes where it says nothing.

    Its note stands under every table that the column is in.
    """

    column: Column
    value: Callable[[Row], Value]
    optional: bool = False
    note: str = ""


def tabulate(
    rows: Sequence[Row],
    fields: Sequence[Field],
    *,
    notes: Sequence[str] = (),
    **about: Any,  # noqa: ANN401
) -> Table:
    """Make a table; an optional column that says nothing is left out.

    Args:
        rows: of the frame, in the order of the table.
        fields: its columns.
        notes: after those of the columns.
        about: the other fields of `Table`.
    """
    values = [[field.value(row) for row in rows] for field in fields]
    kept = [
        (field, column)
        for field, column in zip(fields, values, strict=True)
        if not field.optional
        or any(value not in (None, "") and not _is_dash(value) for value in column)
    ]
    said = dict.fromkeys((*(field.note for field, _ in kept), *notes))
    return Table(
        columns=tuple(field.column for field, _ in kept),
        rows=tuple(zip(*(values for _, values in kept), strict=True)),
        notes=tuple(note for note in said if note),
        origins=tuple(map(_origins, rows)),
        **about,
    )


def _origins(row: Row) -> tuple[Record, ...]:
    """The records behind a row: its own, of its other protocol, of all trainings of an arm."""
    parts = [row, row.get("paper"), *(row["arm"].rows if "arm" in row else ())]
    found = [one for part in parts if part for one in part.get("origins") or ()]
    return tuple({id(one): one for one in found}.values())


def _is_dash(value: Value) -> bool:
    return isinstance(value, Mark) and value.text == "-"


def axis_value(name: str) -> Callable[[Row], Value]:
    """Read one axis; empty where a row does not have it."""
    return lambda row: row["axes"].get(name, "")


def _paper_operations(row: Row) -> Value:
    return row["paper"]["paper_operations"] or row["paper_operations"]


def device_column(rows: Sequence[Row]) -> tuple[Field, ...]:
    """A column that names the device, where there are several."""
    several = len({row["device_name"] for row in rows if row["device_name"]}) > 1
    column = Column("device", align="left")
    return (Field(column, lambda row: row["device_name"]),) if several else ()


def _bare(value: Interval | None) -> Value:
    return None if value is None else Interval(value.median)


def _time(row: Row, **choice: Any) -> Value:  # noqa: ANN401
    return _bare(readings.time_interval(readings.timing_of(row, **choice)))


def _stored(row: Row) -> Value:
    if row["parameters"] is None or row["buffers"] is None:
        return readings.UNPREDICTED
    total: int = row["parameters"] + row["buffers"]
    return total


def memory_column(
    name: str, source: Source, digits: int = 1, best: Literal["min"] | None = None
) -> Column:
    """Make a column of memory in MiB; what a document prints as MB is that too."""
    unit = "MB" if source == "published" else "MiB"
    return Column(name, unit, digits, MEBI, "bytes", source, best=best)


PARAMETERS_FIELD = Field(
    Column("params", "M", 2, MEGA), lambda row: predicted_value(row, "parameters")
)
WORK_FIELDS = (
    Field(Column("MACs", "G", 2, GIGA, best="min"), lambda row: predicted_value(row, "macs")),
    Field(Column("FLOPs", "G", 2, GIGA, best="min"), lambda row: predicted_value(row, "flops")),
)
INCREMENT_FIELD = Field(
    memory_column("memory", "predicted", best="min"),
    readings.predicted_increment,
    note=say.INCREMENT_NOTE,
)
PUBLISHED_MEMORY = Field(
    memory_column("memory", "published", 0),
    lambda row: published_value(row, "memory_bytes"),
    optional=True,
)
BLOCK_FIELDS = (
    Field(Column("block", align="left"), axis_value("block")),
    Field(Column("size", align="left"), axis_value("size")),
    *(
        Field(Column(name.replace("_", " ")), axis_value(name), optional=True)
        for name in ("channels", "key_channels", "batch", "dtype", "mode")
    ),
)
BLOCK_COUNT_FIELDS = (
    *BLOCK_FIELDS,
    PARAMETERS_FIELD,
    *WORK_FIELDS,
    Field(
        Column("GFLOPs", "", 1, GIGA, "operations", "published"),
        lambda row: published_value(row, "operations"),
        optional=True,
    ),
    Field(
        Column("count by paper's rules", "G", 1, GIGA, "operations"),
        _paper_operations,
        optional=True,
        note=say.COUNT_NOTE,
    ),
    Field(
        Column("ratio", "", 3),
        lambda row: ratio_of(row["published_operations"], _paper_operations(row)),
        optional=True,
        note=say.RATIO_NOTE,
    ),
    INCREMENT_FIELD,
    PUBLISHED_MEMORY,
    Field(
        memory_column("by paper's procedure", "predicted", 0),
        lambda row: row["paper"]["predicted_paper_bytes"],
        optional=True,
        note=say.PROCEDURE,
    ),
    Field(
        Column("ratio", "", 3),
        lambda row: ratio_of(row["published_memory_bytes"], row["paper"]["predicted_paper_bytes"]),
        optional=True,
        note=say.RATIO_NOTE,
    ),
)
NETWORK_FIELDS = (
    Field(Column("network", align="left"), axis_value("network")),
    Field(Column("size", align="left"), axis_value("size")),
)
NETWORK_COUNT_FIELDS = (
    *NETWORK_FIELDS,
    Field(
        Column("params", "M", 2, MEGA, "", "published"),
        lambda row: published_value(row, "parameters"),
    ),
    PARAMETERS_FIELD,
    Field(Column("params, buffers", "M", 2, MEGA), _stored, note=say.STORED),
    Field(
        Column("ratio", "", 3),
        lambda row: ratio_of(row["published_parameters"], _stored(row)),
    ),
    *WORK_FIELDS,
    PUBLISHED_MEMORY,
    Field(
        memory_column("memory in all", "predicted", 0),
        lambda row: predicted_value(row, "predicted_peak_bytes"),
        note=say.HELD,
    ),
    Field(
        Column("ratio", "", 2),
        lambda row: ratio_of(row["published_memory_bytes"], row["predicted_peak_bytes"]),
    ),
    replace(INCREMENT_FIELD, column=memory_column("of a call", "predicted", 0), note=""),
)


USED = (
    Field(
        memory_column("memory", "measured", best="min"),
        lambda row: measured_value(row, row["memory_bytes"]),
        note=say.INCREMENT_NOTE,
    ),
    Field(Column("workspace", "MiB", 1, MEBI, "bytes"), readings.workspace),
    Field(
        memory_column("memory by paper's procedure", "measured", 0),
        lambda row: row["paper"]["measured_paper_bytes"],
        optional=True,
        note=say.PROCEDURE,
    ),
)


def timing_fields(unit: str, scale: float, digits: int) -> tuple[Field, ...]:
    """Columns of what was measured, with times in that unit: published, ours, their ratio, memory."""
    seconds = partial(Column, unit=unit, scale=scale, base="seconds")
    return (
        Field(
            seconds("time", digits=digits, source="published"),
            lambda row: published_value(row, "time_s"),
            optional=True,
        ),
        Field(
            seconds("time", digits=digits + 1, source="measured", best="min"),
            readings.time_value,
            note=say.TIME_NOTE,
        ),
        Field(
            Column("ratio", "", 3),
            lambda row: ratio_of(row["published_time_s"], _time(row)),
            optional=True,
            note=say.RATIO_NOTE,
        ),
        Field(
            seconds("CPU time", digits=digits, source="measured"),
            partial(_time, clocks=("process",)),
            optional=True,
        ),
        Field(
            seconds("time, cold", digits=digits + 1, source="measured"),
            partial(_time, cache="cold"),
            optional=True,
            note="Cold: the GPU's caches were emptied before every call.",
        ),
        Field(
            seconds("time by paper's procedure", digits=digits, source="measured"),
            lambda row: _time(row["paper"], clocks=("wall", *readings.CLOCK_ORDER)),
            optional=True,
        ),
        *USED,
    )
