"""What the terminal shows of a report."""

import io
from pathlib import Path

from rich.console import Console

from bench.records.record import read_records
from reports import report
from reports.audit import audit
from reports.model import frame
from reports.model.table import Column, Table
from reports.render import TerminalTable, shortlist

KEPT = Path(__file__).parents[3] / "reports" / "reference" / "intel-xeon-2-cores"
WHERE = "All of it is in results/report."


def shown(records):
    built = frame.build_frame(records)
    return shortlist.shorten_report(
        (audit.audit_table(built), *report.report_tables(built)), where=WHERE
    )


def drawn(tables, line):
    console = Console(file=io.StringIO(), width=120)
    for table in tables:
        console.print(TerminalTable(table))
        console.print()
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def test_of_an_experiment_the_terminal_shows_what_it_measured(golden):
    golden("shortlist-crossover.txt", drawn(*shown(read_records(KEPT / "crossover.jsonl"))))


def test_of_table1_the_terminal_shows_what_of_the_audit_was_checked(golden, make):
    golden("shortlist-table1.txt", drawn(*shown(make.table1())))


def test_no_audit_is_shown_of_which_nothing_was_checked(make):
    tables, line = shown(make.table6())
    assert "audit" not in [table.name for table in tables]
    assert "25 of the audit's 25 numbers" in line


def test_the_audit_comes_last(make):
    assert shown(make.table1())[0][-1].name == "audit"


def test_long_tables_are_cut_and_the_line_says_by_how_much():
    rows = tuple((at,) for at in range(shortlist.MOST_SHOWN_ROWS + 7))
    tables, line = shortlist.shorten_report((Table("t", "T", (Column("n"),), rows),), where=WHERE)
    assert len(tables[0].rows) == shortlist.MOST_SHOWN_ROWS
    assert line == f"Not shown: 7 rows of t. {WHERE}"


def test_nothing_left_out_needs_no_line():
    assert not shortlist.shorten_report((Table("t", "T", (Column("n"),), ((1,),)),), where=WHERE)[1]


def test_what_is_left_out_is_named_by_its_kind():
    published = Table("p", "P", (Column("mIoU", source="published"),), ((1,),), origins=((),))
    roofline = Table("r", "R", (Column("rate", source="measured"),), ((1,),), origins=((),))
    _, line = shortlist.shorten_report((published, roofline, roofline), where=WHERE)
    assert (
        "1 table of published numbers alone (p); 2 tables made of several records together (r, r)."
        in line
    )
