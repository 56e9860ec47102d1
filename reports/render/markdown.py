"""Tables in GitHub's Markdown."""

import re

from reports.model import LaidCell, Table, lay_out, plain

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#&$])")


def escape_markdown(text: str) -> str:
    """Write text so that Markdown shows it as it is, within a table's row too."""
    return _SPECIAL.sub(r"\\\1", plain(text))


def to_markdown(table: Table) -> str:
    """Write one table: heading, rows, caption, notes."""
    layout = lay_out(table)
    header = [escape_markdown(column.heading) for column in table.columns]
    body = [[_markdown_cell(cell) for cell in row] for row in layout.rows]
    widths = [max(3, *map(len, cells)) for cells in zip(header, *body, strict=True)]
    rules = (
        "-" * width if column.align == "left" else "-" * (width - 1) + ":"
        for width, column in zip(widths, table.columns, strict=True)
    )
    lines = [f"### {escape_markdown(table.title)}", ""]
    for cells in (header, rules, *body):
        padded = (
            cell.ljust(width) if column.align == "left" else cell.rjust(width)
            for cell, width, column in zip(cells, widths, table.columns, strict=True)
        )
        lines.append(f"| {' | '.join(padded)} |")
    if table.caption:
        lines += ["", f"*{escape_markdown(table.caption)}*"]
    notes = [
        f"- <sup>{label}</sup> {escape_markdown(note)}" if label else f"- {escape_markdown(note)}"
        for label, note in layout.notes
    ]
    return "\n".join([*lines, "", *notes] if notes else lines) + "\n"


def _markdown_cell(cell: LaidCell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.best else text
    return f"{text} <sup>{cell.label}</sup>" if cell.label else text
