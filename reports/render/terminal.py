"""Tables for the terminal, by rich; nothing that a record says is taken for markup."""

from collections.abc import Sequence
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from reports.model import Column, LaidCell, Table, lay_out, plain

WRAPPED = 24


class Drawing:
    """A table that rich draws; what is too wide for the terminal goes on below, beside its first columns again."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.layout = lay_out(table)
        cells = [[row[at] for row in self.layout.rows] for at in range(len(table.columns))]
        self.least = [
            _least_width(column, texts) for column, texts in zip(table.columns, cells, strict=True)
        ]
        self.wanted = [
            _wanted_width(column, texts) for column, texts in zip(table.columns, cells, strict=True)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(plain(self.table.title), style="bold")
        for number, (part, gap) in enumerate(
            _column_groups(self.table.columns, self.least, options.max_width)
        ):
            if number:
                yield Text()
            yield self._grid(part, gap, options.max_width)
        if self.table.caption:
            yield _below(Text(plain(self.table.caption), style="italic"))
        for label, note in self.layout.notes:
            text = f"[{label}] {plain(note)}" if label else plain(note)
            yield _below(Text(text, style="dim"))

    def _grid(self, part: Sequence[int], gap: int, width: int) -> RichTable:
        drawn = RichTable(
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, gap - 1, 0, 0)
        )
        spare = width - sum(self.least[at] for at in part) - gap * (len(part) - 1)
        for at in part:
            more = max(0, min(spare, self.wanted[at] - self.least[at]))
            spare -= more
            column = self.table.columns[at]
            wide = self.least[at] + more
            drawn.add_column(
                _heading_text(column), justify=column.align, width=wide, overflow="fold"
            )
        for index, row in enumerate(self.layout.rows):
            drawn.add_row(
                *(_cell_text(row[at]) for at in part), end_section=index + 1 in self.layout.starts
            )
        return drawn


def _column_groups(
    columns: Sequence[Column], least: Sequence[int], width: int
) -> list[tuple[list[int], int]]:
    """Share the columns out so that each part fits; the first, which name the rows, are in every part.

    Gaps of one are tried before a table is parted.
    """
    everything = list(range(len(columns)))
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


def _least_width(column: Column, cells: Sequence[LaidCell]) -> int:
    """Width below which words or numbers would break; an interval may stand on two lines."""
    words = [
        word for line in (column.name, column.source, column.unit) for word in plain(line).split()
    ]
    if column.wide:
        return max(WRAPPED, *map(len, words))
    texts = [_cell_text(cell).plain for cell in cells]
    pieces = [piece for text in texts for piece in (text.split(" [") if ", " in text else [text])]
    return max(map(len, (*words, *pieces)), default=1) + any(", " in text for text in texts)


def _wanted_width(column: Column, cells: Sequence[LaidCell]) -> int:
    """Width at which no value needs a second line."""
    heading = [part for line in _heading_text(column).plain.split("\n") for part in wrap(line, 12)]
    texts = [_cell_text(cell).plain for cell in cells]
    return max(_least_width(column, cells), *map(len, (*heading, *texts)))


def _below(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def _heading_text(column: Column) -> Text:
    lines = [column.name, column.source, column.unit]
    return Text("\n".join(plain(line) for line in lines if line), style="bold")


def _cell_text(cell: LaidCell) -> Text:
    text = Text(plain(cell.text), style="bold" if cell.best else "")
    return text.append(f" [{cell.label}]", style="dim") if cell.label else text
