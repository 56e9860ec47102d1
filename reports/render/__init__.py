"""One output format a file: terminal, Markdown, LaTeX, HTML, CSV."""

from collections.abc import Callable

from reports.model import Table
from reports.render.csv import tables_as_data, to_csv
from reports.render.html import RAW, report_page
from reports.render.latex import to_latex
from reports.render.markdown import escape_markdown, to_markdown
from reports.render.records_page import raw_page, record_anchors
from reports.render.shortlist import shorten_report
from reports.render.terminal import TerminalTable

# Formats of which each table is a file: how it ends, and what writes it.
FILE_FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "markdown": ("md", to_markdown),
    "latex": ("tex", to_latex),
    "csv": ("csv", to_csv),
}
