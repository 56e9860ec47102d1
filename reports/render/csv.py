"""Tables as comma-separated values: raw numbers, base units in the headings, empty where there is none."""

import csv
import io
from collections.abc import Iterable, Sequence

from reports.model import Incomplete, Interval, Mark, Spread, Table, Value, number_of, plain


def to_csv(table: Table) -> str:
    """Write one table; a column of intervals gets columns for both ends, one of spreads for the deviation."""
    endings = [_endings([row[at] for row in table.rows]) for at in range(len(table.columns))]
    noted = any(isinstance(value, Mark | Incomplete) for row in table.rows for value in row)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = list(zip(table.columns, endings, strict=True))
    header = [f"{column.raw_heading}{end}" for column, ends in columns for end in ends]
    writer.writerow([*header, "missing"] if noted else header)
    for row in table.rows:
        cells = [
            text
            for value, ends in zip(row, endings, strict=True)
            for text in [*_csv_texts(value), "", ""][: len(ends)]
        ]
        why = "; ".join(
            f"{column.raw_heading}: {_why(value)}"
            for column, value in zip(table.columns, row, strict=True)
            if isinstance(value, Mark | Incomplete)
        )
        writer.writerow([*cells, guard_formula(why)] if noted else cells)
    return out.getvalue()


def tables_as_data(tables: Iterable[Table]) -> list[dict[str, object]]:
    """Tables as plain data: base units, numbers as text."""
    data: list[dict[str, object]] = []
    for table in tables:
        columns, *rows = csv.reader(io.StringIO(to_csv(table), newline=""))
        notes = tuple(map(str, table.notes))
        data.append(
            {
                "name": table.name,
                "title": table.title,
                "notes": notes,
                "columns": columns,
                "rows": rows,
            }
        )
    return data


def _why(value: Mark | Incomplete) -> str:
    return value.note if isinstance(value, Mark) else f"{value.meaning}, {value.note}"


def _endings(values: Sequence[Value]) -> tuple[str, ...]:
    """What the headings of a column end in: a number for each that its values hold."""
    if any(isinstance(value, Interval) and value.low is not None for value in values):
        return ("", "_low", "_high")
    has_spread = any(isinstance(value, Spread) for value in values)
    return ("", "_deviation") if has_spread else ("",)


def _csv_texts(value: Value) -> list[str]:
    match value:
        case str():
            return [guard_formula(value)]
        case Interval():
            numbers: tuple[float | None, ...] = (value.median, value.low, value.high)
        case Spread():
            numbers = (value.mean, value.deviation)
        case _:
            numbers = (number_of(value),)
    # Fifteen digits are all that a double holds for sure; more would show the binary rounding.
    return [
        "" if number is None else format(number, ".15g" if isinstance(number, float) else "d")
        for number in numbers
    ]


def guard_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    shown = plain(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
