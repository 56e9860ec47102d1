"""How the values of a table become text; the renderers differ only in what they put around it."""

import itertools
import string
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.model.table import (
    DASH,
    Column,
    Incomplete,
    Interval,
    Mark,
    Number,
    Spread,
    Table,
    Value,
    number_of,
)

# Between what several things say of one value.
NOTE_GAP = "; "
# So many numbers, and of most such a share, are needed for a note on all of them.
LEAST_COMMON, MOST = 3, 0.6
# What may be said of most numbers, and how the others are marked.
HOST_BOUND = "host-bound: the GPU waited for the host"
EXCEPTIONS = {HOST_BOUND: "not host-bound"}


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
    """Turn the values of a table into text, number its notes and find the best of each group.

    What the notes of all numbers of a column have in common stands once below the table.
    """
    labels: dict[str, str] = {}
    common = [_common_notes([row[at] for row in table.rows]) for at in range(len(table.columns))]

    def group(index: int) -> list[Value]:
        return [table.rows[index][at] for at in table.group_by]

    groups = [list(indexes) for _, indexes in itertools.groupby(range(len(table.rows)), group)]
    best = {
        (row, at)
        for at, column in enumerate(table.columns)
        if column.best
        for indexes in groups
        for row in _leading({row: table.rows[row][at] for row in indexes}, column.best)
    }
    rows = tuple(
        tuple(
            LaidCell(
                text_of(value, column),
                _note_label(_own_note(value, common[at]), labels),
                (index, at) in best,
            )
            for at, (value, column) in enumerate(zip(row, table.columns, strict=True))
        )
        for index, row in enumerate(table.rows)
    )
    labelled = ((label, note) for note, label in labels.items())
    shared = _shared_texts(table.columns, common)
    notes = (*(("", note) for note in (*table.notes, *shared)), *labelled)
    return Layout(rows, notes, frozenset(indexes[0] for indexes in groups[1:]))


def _common_notes(column: Sequence[Value]) -> dict[str, str]:
    """What the notes of all numbers of a column say, or of most and the others are marked; and of which."""
    numbers = [value for value in column if number_of(value) is not None]
    counts = Counter(note for value in numbers for note in dict.fromkeys(_said(value)))
    common = {}
    for note, count in counts.items():
        if count == len(numbers) >= LEAST_COMMON:
            common[note] = "all numbers"
        elif note in EXCEPTIONS and count >= MOST * len(numbers) and count >= LEAST_COMMON:
            common[note] = "all numbers without a mark that says otherwise"
    return common


def _shared_texts(columns: Sequence[Column], common: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Write each common note once, with the columns that have it."""
    names = Counter(column.name for column in columns)
    places: dict[tuple[str, str], list[str]] = {}
    for column, notes in zip(columns, common, strict=True):
        name = column.name if names[column.name] == 1 else f"{column.name} ({column.source})"
        for note, words in notes.items():
            places.setdefault((note, words), []).append(name)
    for (note, words), named in places.items():
        yield f"{'; '.join(named)}, {words}: {note}"


def _said(value: Value) -> list[str]:
    """What the note of a value says, one by one."""
    note = value.note if isinstance(value, Mark | Interval | Incomplete) else ""
    return note.split(NOTE_GAP) if note else []


def _own_note(value: Value, common: Mapping[str, str]) -> str:
    """The note of a value without what stands below the table, and with what it is an exception to."""
    said = _said(value)
    if number_of(value) is None:
        return NOTE_GAP.join(said)
    exceptions = [EXCEPTIONS[each] for each in common if each not in said]
    return NOTE_GAP.join((*(each for each in said if each not in common), *exceptions))


def _note_label(note: str, labels: dict[str, str]) -> str:
    """Give the label of a note, a new one if no value had it yet: a to z, then aa, ab and so on."""
    first, last = divmod(len(labels), 26)
    new = (string.ascii_lowercase[first - 1] if first else "") + string.ascii_lowercase[last]
    return labels.setdefault(note, new) if note else ""


def text_of(value: Value, column: Column) -> str:
    """Write one value as its column says."""
    match value:
        case str() | None:
            return value or DASH
        case Mark():
            return value.text
        case Number():
            return decimal(value.value, value.digits)
        case Interval():
            return _interval_text(value, column)
        case Spread():
            parts = (part for part in (value.mean, value.deviation) if part is not None)
            texts = (decimal(part / column.scale, column.digits) for part in parts)
            return " \N{PLUS-MINUS SIGN} ".join(texts)
    number = value.value if isinstance(value, Incomplete) else value
    text = decimal(number / column.scale, column.digits)
    return value.shown(text) if isinstance(value, Incomplete) else text


def decimal(value: float, digits: int) -> str:
    """Round to `digits` after the point, but never a number that isn't zero to zero."""
    text = f"{value:.{digits}f}"
    return f"{value:.2g}" if value and float(text) == 0 else text


def _interval_text(value: Interval, column: Column) -> str:
    shown = value.median / column.scale
    # Four digits say all that a reading of a time can; more would only make the column wide.
    digits = max(0, min(column.digits, 3 - len(str(int(abs(shown)))) + 1))
    text = decimal(shown, digits)
    if value.low is not None:
        low, high = (decimal(end / column.scale, digits) for end in value.ends)
        text = f"{text} [{low}, {high}]"
    return f"{text}?" if value.inconclusive else text


def _leading(values: Mapping[int, Value], best: str) -> list[int]:
    """Rows of the best value, and of those whose interval overlaps its interval; none where all are alike.

    A number that lacks something is never the best, and leaves none above it that is known to be.
    """
    sign = 1 if best == "min" else -1
    lacking = [value.value for value in values.values() if isinstance(value, Incomplete)]
    whole = {row: value for row, value in values.items() if not isinstance(value, Incomplete)}
    bare = {row: number_of(value) for row, value in whole.items()}
    numbers = {row: sign * number for row, number in bare.items() if number is not None}
    if not numbers or len({*numbers.values(), *lacking}) < 2:
        return []
    if any(sign * value < min(numbers.values()) for value in lacking):
        return []

    def ends(row: int) -> list[float]:
        value = values[row]
        return [sign * end for end in value.ends] if isinstance(value, Interval) else [numbers[row]]

    reach = max(ends(min(numbers, key=lambda row: numbers[row])))
    leading = [row for row in numbers if min(ends(row)) <= reach]
    return leading if len(leading) < len(values) else []


def plain(text: str) -> str:
    """Put text on one line and drop control characters, so that no record can steer a terminal or break a row."""
    joined = " ".join(str(text).split())
    # Nearly always so, and much quicker than a look at each letter.
    if joined.isprintable():
        return joined
    return "".join(c for c in joined if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


def slug(*parts: str) -> str:
    """Make a file name of letters, digits and hyphens, whatever a record says."""
    joined = " ".join(parts).lower()
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in joined).split())
