"""Render tables and figures from records: `python -m reports DIR --out DIR2`."""

import argparse
import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from bench.records import Comparison, Record
    from reports.model import Figure, Table
    from reports.overview import Section

FORMATS = ("terminal", "markdown", "latex", "csv", "html")
HINT = """\
There are tables of blocks (efficiency, table1), networks (table2), operations (fig2), the model zoo (zoo_ann,
zoo_dnl), the size from which APNB beats NB (crossover), ways to compute a block (implementations), number formats
(precision), times beside their floors (roofline), two arms by turns (comparisons), other tools' counts (counters),
trained networks (table6, table7) with what the text compares, the published accuracies (table3 to table7), and an
audit of every published efficiency number; the figures are Fig. 2, memory and MACs against the size of the map, time
and memory of the crossover, mIoU against MACs, and what the trained networks see. Each is made where the records hold
something for it.
"""


@dataclass(frozen=True, slots=True)
class Made:
    """What records support: tables (the audit first), figures, the answers, where the records come from."""

    tables: tuple["Table", ...]
    figures: tuple["Figure", ...] = ()
    overview: tuple["Section", ...] = ()
    sources: tuple["Table", ...] = ()


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m reports",
        description="Render every table and figure that records support; needs no torch.",
        epilog=HINT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "records", nargs="?", type=Path, help="a folder of records, or one .jsonl file"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the files; without it only print"
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        dest="formats",
        help="repeatable; all of them with --out, the terminal's without",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.records is None:
        parser.print_help()
        return 0
    formats = tuple(dict.fromkeys(options.formats or (FORMATS if options.out else FORMATS[:1])))
    try:
        if options.out:
            _check_folder(options.out)
        with _without_collector():
            made = _make(options.records)
            if options.out:
                _write(options.out, _files(made, formats))
        _show(made, formats, out=options.out)
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        sys.stderr.write(f"{parser.prog}: {message}\n")
        return 2
    return 0


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Records have no cycles; searching a hundred thousand of them for some takes longer than reading them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _make(path: Path) -> Made:
    from bench.records import FILE, read_comparisons, read_records
    from reports.gate import comparisons as paired

    comparisons = read_comparisons(path)
    compared = paired.comparison_tables(comparisons)
    records = () if path.name == FILE else read_records(path)
    if records:
        made = _of_records(records, comparisons, path if path.is_dir() else path.parent)
        return replace(made, tables=(*made.tables, *compared))
    if not compared:
        msg = f"{str(path)!r} holds no records; give a .jsonl file or a folder that a run wrote"
        raise ValueError(msg)
    return Made(compared)


def _of_records(
    records: "Sequence[Record]", comparisons: "Sequence[Comparison]", folder: Path
) -> Made:
    from reports import overview, provenance, report
    from reports.audit import audit
    from reports.blocks import figures
    from reports.model import build_frame

    joined = build_frame(records)
    return Made(
        (audit.audit_table(joined), *report.report_tables(joined)),
        figures.report_figures(joined, folder),
        overview.overview_sections(joined, comparisons),
        provenance.source_tables(records),
    )


def _files(made: Made, formats: Sequence[str]) -> Iterator[tuple[str, str]]:
    from reports.render import csv, html, latex, markdown, records_page

    renderers: dict[str, tuple[str, Callable[[Table], str]]] = {
        "markdown": ("md", markdown.to_markdown),
        "latex": ("tex", latex.to_latex),
        "csv": ("csv", csv.to_csv),
    }
    for name in formats:
        if name in renderers:
            ending, render = renderers[name]
            yield from ((f"{table.name}.{ending}", render(table)) for table in made.tables)
        elif name == "html":
            records, names = records_page.record_anchors(made.tables)
            yield (
                "index.html",
                html.report_page(
                    made.tables,
                    made.figures,
                    overview=made.overview,
                    sources=made.sources,
                    addresses=names,
                ),
            )
            if records:
                yield html.RAW, records_page.raw_page(records, names)
            yield from ((f"{figure.name}.svg", figure.svg) for figure in made.figures)


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--out {str(folder)!r}: {error.strerror}; give a folder that can be made and written to"
        raise ValueError(msg) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = (
            f"--out {str(folder)!r} is not writable; give another folder, or change its permissions"
        )
        raise ValueError(msg)


def _write(folder: Path, files: Iterator[tuple[str, str]]) -> None:
    # Everything is rendered before the first file changes, and a file changes whole.
    for name, text in tuple(files):
        _replace(folder / name, text)


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        msg = f"{path}: could not be written ({error.strerror}); make room and call again"
        raise OSError(error.errno, msg) from error
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _show(made: Made, formats: Sequence[str], *, out: Path | None) -> None:
    if "terminal" in formats:
        from rich.console import Console

        from reports.render import shortlist, terminal

        console = Console()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = 120
        where = (
            f"All of it is in {out}."
            if out
            else "--format markdown prints it, --out DIR writes it."
        )
        chosen = shortlist.shorten_report(made.tables, where=where)
        for table in chosen.tables:
            console.print(terminal.to_terminal(table))
            console.print()
        if chosen.line:
            console.print(chosen.line, markup=False, highlight=False, soft_wrap=True)
    if out is None:
        for _, text in _files(made, [name for name in formats if name != "html"]):
            sys.stdout.write(f"{text}\n")
        if "html" in formats:
            msg = "--format html needs a folder for the page and its figures; add --out DIR"
            raise ValueError(msg)


if __name__ == "__main__":
    sys.exit(main())
