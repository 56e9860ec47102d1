"""Tables as comma-separated values: raw numbers, base units in the headings, empty where there is none."""

import csv
import io
from collections.abc import Iterator

from reports.layout import Column, Interval, Mark, Number, Table, Value
from reports.render import plain

_FORMULA = ("=", "+", "-", "@")


def render(table: Table) -> str:
    """Write one table; a column of intervals gets columns for its low and high end, a failure its text."""
    intervals = {
        position
        for position in range(len(table.columns))
        if any(_has_ends(row[position]) for row in table.rows)
    }
    noted = any(isinstance(value, Mark) for row in table.rows for value in row)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = [
        name
        for at, column in enumerate(table.columns)
        for name in _names(column, split=at in intervals)
    ]
    writer.writerow([*header, "missing"] if noted else header)
    for row in table.rows:
        cells = [
            text for at, value in enumerate(row) for text in _texts(value, split=at in intervals)
        ]
        writer.writerow([*cells, _why(table, row)] if noted else cells)
    return out.getvalue()


def _has_ends(value: Value) -> bool:
    return isinstance(value, Interval) and value.low is not None


def _names(column: Column, *, split: bool) -> Iterator[str]:
    yield column.raw_heading
    if split:
        yield f"{column.raw_heading}_low"
        yield f"{column.raw_heading}_high"


def _texts(value: Value, *, split: bool) -> Iterator[str]:
    match value:
        case Interval():
            yield _number(value.median)
            if split:
                yield from (_number(value.low), _number(value.high))
            return
        case Number():
            yield _number(value.value)
        case int() | float():
            yield _number(value)
        case str():
            yield guarded(value)
        case _:
            yield ""
    if split:
        yield from ("", "")


def _number(value: float | None) -> str:
    # Fifteen digits are all that a double holds for sure; more would show the binary rounding.
    return "" if value is None else format(value, ".15g" if isinstance(value, float) else "d")


def _why(table: Table, row: tuple[Value, ...]) -> str:
    said = (
        f"{column.raw_heading}: {value.note}"
        for column, value in zip(table.columns, row, strict=True)
        if isinstance(value, Mark)
    )
    return guarded("; ".join(said))


def guarded(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    shown = plain(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
