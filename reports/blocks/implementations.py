"""Table of the experiment `implementations`: each block in each way of computing it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reports.blocks.precision import devices, number_or_reason, of_device
from reports.model import (
    INCREMENT_NOTE,
    MILLI,
    TIME_NOTE,
    WORK_FIELDS,
    Column,
    Field,
    Interval,
    Row,
    Table,
    Value,
    axis_value,
    measured_value,
    measuring_conditions,
    memory_column,
    pixels,
    predicted_increment,
    ratio_of,
    rows_of_experiment,
    tabulate,
    time_interval,
    time_value,
    timing_of,
)

if TYPE_CHECKING:
    import pandas as pd

Read = Callable[[Row], Value]
Ratio = Callable[[Read], Read]

KERNEL = "Kernel: the attention operator that ran, from the profiler; without one the block computes its own products."
RATIO = "A ratio is this row over the same block as the documents wrote it; above 1 it needs more."
NAMED = (
    Field(Column("arm", align="left"), axis_value("block")),
    Field(Column("size", align="left"), axis_value("size")),
    Field(Column("mode", align="left"), axis_value("mode")),
)


def implementation_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Each block in each way of computing it: time, memory, their ratios to the plain block, and the kernel."""
    rows = rows_of_experiment(frame, "implementations")
    return tuple(
        _table(of_device(rows, device), device, f"-{number + 1}" if number else "")
        for number, device in enumerate(devices(rows))
    )


def _table(rows: Sequence[Row], device: str, suffix: str) -> Table:
    order = {block: at for at, block in enumerate(dict.fromkeys(map(_block, rows)))}
    return tabulate(
        sorted(rows, key=lambda row: (row["mode"], pixels(row), order[_block(row)])),
        (*NAMED, *_read(_ratios(rows))),
        name=f"implementations{suffix}",
        title=f"Implementations: the same block in other ways, {device or 'no device'}",
        caption=measuring_conditions(rows),
        group_by=(1, 2),
    )


def _read(times_plain: "Ratio") -> tuple[Field, ...]:
    """Columns of time, memory, work and kernel, the first two with their ratio to the plain block."""
    ratio_column = partial(Column, unit="", digits=2)
    return (
        Field(
            Column("time", "ms", 1, MILLI, "seconds", "measured", best="min"),
            time_value,
            note=TIME_NOTE,
        ),
        Field(ratio_column("time ratio"), times_plain(_seconds), optional=True, note=RATIO),
        Field(
            memory_column("memory", "measured", best="min"),
            lambda row: measured_value(row, row["memory_bytes"]),
            note=INCREMENT_NOTE,
        ),
        Field(memory_column("memory", "predicted"), _increment),
        Field(
            ratio_column("memory ratio"),
            times_plain(lambda row: row["predicted_increment_bytes"]),
            note=RATIO,
        ),
        Field(WORK_FIELDS[0].column, lambda row: number_or_reason(row, "macs")),
        Field(Column("kernel", align="left", wide=True), _kernel, optional=True, note=KERNEL),
    )


def _ratios(rows: Sequence[Row]) -> "Ratio":
    """Make what divides a reading by that of the plain block of the same size and mode."""
    plain = {_place(row): row for row in rows if ":" not in str(row["axes"]["block"])}

    def times_plain(read: Read) -> Read:
        def value(row: Row) -> Value:
            reference = plain.get(_place(row))
            return None if reference is None else ratio_of(read(row), read(reference))

        return value

    return times_plain


def _place(row: Row) -> tuple[Value, ...]:
    return _block(row), row["axes"]["size"], row["mode"]


def _increment(row: Row) -> Value:
    """Predicted memory, its rules noted where they are not those of the row's device."""
    value = predicted_increment(row) if row["predicted_increment_bytes"] is not None else None
    return number_or_reason(row, "predicted_increment_bytes") if value is None else value


def _block(row: Row) -> str:
    return str(row["axes"]["block"]).partition(":")[0]


def _seconds(row: Row) -> Value:
    found = time_interval(timing_of(row))
    return None if found is None else Interval(found.median)


def _kernel(row: Row) -> Value:
    """The operators of the forward pass in short, without the words that all of them share."""
    names = dict.fromkeys(
        name.removeprefix("_scaled_dot_product_")
        .replace("attention_", "")
        .removesuffix("_attention")
        for name in row["kernels"] or ()
    )
    return ", ".join(names)
