"""Tables as comma-separated values: raw numbers, base units in the headings, empty where there is none."""

import csv
import io
from collections.abc import Iterator

from reports.model import Column, Interval, Mark, Number, Spread, Table, Value, plain

_FORMULA = ("=", "+", "-", "@")


def to_csv(table: Table) -> str:
    """Write one table; a column of intervals gets columns for both ends, one of spreads for the deviation."""
    further = [_further(tuple(row[at] for row in table.rows)) for at in range(len(table.columns))]
    noted = any(isinstance(value, Mark) for row in table.rows for value in row)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = [
        name
        for column, parts in zip(table.columns, further, strict=True)
        for name in _csv_headings(column, parts)
    ]
    writer.writerow([*header, "missing"] if noted else header)
    for row in table.rows:
        cells = [
            text
            for value, parts in zip(row, further, strict=True)
            for text in _csv_texts(value, len(parts))
        ]
        writer.writerow([*cells, _why(table, row)] if noted else cells)
    return out.getvalue()


def _further(values: tuple[Value, ...]) -> tuple[str, ...]:
    """Name the numbers that the values of a column hold beside the first."""
    if any(isinstance(value, Interval) and value.low is not None for value in values):
        return ("low", "high")
    if any(isinstance(value, Spread) for value in values):
        return ("deviation",)
    return ()


def _csv_headings(column: Column, parts: tuple[str, ...]) -> Iterator[str]:
    yield column.raw_heading
    yield from (f"{column.raw_heading}_{part}" for part in parts)


def _csv_texts(value: Value, further: int) -> Iterator[str]:
    others: tuple[float | None, ...] = (None,) * further
    match value:
        case Interval():
            yield _number(value.median)
            others = (value.low, value.high)
        case Spread():
            yield _number(value.mean)
            others = (value.deviation,)
        case Number():
            yield _number(value.value)
        case int() | float():
            yield _number(value)
        case str():
            yield guard_formula(value)
        case _:
            yield ""
    yield from (_number(other) for other in others[:further])


def _number(value: float | None) -> str:
    # Fifteen digits are all that a double holds for sure; more would show the binary rounding.
    return "" if value is None else format(value, ".15g" if isinstance(value, float) else "d")


def _why(table: Table, row: tuple[Value, ...]) -> str:
    reasons = (
        f"{column.raw_heading}: {value.note}"
        for column, value in zip(table.columns, row, strict=True)
        if isinstance(value, Mark)
    )
    return guard_formula("; ".join(reasons))


def guard_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    shown = plain(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
