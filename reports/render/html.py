"""One page with every answer, table and figure: no network, light and dark, readable on a phone and on paper.

A small script sorts tables; the page lacks nothing but that without it. The policy in its head names that script alone,
so that nothing that a record says could run or load anything, were it ever not escaped.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.records import Record
from reports import model
from reports.model import (
    Column,
    Figure,
    Incomplete,
    Interval,
    LaidCell,
    Layout,
    Section,
    Spread,
    Table,
    Value,
)

TEMPLATES = Path(__file__).parent
RAW = "records.html"
# Longer ones scroll in a box of their own below their heading.
LONG = 20
SHOWN_LINKS = 4

Link = tuple[str, str, str]  # address, label, title


class HtmlCell(NamedTuple):
    """One cell: its text, the number to sort by, and what is shown when a pointer rests on it."""

    laid: LaidCell
    number: str = ""
    hover: str = ""


class Grid(NamedTuple):
    """A table as the template needs it; `links` lead to each row's records."""

    table: Table
    layout: Layout
    rows: tuple[tuple[HtmlCell, ...], ...]
    links: tuple[tuple[Link, ...], ...]

    @property
    def is_long(self) -> bool:
        """Whether it scrolls below its heading."""
        return len(self.rows) > LONG

    @property
    def best(self) -> str:
        """What the mark of the best says here, or nothing where no cell has it."""
        if not any(cell.best for row in self.layout.rows for cell in row):
            return ""
        among = " among the rows between two lines" if self.layout.starts else ""
        return f"marks the best of its column{among}, and what its interval does not tell from it."


def report_page(
    tables: Sequence[Table],
    figures: Sequence[Figure] = (),
    *,
    title: str = "Efficiency and ablations",
    overview: Sequence[Section] = (),
    sources: Sequence[Table] = (),
    addresses: Mapping[int, str] | None = None,
) -> str:
    """Write the page: overview, tables, figures each with its numbers, sources; the template engine escapes all of it.

    Rows link to their records where `addresses` has the places of these in the page of raw records, by their `id`.
    """
    import jinja2
    from markupsafe import Markup

    # It escapes everything, and an unknown name is an error.
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["plain"] = model.plain
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return templates.get_template("page.html.j2").render(
        title=title,
        overview=overview,
        tables=[_grid(table, addresses) for table in tables],
        # The drawings are matplotlib's, which escapes what it writes.
        figures=[(each, Markup(each.svg), _grid(each.data, addresses)) for each in figures],  # noqa: S704
        sources=[_grid(table, None) for table in sources],
        # Ours, from a file; the policy allows what has this digest.
        script=Markup(script),  # noqa: S704
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _grid(table: Table, addresses: Mapping[int, str] | None) -> Grid:
    layout = model.lay_out(table)
    rows = tuple(
        tuple(map(_html_cell, laid, values, table.columns))
        for laid, values in zip(layout.rows, table.rows, strict=True)
    )
    linked = table.origins if addresses and any(table.origins) else ()
    return Grid(table, layout, rows, tuple(tuple(_links(row, addresses or {})) for row in linked))


def _html_cell(laid: LaidCell, value: Value, column: Column) -> HtmlCell:
    number = model.number_of(value)
    if number is None:
        return HtmlCell(laid)
    text = f"{number:.15g}"
    if isinstance(value, Interval) and value.low is not None and value.high is not None:
        text += f" [{value.low:.15g}, {value.high:.15g}]"
    if isinstance(value, Spread) and value.deviation is not None:
        text += f" \N{PLUS-MINUS SIGN} {value.deviation:.15g}"
    text = f"{text} {column.base}".rstrip()
    if isinstance(value, Incomplete):
        text += f" {value.meaning}; {value.note}"
    return HtmlCell(laid, repr(number), text)


def _links(origins: Sequence[Record], addresses: Mapping[int, str]) -> Iterator[Link]:
    for record in origins[:SHOWN_LINKS]:
        address = f"{RAW}#{addresses[id(record)]}"
        label = model.plain(f"{record.source[:1]}:{record.cell}")[:10]
        yield address, label, f"{record.source} record {record.cell}"
    if len(origins) > SHOWN_LINKS:
        address = f"{RAW}#{addresses[id(origins[SHOWN_LINKS])]}"
        yield address, f"and {len(origins) - SHOWN_LINKS} more", "further records of this row"
