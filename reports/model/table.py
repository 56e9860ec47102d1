"""What a table is: columns, rows, notes.

Values stay raw and in base units. A column says by what to divide them (`scale`) and to how many digits to round, so
that CSV writes what was measured and the other formats write what a person reads.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.records import Record

Source = Literal["", "published", "predicted", "measured"]

DASH = "-"
MEBI, GIBI = 2**20, 2**30
MEGA, GIGA = 10**6, 10**9
MILLI = 1e-3


@dataclass(frozen=True, slots=True)
class Interval:
    """A median and its interval in base units; `low` and `high` are None where the samples were too few."""

    median: float
    low: float | None = None
    high: float | None = None
    inconclusive: bool = False
    note: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Where the interval begins and ends; the median twice where there is none."""
        if self.low is None or self.high is None:
            return self.median, self.median
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean and the standard deviation about it in base units; a single value has no deviation."""

    mean: float
    deviation: float | None = None


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


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A number that lacks what its note says: so much at the least; a quotient of such may be off to either side."""

    value: float
    note: str
    is_least: bool = True

    def shown(self, text: str) -> str:
        """Mark the number that a text writes."""
        return f">= {text}" if self.is_least else f"{text}?"

    @property
    def meaning(self) -> str:
        """In a word, what the number is."""
        return "at the least" if self.is_least else "uncertain"


Value = str | int | float | Interval | Spread | Number | Incomplete | Mark | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    unit: str = ""  # as printed
    digits: int = 0  # after the point
    scale: float = 1.0  # base units in one printed unit; a value is divided by it
    base: str = ""  # the base unit, for CSV
    source: Source = ""  # printed with the name
    align: Literal["left", "right"] = "right"
    best: Literal["min", "max"] | None = None  # which value of each group of rows is marked
    wide: bool = False  # of text that may wrap

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


@dataclass(frozen=True, slots=True)
class Table:
    """A table as data."""

    name: str  # of its file, without the ending
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    caption: str = ""  # on what machine and by what protocol
    notes: tuple[str, ...] = ()  # what a reader needs to compare the numbers
    group_by: tuple[int, ...] = ()  # indexes of the columns whose change begins a new group of rows
    # The records behind each row, where they are known.
    origins: tuple[tuple["Record", ...], ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                msg = (
                    f"table {self.name!r}: {len(row)} values for {len(self.columns)} columns: {row}"
                )
                raise ValueError(msg)


def number_of(value: Value) -> float | None:
    """Give the number that a value stands for, in base units."""
    match value:
        case Number() | Incomplete():
            return value.value
        case Interval():
            return value.median
        case Spread():
            return value.mean
        case int() | float():
            return value
    return None
