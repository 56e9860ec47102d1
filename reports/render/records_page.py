"""The raw records behind the tables, each as its line of JSON, on a page that the report links to."""

from collections.abc import Mapping, Sequence
from html import escape

from bench.records import Record
from reports.model import Table, plain, slug

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'">
<title>Raw records</title>
<style>
body { max-width: 76rem; margin: 0 auto; padding: 1.25rem; font: 16px/1.5 system-ui, Arial, sans-serif; }
body { background: #fff; color: #1b1f24; }
a { color: #0550ae; }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e9ec; } a { color: #7cb7ff; } }
h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; }
section { content-visibility: auto; contain-intrinsic-size: auto 12rem; }
section:target h2 { background: Mark; color: MarkText; }
</style>
</head>
<body>
<main>
<h1>Raw records</h1>
<p><a href="index.html">Back to the report.</a> Each record as it was written, in base units.</p>
"""


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
    return "".join((HEAD, *sections, "</main>\n</body>\n</html>\n"))


def _section(record: Record, name: str) -> str:
    title = f"{record.source} {record.cell}: {record.experiment}, {record.subject}, {record.size}"
    # JSON writes control characters as escapes; what steers the direction of text is left out.
    line = escape(plain(record.model_dump_json(exclude_defaults=True)))
    return f'<section id="{name}"><h2>{escape(plain(title))}</h2><pre>{line}</pre></section>\n'
