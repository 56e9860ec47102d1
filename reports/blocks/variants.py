"""Tables of blocks in other ways of computing them, and in other number formats."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from reports.model import (
    ARM_FIELDS,
    BY_CUDA,
    INCREMENT_NOTE,
    MEASURED_MEMORY,
    MEBI,
    TIME_NOTE,
    UNMEASURED,
    WORK_FIELDS,
    Chapter,
    Column,
    Field,
    Frame,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    device_names,
    measured_value,
    measuring_conditions,
    median_time,
    memory_column,
    of_device,
    pixels,
    predicted_increment,
    predicted_value,
    ratio_of,
    rows_of_experiment,
    tabulate,
    text_column,
    time_column,
    time_field,
    time_value,
)

ReadRow = Callable[[Row], Value]
# What a cell of the matrix of formats says: how it reads, its column, and the note on it.
MatrixReading = tuple[ReadRow, Callable[[str], Column], str]

# As headings of the tables that hold them against floors.
VARIANT_TITLES = {"implementations": "Implementations", "precision": "Number formats"}
KERNEL_NOTE = (
    "Kernel: the attention operator that ran, from the profiler; without one the block computes "
    "its own products."
)
PLAIN_RATIO = (
    "A ratio is this row over the same block as the documents wrote it; above 1 it needs more."
)
PLAIN_FORMAT = "float32"
SETTING = ("block", "size", "mode")
WHOSE = {"cpu": "the CPU", "cuda": "CUDA"}
RULES = "Predictions of autocast and fused attention follow the rules of {}."
LEFT_OUT = "Nothing was run here at {}."


def _by_device(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row], str]]:
    """Each device with its rows, and what parts the names of its tables from those of others."""
    for number, device in enumerate(device_names(rows), start=1):
        yield device, of_device(rows, device), f"-{number}" if number > 1 else ""


def _number_or_reason(row: Row, column: str) -> Value:
    """Give a predicted number though nothing was executed, or why there is none."""
    value: int | None = row[column]
    return predicted_value(row, column) if value is None else value


def implementation_tables(frame: Frame) -> tuple[Table, ...]:
    """Each block in each way of computing it: time, memory, their ratios to the plain block, and the kernel."""
    rows = rows_of_experiment(frame, "implementations")
    return tuple(_implementations(*of_one) for of_one in _by_device(rows))


def _implementations(device: str, rows: Sequence[Row], suffix: str) -> Table:
    order = {block: at for at, block in enumerate(dict.fromkeys(map(_plain_block, rows)))}
    return tabulate(
        sorted(rows, key=lambda row: (row["mode"], pixels(row), order[_plain_block(row)])),
        (*ARM_FIELDS, *_variant_fields(rows)),
        name=f"implementations{suffix}",
        title=f"Implementations: the same block in other ways, {device or 'no device'}",
        caption=measuring_conditions(rows),
        group_by=(1, 2),
    )


def _variant_fields(rows: Sequence[Row]) -> tuple[Field, ...]:
    """Columns of time, memory, work and kernel, the first two with their ratio to the plain block."""
    plain = {_setting_of(row): row for row in rows if ":" not in str(row["axes"]["block"])}

    def times_plain(read: ReadRow, row: Row) -> Value:
        reference = plain.get(_setting_of(row))
        return None if reference is None else ratio_of(read(row), read(reference))

    time_ratio = partial(times_plain, median_time)
    memory_ratio = partial(times_plain, lambda row: row["predicted_increment_bytes"])
    return (
        time_field(1),
        Field(Column("time ratio", "", 2), time_ratio, optional=True, note=PLAIN_RATIO),
        MEASURED_MEMORY,
        Field(memory_column("memory", "predicted"), _increment),
        Field(Column("memory ratio", "", 2), memory_ratio, note=PLAIN_RATIO),
        Field(WORK_FIELDS[0].column, lambda row: _number_or_reason(row, "macs")),
        Field(text_column("kernel", wide=True), _kernel, optional=True, note=KERNEL_NOTE),
    )


def _setting_of(row: Row) -> tuple[str, ...]:
    return _plain_block(row), row["axes"]["size"], row["mode"]


def _plain_block(row: Row) -> str:
    return str(row["axes"]["block"]).partition(":")[0]


def _increment(row: Row) -> Value:
    """Predicted memory, its rules noted where they are not those of the row's device."""
    has_it = row["predicted_increment_bytes"] is not None
    return (
        predicted_increment(row) if has_it else _number_or_reason(row, "predicted_increment_bytes")
    )


def _kernel(row: Row) -> Value:
    """The operators of the forward pass in short, without the words that all of them share."""
    names = dict.fromkeys(
        name.removeprefix("_scaled_dot_product_")
        .replace("attention_", "")
        .removesuffix("_attention")
        for name in row["kernels"] or ()
    )
    return ", ".join(names)


