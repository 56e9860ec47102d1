"""The raw records behind the tables, each as its line of JSON, on a page that the report links to."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bench.records import Record
from reports.model import Table, plain, slug

HEAD = Path(__file__).with_name("records_head.html")


def record_anchors(tables: Sequence[Table]) -> tuple[tuple[Record, ...], dict[int, str]]:
    """The records that rows of tables follow from, in the order of the page, and the name of each by its `id`."""
    records = {id(record): record for table in tables for row in table.origins for record in row}
    counted: dict[str, int] = {}
    names = {}
    for key, record in records.items():
        name = slug(record.source, record.cell)
        counted[name] = counted.get(name, 0) + 1
        # Hyphens between numbers could make a name that another record has; two of them can't.
        names[key] = name if counted[name] == 1 else f"{name}--{counted[name]}"
    return tuple(records.values()), names


def raw_page(records: Sequence[Record], names: Mapping[int, str]) -> str:
    """Write all records on one page."""
    sections = (_section(record, names[id(record)]) for record in records)
    return "".join((HEAD.read_text("utf-8"), *sections, "</main>\n</body>\n</html>\n"))


def _section(record: Record, name: str) -> str:
    title = f"{record.source} {record.cell}: {record.experiment}, {record.subject}, {record.size}"
    # JSON writes control characters as escapes; what steers the direction of text is left out.
    line = escape(plain(record.model_dump_json(exclude_defaults=True)))
    return f'<section id="{name}"><h2>{escape(plain(title))}</h2><pre>{line}</pre></section>\n'
