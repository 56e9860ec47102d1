"""What commands write of tables: drawn by rich, on standard output, as text in a format, as files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType

from bench.records import Model
from reports.model import Table
from reports.render import FILE_FORMATS, TerminalTable


def drawn(tables: Iterable[Table]) -> RenderableType:
    """Tables as rich shows them."""
    return Group(*map(TerminalTable, tables))


def show(tables: Iterable[Table]) -> None:
    """Print tables to standard output, at the terminal's width or, where it is none, wide enough for them."""
    console = Console()
    if not console.is_terminal:
        console.width = 140
    for table in tables:
        console.print(drawn([table]))
        console.print()
    console.file.flush()


def formatted(records: Sequence[Model], tables: Iterable[Table], form: str) -> str:
    """Records as JSON, or tables as Markdown, LaTeX or CSV."""
    if form == "json":
        lines = (record.model_dump_json(exclude_defaults=True) for record in records)
        return f"[\n{','.join(lines)}\n]\n"
    _, render = FILE_FORMATS[form]
    return "\n".join(map(render, tables))


def write_report(records: Path, out: Path) -> int:
    """Write every table, figure and page that records support; return the exit status."""
    from reports.__main__ import main

    return main([str(records), "--out", str(out)])
