"""Render tables and figures from records: `python -m reports DIR --out DIR2`."""

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import called, shell

if TYPE_CHECKING:
    from reports.report import RecordReport

PROGRAM = called("report")
WRITTEN_FORMATS = ("markdown", "latex", "csv", "html")
REPORT_FORMATS = ("terminal", *WRITTEN_FORMATS)
HINT = """\
There are tables of blocks (efficiency, table1, gallery), networks (table2), operations (fig2), the model zoo (zoo_ann,
zoo_dnl), the size from which APNB beats NB (crossover), ways to compute a block (implementations), number formats
(precision), times beside their floors (roofline), two arms by turns (comparisons), other tools' counts (counters),
trained networks (table6, table7) with the comparisons of its text, the published accuracies (table3 to table7), and an
audit of every published efficiency number; the figures are Fig. 2, memory and MACs against the size of the map, time
and memory of the crossover, mIoU against MACs, and what the trained networks see. Each is made where the records hold
something for it.
"""


def _parser() -> shell.CommandParser:
    parser = shell.CommandParser(
        prog=PROGRAM,
        description="Render every table and figure that records support; needs no torch.",
        epilog=HINT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("records", nargs="?", type=Path, help="a folder of records, or one .jsonl file")
    two = "two files of pytest-benchmark, nvbench, KernelBench or tritonbench, or two folders, a file a process: "
    add(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help=f"{two}what they allow to say about B",
    )
    add("--out", type=Path, metavar="DIR", help="folder for the files; without it only print")
    how = "format of the output; repeatable (default: all with --out, else the terminal's)"
    add("--format", action="append", choices=REPORT_FORMATS, dest="formats", help=how)
    add("--quiet", action="store_true", help="print no tables; for --out")
    text = "standard output gets one JSON object with the tables, as docs/json.md describes it, and nothing else"
    add("--json", action="store_true", help=text)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.records is None and options.compare is None:
        parser.print_help()
        return 0
    if options.records and options.compare:
        parser.error("--compare names its files itself; leave the folder of records out")
    formats = options.formats or (REPORT_FORMATS if options.out else REPORT_FORMATS[:1])
    formats = tuple(dict.fromkeys(formats))
    collects = gc.isenabled()
    # Records have no cycles; searching a hundred thousand of them for some takes longer than reading them.
    gc.disable()
    try:
        if options.out:
            _check_folder(options.out)
        # Brings pydantic, not for --help.
        from reports.report import build_comparison, build_report

        compared = options.compare
        report = build_comparison(*compared) if compared else build_report(options.records)
        if options.out:
            write_files(report, formats, options.out)
        if not options.quiet and not options.json:
            _show(report, formats, out=options.out)
        elif options.json:
            _give(report, formats, out=options.out)
    except BrokenPipeError:
        raise  # of who reads, which is no error
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        sys.stderr.write(f"{parser.prog}: error: {message}\n")
        return shell.WRONG
    finally:
        if collects:
            gc.enable()
    return 0


def write_files(report: "RecordReport", formats: Sequence[str], out: Path) -> None:
    """Write a report in some formats; an OSError names the file that could not be written.

    Everything is rendered before the first file changes, and a file changes whole.
    """
    from bench.records import write_whole

    for name, text in tuple(_report_files(report, formats)):
        write_whole(out / name, text.encode())


def _report_files(report: "RecordReport", formats: Sequence[str]) -> Iterator[tuple[str, str]]:
    from reports.render import FILE_FORMATS, RAW, raw_page, record_anchors, report_page

    for name in formats:
        if name in FILE_FORMATS:
            ending, render = FILE_FORMATS[name]
            yield from ((f"{table.name}.{ending}", render(table)) for table in report.tables)
        elif name == "html":
            records, names = record_anchors(report.tables)
            page = partial(report_page, report.tables, report.figures, summary=report.summary)
            page = partial(page, overview=report.overview, sources=report.sources)
            yield "index.html", page(addresses=names)
            if records:
                yield RAW, raw_page(records, names)
            yield from ((f"{figure.name}.svg", figure.svg) for figure in report.figures)


def _give(report: "RecordReport", formats: Sequence[str], *, out: Path | None) -> None:
    from reports.render import tables_as_data

    page = out / "index.html" if out and "html" in formats else None
    shell.write_output(shell.DONE, tables=tables_as_data(report.tables), folder=out, page=page)


def _check_folder(folder: Path) -> None:
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--out {str(folder)!r}: {error.strerror}; give a folder that can be made and written to"
        raise ValueError(msg) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        what = f"--out {str(folder)!r} is not writable"
        msg = f"{what}; give another folder, or change its permissions"
        raise ValueError(msg)
    if is_new:
        folder.rmdir()  # it is made again where there is something to write


def _show(report: "RecordReport", formats: Sequence[str], *, out: Path | None) -> None:
    if "terminal" in formats:
        from rich.console import Console

        from reports.render import TerminalTable, shorten_report

        console = Console()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = 120
        writes = "--format markdown prints it, --out DIR writes it."
        where = f"All of it is in {out}." if out else writes
        tables, line = shorten_report(report.tables, where=where)
        for table in tables:
            console.print(TerminalTable(table))
            console.print()
        if line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if out is None:
        for _, text in _report_files(report, [name for name in formats if name != "html"]):
            sys.stdout.write(f"{text}\n")
        if "html" in formats:
            msg = "--format html needs a folder for the page and its figures; add --out DIR"
            raise ValueError(msg)


if __name__ == "__main__":
    shell.guarded(PROGRAM, main)
