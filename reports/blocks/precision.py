"""Tables of the experiment `precision`: number formats side by side."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reports.model import (
    BY_CUDA,
    INCREMENT_NOTE,
    MEBI,
    MILLI,
    TIME_NOTE,
    UNMEASURED,
    Column,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    measured_value,
    measuring_conditions,
    memory_column,
    pixels,
    predicted_value,
    rows_of_experiment,
    time_value,
)

if TYPE_CHECKING:
    import pandas as pd

PLAIN_FORMAT = "float32"
SETTING = ("block", "size", "mode")
WHOSE = {"cpu": "the CPU", "cuda": "CUDA"}
RULES = "Predictions of autocast and fused attention follow the rules of {}."
LEFT_OUT = "Nothing was run here at {}."


def precision_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Time, measured and predicted memory of each arm in each number format; three tables a device."""
    rows = rows_of_experiment(frame, "precision")
    tables: list[Table] = []
    for number, device in enumerate(devices(rows)):
        here = _with_odd_ones(of_device(rows, device))
        suffix = f"-{number + 1}" if number else ""
        where = device or "no device"
        if device:
            tables += [
                _matrix(here, _time, name=f"precision-time{suffix}", title=f"time, {where}"),
                _matrix(here, _memory, name=f"precision-memory{suffix}", title=f"memory, {where}"),
            ]
        if not number:
            tables.append(
                _matrix(here, _foretold, name="precision-predicted", title="predicted memory")
            )
    return tuple(tables)


def devices(rows: Sequence[Row]) -> tuple[str, ...]:
    """Names of the devices that ran something; one empty name where none did."""
    found = dict.fromkeys(str(row["device_name"]) for row in rows if row["device_name"])
    return tuple(found) or (("",) if rows else ())


def of_device(rows: Sequence[Row], device: str) -> list[Row]:
    """Rows of a device, and those that nothing was executed of, e.g. of a run that was ended."""
    here = [row for row in rows if row["device_name"] == device]
    told = {_key(row) for row in here}
    return here + [row for row in rows if not row["device_name"] and _key(row) not in told]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(sorted(row["axes"].items()))


# What a cell of the matrix says: how it reads, and its column.
Reading = tuple[Callable[[Row], Value], Callable[[str], Column], str]

_time: Reading = (
    time_value,
    lambda dtype: Column(dtype, "ms", 1, MILLI, "seconds", "measured"),
    TIME_NOTE,
)
_memory: Reading = (
    lambda row: measured_value(row, row["memory_bytes"], first=True),
    lambda dtype: memory_column(dtype, "measured"),
    INCREMENT_NOTE,
)
_foretold: Reading = (
    lambda row: _by_rules(row, number_or_reason(row, "predicted_increment_bytes")),
    lambda dtype: memory_column(dtype, "predicted"),
    INCREMENT_NOTE,
)


def number_or_reason(row: Row, column: str) -> Value:
    """Give a predicted number though nothing was executed, or why there is none."""
    value: int | None = row[column]
    return predicted_value(row, column) if value is None else value


def _by_rules(row: Row, value: Value) -> Value:
    """Mark a prediction by another device's rules than its neighbours'."""
    if not row.get("is_odd") or not isinstance(value, int | float):
        return value
    return Interval(value, note=BY_CUDA)


def _with_odd_ones(rows: Sequence[Row]) -> list[Row]:
    """Mark rows that are predicted for CUDA where others of their size are for the CPU."""
    here = {row["axes"].get("size") for row in rows if row["predicted_device"] == "cpu"}
    return [
        {**row, "is_odd": row["predicted_device"] == "cuda" and row["axes"].get("size") in here}
        for row in rows
    ]


def _matrix(rows: Sequence[Row], reading: Reading, *, name: str, title: str) -> Table:
    """Arms down, number formats across."""
    value, column, note = reading
    dtypes = tuple(dict.fromkeys(str(row["dtype"]) for row in rows))
    found = {_key_of(row): row for row in rows}
    settings = sorted(
        dict.fromkeys(tuple(row["axes"].get(name, "") for name in SETTING) for row in rows),
        key=lambda setting: (_pixels_of(rows, setting), setting[2]),
    )
    lines = [
        (*setting, *(_of(found.get((*setting, dtype)), value) for dtype in dtypes))
        for setting in settings
    ]
    kept = [line for line in lines if any(not isinstance(item, Mark) for item in line[3:])]
    text = (Column("arm", align="left"), Column("size", align="left"), Column("mode", align="left"))
    return Table(
        name=name,
        title=f"Number formats: {title}",
        columns=(*text, *map(column, dtypes)),
        rows=tuple(kept),
        caption=_caption(rows),
        notes=tuple(filter(None, (note, *_left_out(lines, kept), *_said(rows, reading)))),
        group_by=(1, 2),
    )


def _left_out(lines: Sequence[tuple[Value, ...]], kept: Sequence[tuple[Value, ...]]) -> list[str]:
    """Say which settings have no number in any format."""
    gone = dict.fromkeys(f"{line[1]} {line[2]} of {line[0]}" for line in lines if line not in kept)
    return [LEFT_OUT.format(", ".join(gone))] if gone else []


def _said(rows: Sequence[Row], reading: Reading) -> tuple[str, ...]:
    return (*_rules(rows), _finding(rows)) if reading is _foretold else ()


def _key_of(row: Row) -> tuple[Any, ...]:
    return (*(row["axes"].get(name, "") for name in SETTING), str(row["dtype"]))


def _pixels_of(rows: Iterable[Row], setting: tuple[Any, ...]) -> int:
    return next(pixels(row) for row in rows if row["axes"].get("size", "") == setting[1])


def _of(row: Row | None, value: Callable[[Row], Value]) -> Value:
    return UNMEASURED if row is None else value(row)


def _caption(rows: Sequence[Row]) -> str:
    executed = [row for row in rows if row["timings"]] or list(rows)
    machine = measuring_conditions(executed).partition(";")[0]
    return f"{machine}; batch 1; the column is the number format; strict protocol."


def _rules(rows: Iterable[Row]) -> tuple[str, ...]:
    """Whose rules the predictions followed, by size where that differs."""
    seen: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["predicted_device"] and not row.get("is_odd"):
            seen.setdefault(row["predicted_device"], {})[str(row["axes"].get("size", ""))] = None
    said = [f"{WHOSE[device]} ({', '.join(sizes)})" for device, sizes in seen.items()]
    return (RULES.format(" and ".join(said)),) if said else ()


def _finding(rows: Sequence[Row]) -> str:
    """Plain NB under autocast beside float32, in words, at the largest size."""
    plain = [
        row
        for row in rows
        if row["axes"].get("block") == "nb"
        and row["axes"].get("mode") == "eval"
        and row["predicted_increment_bytes"]
    ]
    largest = max(map(pixels, plain), default=0)
    need = {
        str(row["dtype"]): row["predicted_increment_bytes"]
        for row in plain
        if pixels(row) == largest
    }
    wanted = (PLAIN_FORMAT, "autocast-float16", "autocast-bfloat16")
    if not all(dtype in need for dtype in wanted):
        return ""
    full, half, brain = (need[dtype] / MEBI for dtype in wanted)
    more = "more" if brain > full else "less"
    return (
        f"Plain NB in inference is predicted to need {brain:.0f} MiB under bfloat16 autocast, {more} than the "
        f"{full:.0f} MiB of float32, and {half:.0f} MiB under float16 autocast; the weights that "
        "autocast keeps are in it."
    )
