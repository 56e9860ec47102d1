"""One page with every figure, answer and table: no network, light and dark, readable on a phone and on paper.

It begins with the figures that answer the questions, then has the answers, the other figures, and the tables. A small
script sorts and filters tables, saves them and shows numbers whole; the page lacks nothing but that without it. The
policy in its head names that script alone, so that nothing that a record says could run or load anything, were it ever
not escaped.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bench.records import Record
from reports import model
from reports.model import (
    Figure,
    Interval,
    LaidCell,
    Layout,
    Section,
    Spread,
    Table,
    Value,
)
from reports.render.drawings import Drawings

TEMPLATES = Path(__file__).parent
RAW = "records.html"
# Longer ones scroll in a box of their own below their heading.
LONG = 20
SHOWN_LINKS = 4
# A note below so many tables stands once, ahead of them.
SHARED = 3
# Figures that a page begins with where none is of the kind that leads.
LEADING = 4

Link = tuple[str, str]  # address, label


class HtmlCell(NamedTuple):
    """One cell: its text, and its whole number with its ends, by which rows are sorted."""

    laid: LaidCell
    number: str = ""


class Grid(NamedTuple):
    """A table as the template needs it; `links` lead to each row's records, `shared` are notes that stand elsewhere."""

    table: Table
    layout: Layout
    rows: tuple[tuple[HtmlCell, ...], ...]
    links: tuple[tuple[Link, ...], ...]
    shared: tuple[int, ...] = ()

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


class Drawn(NamedTuple):
    """A figure as the template needs it; its numbers are a table of its own, or one that the page has anyway."""

    figure: Figure
    svg: str
    data: Grid | None


def report_page(
    tables: Sequence[Table],
    figures: Sequence[Figure] = (),
    *,
    title: str = "Efficiency and ablations",
    overview: Sequence[Section] = (),
    sources: Sequence[Table] = (),
    summary: Sequence[str] = (),
    addresses: Mapping[int, str] | None = None,
) -> str:
    """Write the page: a summary, figures, answers, tables, sources; the template engine escapes all of it.

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
    shared = _shared_notes(tables)
    names = {table.name for table in tables}
    drawings = Drawings()
    drawn = [
        Drawn(
            figure,
            # The drawings are matplotlib's, which escapes what it writes.
            Markup(drawings.shorten(figure.svg)),  # noqa: S704
            None if figure.data.name in names else _grid(figure.data, addresses),
        )
        for figure in _in_order(figures)
    ]
    leading = sum(figure.lead > 0 for figure in figures) or LEADING
    return templates.get_template("page.html.j2").render(
        title=title,
        summary=summary,
        overview=overview,
        tables=[_grid(table, addresses, shared) for table in tables],
        shared=shared,
        leading=drawn[:leading],
        figures=drawn[leading:],
        sources=[_grid(table, None) for table in sources],
        drawing_styles=Markup(drawings.styles),  # noqa: S704
        # Ours, from a file; the policy allows what has this digest.
        script=Markup(script),  # noqa: S704
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _in_order(figures: Sequence[Figure]) -> list[Figure]:
    """Those that lead by their place, then the others as they come."""
    return sorted(figures, key=lambda figure: figure.lead or max(f.lead for f in figures) + 1)


def _shared_notes(tables: Sequence[Table]) -> tuple[str, ...]:
    """Notes that several tables have, in the order of the page."""
    counts = Counter(note for table in tables for note in dict.fromkeys(table.notes))
    return tuple(note for note, count in counts.items() if count >= SHARED)


def _grid(table: Table, addresses: Mapping[int, str] | None, shared: Collection[str] = ()) -> Grid:
    layout = model.lay_out(table)
    rows = tuple(
        tuple(map(_html_cell, laid, values))
        for laid, values in zip(layout.rows, table.rows, strict=True)
    )
    linked = table.origins if addresses and any(table.origins) else ()
    links = tuple(tuple(_links(row, addresses or {})) for row in linked)
    places = tuple(at for at, note in enumerate(shared, start=1) if ("", note) in layout.notes)
    notes = tuple(note for note in layout.notes if note[0] or note[1] not in shared)
    return Grid(table, replace(layout, notes=notes), rows, links, places)


def _html_cell(laid: LaidCell, value: Value) -> HtmlCell:
    number = model.number_of(value)
    if number is None:
        return HtmlCell(laid)
    text = f"{number:.15g}"
    if isinstance(value, Interval) and value.low is not None and value.high is not None:
        text += f" [{value.low:.15g}, {value.high:.15g}]"
    if isinstance(value, Spread) and value.deviation is not None:
        text += f" \N{PLUS-MINUS SIGN} {value.deviation:.15g}"
    return HtmlCell(laid, text)


def _links(origins: Sequence[Record], addresses: Mapping[int, str]) -> Iterator[Link]:
    sources = Counter(record.source for record in origins)
    seen: Counter[str] = Counter()
    for record in origins[:SHOWN_LINKS]:
        seen[record.source] += 1
        number = f" {seen[record.source]}" if sources[record.source] > 1 else ""
        yield f"{RAW}#{addresses[id(record)]}", f"{record.source}{number}"
    if len(origins) > SHOWN_LINKS:
        address = f"{RAW}#{addresses[id(origins[SHOWN_LINKS])]}"
        yield address, f"and {len(origins) - SHOWN_LINKS} more"
