"""What a table is, and how its values become text; the renderers differ only in what they put around the text.

Values stay raw and in base units. A column says by what to divide them (`scale`) and to how many digits to round, so
that CSV writes what was measured and the other formats write what a person reads.
"""

import itertools
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.records import Record

Source = Literal["", "published", "predicted", "measured"]

DASH = "-"
MEBI, GIBI = 2**20, 2**30
MEGA, GIGA = 10**6, 10**9
MILLI = 1e-3
PERCENT = 0.01


@dataclass(frozen=True, slots=True)
class Interval:
    """A median and its interval in base units; `low` and `high` are None where the samples were too few."""

    median: float
    low: float | None = None
    high: float | None = None
    inconclusive: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean and the standard deviation about it in base units; a single value has no deviation."""

    mean: float
    deviation: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A number with digits of its own, for columns whose rows are of different kinds."""

    value: float
    digits: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Text in the place of a number, with the note that explains it: a missing number, a failed cell."""

    note: str
    text: str = DASH


Value = str | int | float | Interval | Spread | Number | Mark | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: what the values are.
        unit: the unit that is printed.
        digits: digits after the point.
        scale: base units in one printed unit; a value is divided by it.
        base: the base unit, for CSV.
        source: `published`, `predicted` or `measured`, printed with the name.
        align: side of the column.
        best: mark the smallest or the largest value of each group of rows.
        wide: of text that may wrap.
    """

    name: str
    unit: str = ""
    digits: int = 0
    scale: float = 1.0
    base: str = ""
    source: Source = ""
    align: Literal["left", "right"] = "right"
    best: Literal["min", "max"] | None = None
    wide: bool = False

    @property
    def heading(self) -> str:
        """Name, source and unit on one line."""
        named = f"{self.name}, {self.source}" if self.source else self.name
        return f"{named} ({self.unit})" if self.unit else named

    @property
    def raw_heading(self) -> str:
        """Name, source and base unit as one word, for CSV."""
        words = " ".join(filter(None, (self.name, self.source, self.base)))
        return "_".join("".join(c if c.isalnum() else " " for c in words).split()).lower()


def text_column(name: str, *, wide: bool = False) -> Column:
    """Make a column of text; a wide one may wrap."""
    return Column(name, align="left", wide=wide)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as data.

    Attributes:
        name: file name without its ending.
        title: one line.
        columns: what the values of a row are, in order.
        rows: values in base units.
        caption: on what machine and by what protocol.
        notes: what a reader needs to compare the numbers.
        group_by: indexes of the columns whose change begins a new group of rows.
        origins: the records behind each row, where they are known.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    caption: str = ""
    notes: tuple[str, ...] = field(default=())
    group_by: tuple[int, ...] = ()
    origins: tuple[tuple["Record", ...], ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                msg = (
                    f"table {self.name!r}: {len(row)} values for {len(self.columns)} columns: {row}"
                )
                raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Section:
    """A question and the sentences that answer it."""

    heading: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LaidCell:
    """Text of one value, the label of its note, whether it is the best of its group."""

    text: str
    label: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Text of a whole table; `starts` are the indexes of the rows that begin a group."""

    rows: tuple[tuple[LaidCell, ...], ...]
    notes: tuple[tuple[str, str], ...]
    starts: frozenset[int]


def lay_out(table: Table) -> Layout:
    """Turn the values of a table into text, number its notes and find the best of each group."""
    labels: dict[str, str] = {}
    groups = _groups(table)
    best = _best(table, groups)
    rows = tuple(
        tuple(
            _cell(value, column, labels=labels, best=(index, position) in best)
            for position, (value, column) in enumerate(zip(row, table.columns, strict=True))
        )
        for index, row in enumerate(table.rows)
    )
    notes = (
        *(("", note) for note in table.notes),
        *((label, note) for note, label in labels.items()),
    )
    return Layout(rows, notes, frozenset(group[0] for group in groups[1:]))


def _cell(value: Value, column: Column, *, labels: dict[str, str], best: bool) -> LaidCell:
    note = value.note if isinstance(value, Mark | Interval | Spread) else ""
    label = labels.setdefault(note, _label(len(labels))) if note else ""
    return LaidCell(text_of(value, column), label, best)


def _label(index: int) -> str:
    letters = itertools.chain.from_iterable(
        map("".join, itertools.product(string.ascii_lowercase, repeat=length)) for length in (1, 2)
    )
    return next(itertools.islice(letters, index, None))


def text_of(value: Value, column: Column) -> str:
    """Write one value as its column says."""
    match value:
        case None | "":
            return DASH
        case str():
            return value
        case Mark():
            return value.text
        case Number():
            return decimal(value.value, value.digits)
        case Interval() | Spread():
            return (
                _interval(value, column) if isinstance(value, Interval) else _spread(value, column)
            )
        case _:
            return decimal(value / column.scale, column.digits)


def decimal(value: float, digits: int) -> str:
    """Round to `digits` after the point, but never a number that isn't zero to zero."""
    text = f"{value:.{digits}f}"
    return f"{value:.2g}" if value and float(text) == 0 else text


def _interval(value: Interval, column: Column) -> str:
    shown = value.median / column.scale
    # Four digits say all that a reading of a time can; more would only make the column wide.
    digits = max(0, min(column.digits, 3 - len(str(int(abs(shown)))) + 1))
    text = decimal(shown, digits)
    if value.low is not None and value.high is not None:
        low, high = (decimal(end / column.scale, digits) for end in (value.low, value.high))
        text = f"{text} [{low}, {high}]"
    return f"{text}?" if value.inconclusive else text


def _spread(value: Spread, column: Column) -> str:
    parts = (value.mean, value.deviation)
    said = (decimal(part / column.scale, column.digits) for part in parts if part is not None)
    return " \N{PLUS-MINUS SIGN} ".join(said)


def number_of(value: Value) -> float | None:
    """Give the number that a value stands for, in base units."""
    match value:
        case Number():
            return value.value
        case Interval():
            return value.median
        case Spread():
            return value.mean
        case int() | float():
            return value
        case _:
            return None


def _groups(table: Table) -> list[list[int]]:
    def key(index: int) -> list[Value]:
        return [table.rows[index][at] for at in table.group_by]

    return [list(indexes) for _, indexes in itertools.groupby(range(len(table.rows)), key)]


def _best(table: Table, groups: list[list[int]]) -> frozenset[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for position, column in enumerate(table.columns):
        for group in groups if column.best else ():
            values = {row: table.rows[row][position] for row in group}
            found.update((row, position) for row in _leading(values, smallest=column.best == "min"))
    return frozenset(found)


def _leading(values: Mapping[int, Value], *, smallest: bool) -> list[int]:
    """Rows of the best value, and of those whose interval overlaps its interval; none where all are alike."""
    sign = 1 if smallest else -1
    numbers = {
        row: sign * number
        for row, value in values.items()
        if (number := number_of(value)) is not None
    }
    if len(set(numbers.values())) < 2:
        return []
    best = min(numbers, key=lambda row: numbers[row])
    reach = max(sign * end for end in _ends(values[best]))
    leading = [row for row in numbers if min(sign * end for end in _ends(values[row])) <= reach]
    return leading if len(leading) < len(numbers) else []


def _ends(value: Value) -> tuple[float, ...]:
    if isinstance(value, Interval) and value.low is not None and value.high is not None:
        return value.low, value.high
    number = number_of(value)
    return () if number is None else (number,)
