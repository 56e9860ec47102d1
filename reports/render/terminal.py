"""Tables for the terminal, by rich; nothing that a record says is taken for markup."""

from collections.abc import Sequence
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from reports.model import Column, LaidCell, Table, lay_out, plain

# Of text that may wrap: letters of a line, and those where there is little room.
WRAPPED, LEAST_WRAPPED = 24, 12


class TerminalTable:
    """A table that rich prints; what is too wide for the terminal goes on below, beside its first columns again."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.layout = lay_out(table)
        cells = [[row[at] for row in self.layout.rows] for at in range(len(table.columns))]
        widths = list(map(_widths, table.columns, cells))
        self.least = [least for least, _ in widths]
        self.wanted = [wanted for _, wanted in widths]
        self.words = list(map(_longest_word, table.columns, cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(plain(self.table.title), style="bold")
        groups = _column_groups(self.table.columns, self.least, options.max_width)
        for number, (part, gap) in enumerate(groups):
            if number:
                yield Text()
            yield self._grid(part, gap, options.max_width)
        if self.table.caption:
            yield Padding(Text(plain(self.table.caption), style="italic"), (0, 0, 0, 2))
        for label, note in self.layout.notes:
            text = f"[{label}] {plain(note)}" if label else plain(note)
            yield Padding(Text(text, style="dim"), (0, 0, 0, 2))

    def _grid(self, part: Sequence[int], gap: int, width: int) -> RichTable:
        drawn = RichTable(
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, gap - 1, 0, 0)
        )
        room = width - gap * (len(part) - 1)
        least = _narrowed(
            [self.least[at] for at in part], [self.words[at] for at in part], room=room
        )
        spare = room - sum(least)
        for at, narrow in zip(part, least, strict=True):
            more = max(0, min(spare, self.wanted[at] - narrow))
            spare -= more
            column, wide = self.table.columns[at], narrow + more
            lines = (plain(line) for line in (column.name, column.source, column.unit) if line)
            heading = Text("\n".join(lines), style="bold")
            drawn.add_column(heading, justify=column.align, width=wide, overflow="fold")
        for index, row in enumerate(self.layout.rows):
            drawn.add_row(
                *(_cell_text(row[at]) for at in part), end_section=index + 1 in self.layout.starts
            )
        return drawn


def _column_groups(
    columns: Sequence[Column], least: Sequence[int], width: int
) -> list[tuple[list[int], int]]:
    """Share the columns out so that each part fits; the first, which name the rows, are in every part."""
    everything = list(range(len(columns)))
    # Gaps of one before a table is parted.
    for gap in (2, 1):
        if sum(least) + gap * (len(columns) - 1) <= width:
            return [(everything, gap)]
    named = (at for at, column in enumerate(columns) if column.align != "left" or column.wide)
    keys = everything[: next(named, len(columns))]
    parts = [list(keys)]
    for at in everything[len(keys) :]:
        if sum(least[i] + 2 for i in (*parts[-1], at)) - 2 > width and parts[-1] != keys:
            parts.append(list(keys))
        parts[-1].append(at)
    return [(part, 2) for part in parts]


def _narrowed(least: Sequence[int], words: Sequence[int], *, room: int) -> list[int]:
    """Make columns narrower until they fit: first the widest that break between words, then the widest inside of one.

    So that a short word, such as a verdict, stays whole beside a long text.
    """
    widths = list(least)
    for floors in (words, [1] * len(widths)):
        while sum(widths) > room:
            loose = [at for at, width in enumerate(widths) if width > floors[at]]
            if not loose:
                break
            widths[max(loose, key=widths.__getitem__)] -= 1
    return widths


def _longest_word(column: Column, cells: Sequence[LaidCell]) -> int:
    """Of a column and its heading; of text that may wrap anywhere, of the heading alone."""
    texts = [plain(line) for line in (column.name, column.source, column.unit)]
    texts += () if column.wide else (_cell_text(cell).plain for cell in cells)
    least = LEAST_WRAPPED if column.wide else 1
    return max(least, *(len(word) for text in texts for word in text.split()))


def _widths(column: Column, cells: Sequence[LaidCell]) -> tuple[int, int]:
    """Where words and numbers just do not break (an interval may take two lines), and where no value takes two."""
    texts = [_cell_text(cell).plain for cell in cells]
    lines = [plain(line) for line in (column.name, column.source, column.unit) if line]
    words = [word for line in lines for word in line.split()]
    if column.wide:
        least = max(WRAPPED, *map(len, words))
    else:
        pieces = [p for text in texts for p in (text.split(" [") if ", " in text else [text])]
        has_interval = any(", " in text for text in texts)
        least = max(map(len, (*words, *pieces)), default=1) + has_interval
    heading = [part for line in lines for part in wrap(line, 12)]
    return least, max(least, *map(len, (*heading, *texts)))


def _cell_text(cell: LaidCell) -> Text:
    text = Text(plain(cell.text), style="bold" if cell.best else "")
    return text.append(f" [{cell.label}]", style="dim") if cell.label else text
