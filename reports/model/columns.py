"""Columns and how their values follow from a row of the frame; the tables pick from these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any, Literal

from bench.records import Record
from reports.model import values
from reports.model.table import DASH, GIGA, MEBI, MEGA, MILLI, Column, Mark, Source, Table, Value
from reports.model.values import Row

TimeUnit = Literal["ms", "s"]

INCREMENT_NOTE = (
    "Memory is what one call adds to its input and parameters; predicted memory is that of the live "
    "tensors, workspace is measured minus predicted."
)
RATIO_NOTE = "A ratio is the published number over ours to its left."
LAYOUT_NOTE = "Layout: nlc are tokens (b, h w, C), nhwc (b, h, w, C); maps are (b, C, h, w) where nothing is said."
INPUTS_NOTE = "Inputs: so many maps of one shape go into a call; one where nothing is said."
INPUT_GRADIENT_NOTE = (
    "In training somebody's own block goes back to the maps that come in, as inside a network; blocks by name end at "
    "their parameters, as the documents measured them."
)
TIME_NOTE = (
    "Times are medians with 99 % intervals; '?' marks an inconclusive one: fewer than 12 samples, or "
    "half the interval is a hundredth of the median or more (on a processor a twentieth)."
)


@dataclass(frozen=True, slots=True)
class Field:
    """A column and how its value follows from a row."""

    column: Column
    value: Callable[[Row], Value]
    optional: bool = False  # left out where it says nothing
    note: str = ""  # under every table that the column is in: how a number was made, why it isn't the printed one


def tabulate(
    rows: Sequence[Row],
    fields: Sequence[Field],
    *,
    caption: str | None = None,
    notes: Sequence[str] = (),
    **about: Any,  # noqa: ANN401
) -> Table:
    """Make a table; an optional column that says nothing is left out, and one of numbers of which no row has a record.

    Without a caption it says how the rows were measured; the notes stand after those of the columns.
    """
    filled = ((field, [field.value(row) for row in rows]) for field in fields)
    kept = [
        (field, column)
        for field, column in filled
        if not (field.optional and all(map(_says_nothing, column)))
        and not (rows and field.column.align == "right" and all(map(_is_unrecorded, column)))
    ]
    own = [INPUT_GRADIENT_NOTE] if any(map(_has_input_gradient, rows)) else []
    every_note = dict.fromkeys((*(field.note for field, _ in kept), *notes, *own))
    return Table(
        columns=tuple(field.column for field, _ in kept),
        rows=tuple(zip(*(column for _, column in kept), strict=True)),
        caption=values.measuring_conditions(rows) if caption is None else caption,
        notes=tuple(filter(None, every_note)),
        origins=tuple(map(_origins, rows)),
        **about,
    )


def _says_nothing(value: Value) -> bool:
    return value in (None, "") or (isinstance(value, Mark) and value.text == DASH)


def _is_unrecorded(value: Value) -> bool:
    """Whether nothing was read; a failure, whose reason a reader needs, is something."""
    return value is None or value in values.UNRECORDED


def _has_input_gradient(row: Row) -> bool:
    return any(record.input_gradient for record in _origins(row))


def _origins(row: Row) -> tuple[Record, ...]:
    """The records behind a row: its own, of its other protocol, of all trainings of an arm."""
    parts = [row, row.get("paper"), *(row["arm"].rows if "arm" in row else ())]
    records = [record for part in parts if part for record in part.get("origins") or ()]
    return tuple({id(record): record for record in records}.values())


def text_column(name: str, *, wide: bool = False) -> Column:
    """Make a column of text; a wide one may wrap."""
    return Column(name, align="left", wide=wide)


def memory_column(name: str, source: Source, digits: int = 1) -> Column:
    """Make a column of memory in MiB; what a document prints as MB is that too."""
    unit = "MB" if source == "published" else "MiB"
    return Column(name, unit, digits, MEBI, "bytes", source)


def time_column(
    name: str = "time", source: Source = "measured", digits: int = 2, *, unit: TimeUnit = "ms"
) -> Column:
    """Make a column of times."""
    return Column(name, unit, digits, MILLI if unit == "ms" else 1, "seconds", source)


def percent_column(name: str, digits: int = 0) -> Column:
    """Make a column of shares, in percent."""
    return Column(name, "%", digits, 0.01, "share")


def share_field(above: str, below: str, *, optional: bool = False, note: str = "") -> Field:
    """Make the column of the share that one entry of a row is of another."""
    share = partial(_ratio, above=itemgetter(above), below=itemgetter(below))
    return Field(percent_column("share"), share, optional, note)


def _ratio(row: Row, *, above: Callable[[Row], Value], below: Callable[[Row], Value]) -> Value:
    return values.ratio_of(above(row), below(row))


def axis_field(
    name: str, column: Column | None = None, *, optional: bool = False, note: str = ""
) -> Field:
    """Make a column from an axis, empty where a row lacks it; without `column` of text, named after the axis."""
    column = column or text_column(name.replace("_", " "))
    return Field(column, lambda row: row["axes"].get(name, ""), optional, note)


def device_column(rows: Sequence[Row]) -> tuple[Field, ...]:
    """A column that names the device, where there are several."""
    several = len({row["device_name"] for row in rows if row["device_name"]}) > 1
    return (Field(text_column("device"), itemgetter("device_name")),) if several else ()


def time_field(digits: int, *, unit: TimeUnit = "ms", best: Literal["min"] | None = "min") -> Field:
    """Make the column of measured times with their intervals, or why there are none."""
    column = replace(time_column(digits=digits, unit=unit), best=best)
    return Field(column, values.time_value, note=TIME_NOTE)


def predicted_field(column: Column, name: str, note: str = "") -> Field:
    """Make a column of a number that needed no execution, by the name that the frame has for it."""
    return Field(column, partial(values.predicted_value, column=name), note=note)


def counted_field(column: Column, name: str) -> Field:
    """Make a column of a count of operations, marked in rows of which it lacks some."""
    return Field(column, partial(values.counted_value, column=name))


def published_field(column: Column, name: str, *, optional: bool = True) -> Field:
    """Make a column of what the documents print: `name` is that of the frame after `published_`."""

    def printed(row: Row) -> Value:
        number = row[f"published_{name}"]
        return values.UNPUBLISHED if number is None else number

    return Field(column, printed, optional)


def published_ratio(
    name: str,
    ours: Callable[[Row], Value],
    digits: int = 3,
    *,
    optional: bool = True,
    note: str = RATIO_NOTE,
) -> Field:
    """Make the column of the published number over ours."""
    ratio = partial(_ratio, above=itemgetter(f"published_{name}"), below=ours)
    return Field(Column("ratio", "", digits), ratio, optional, note)


def reference_ratios(
    reference: Callable[[Row], Row | None], note: str, *, source: Source = ""
) -> tuple[Field, Field]:
    """Make the columns of time and of predicted memory over those of a row's reference, where it has one."""

    def over(read: Callable[[Row], Value], row: Row) -> Value:
        other = reference(row)
        return None if other is None else values.ratio_of(read(row), read(other))

    time = partial(over, values.median_time)
    memory = partial(over, itemgetter("predicted_increment_bytes"))
    return (
        Field(Column("time ratio", "", 2), time, optional=True, note=note),
        Field(Column("memory ratio", "", 2, source=source), memory, note=note),
    )


BLOCK_FIELDS = (
    axis_field("block"),
    axis_field("size"),
    *(
        axis_field(name, Column(name.replace("_", " ")), optional=True)
        for name in ("channels", "key_channels", "batch", "dtype", "mode")
    ),
    axis_field("layout", text_column("layout"), optional=True, note=LAYOUT_NOTE),
    axis_field("inputs", Column("inputs"), optional=True, note=INPUTS_NOTE),
)
ARM_FIELDS = (axis_field("block", text_column("arm")), axis_field("size"), axis_field("mode"))
PARAMETERS_FIELD = predicted_field(Column("params", "M", 2, MEGA), "parameters")
WORK_FIELDS = (
    counted_field(Column("MACs", "G", 2, GIGA, best="min"), "macs"),
    counted_field(Column("FLOPs", "G", 2, GIGA, best="min"), "flops"),
)
MEASURED_MEMORY = Field(
    replace(memory_column("memory", "measured"), best="min"),
    values.measured_memory,
    note=INCREMENT_NOTE,
)