def precision_tables(frame: Frame) -> tuple[Table, ...]:
    """Time, measured and predicted memory of each arm in each number format; three tables a device."""
    tables: list[Table] = []
    for device, rows, suffix in _by_device(rows_of_experiment(frame, "precision")):
        here = _with_odd_ones(rows)
        if device:
            tables += [
                _matrix(
                    here, TIME_READING, name=f"precision-time{suffix}", title=f"time, {device}"
                ),
                _matrix(
                    here,
                    MEMORY_READING,
                    name=f"precision-memory{suffix}",
                    title=f"memory, {device}",
                ),
            ]
        if not suffix:
            tables.append(
                _matrix(
                    here, PREDICTION_READING, name="precision-predicted", title="predicted memory"
                )
            )
    return tuple(tables)


def _by_rules(row: Row) -> Value:
    """Predicted memory, marked where it is by another device's rules than its neighbours'."""
    value = _number_or_reason(row, "predicted_increment_bytes")
    if not row.get("is_odd") or not isinstance(value, int | float):
        return value
    return Interval(value, note=BY_CUDA)


TIME_READING: MatrixReading = (time_value, partial(time_column, digits=1), TIME_NOTE)
MEMORY_READING: MatrixReading = (
    lambda row: measured_value(row, row["memory_bytes"], first=True),
    lambda dtype: memory_column(dtype, "measured"),
    INCREMENT_NOTE,
)
PREDICTION_READING: MatrixReading = (
    _by_rules,
    lambda dtype: memory_column(dtype, "predicted"),
    INCREMENT_NOTE,
)


def _with_odd_ones(rows: Sequence[Row]) -> list[Row]:
    """Mark rows that are predicted for CUDA where others of their size are for the CPU."""
    here = {row["axes"].get("size") for row in rows if row["predicted_device"] == "cpu"}
    return [
        {**row, "is_odd": row["predicted_device"] == "cuda" and row["axes"].get("size") in here}
        for row in rows
    ]


def _matrix(rows: Sequence[Row], reading: MatrixReading, *, name: str, title: str) -> Table:
    """Arms down, number formats across."""
    value, column, note = reading
    dtypes = tuple(dict.fromkeys(str(row["dtype"]) for row in rows))
    settings: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: (pixels(row), row["axes"].get("mode", ""))):
        setting = tuple(row["axes"].get(name, "") for name in SETTING)
        settings.setdefault(setting, {})[str(row["dtype"])] = row
    lines = [
        (*setting, *(value(by[dtype]) if dtype in by else UNMEASURED for dtype in dtypes))
        for setting, by in settings.items()
    ]
    kept = [line for line in lines if any(not isinstance(item, Mark) for item in line[3:])]
    gone = ", ".join(dict.fromkeys(f"{at[1]} {at[2]} of {at[0]}" for at in lines if at not in kept))
    executed = [row for row in rows if row["timings"]] or rows
    machine = measuring_conditions(executed).partition(";")[0]
    remarks = (
        (_rules_note(rows), _plain_under_autocast(rows)) if reading is PREDICTION_READING else ()
    )
    return Table(
        name=name,
        title=f"Number formats: {title}",
        columns=(*(field.column for field in ARM_FIELDS), *map(column, dtypes)),
        rows=tuple(kept),
        caption=f"{machine}; batch 1; the column is the number format; strict protocol.",
        notes=tuple(filter(None, (note, gone and LEFT_OUT.format(gone), *remarks))),
        group_by=(1, 2),
    )


def _rules_note(rows: Iterable[Row]) -> str:
    """Whose rules the predictions followed, by size where that differs."""
    sizes: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["predicted_device"] and not row.get("is_odd"):
            sizes.setdefault(row["predicted_device"], {})[str(row["axes"].get("size", ""))] = None
    named = [f"{WHOSE[device]} ({', '.join(of)})" for device, of in sizes.items()]
    return RULES.format(" and ".join(named)) if named else ""


def _plain_under_autocast(rows: Sequence[Row]) -> str:
    """Plain NB under autocast beside float32, in words, at the largest size."""
    plain = [
        row
        for row in rows
        if (row["axes"].get("block"), row["axes"].get("mode")) == ("nb", "eval")
        and row["predicted_increment_bytes"]
    ]
    largest = max(map(pixels, plain), default=0)
    need = {
        str(row["dtype"]): row["predicted_increment_bytes"] / MEBI
        for row in plain
        if pixels(row) == largest
    }
    formats = (PLAIN_FORMAT, "autocast-float16", "autocast-bfloat16")
    if not need.keys() >= set(formats):
        return ""
    full, half, brain = (need[dtype] for dtype in formats)
    more = "more" if brain > full else "less"
    return (
        f"Plain NB in inference is predicted to need {brain:.0f} MiB under bfloat16 autocast, {more} than the "
        f"{full:.0f} MiB of float32, and {half:.0f} MiB under float16 autocast; the weights that "
        "autocast keeps are in it."
    )


CHAPTER = Chapter(60, {"precision": precision_tables, "implementations": implementation_tables})
