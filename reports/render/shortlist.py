"""What of a report a terminal shows: what the records say; how much else there is stands in one line."""

from collections.abc import Sequence
from dataclasses import replace

from reports.model import Table

MOST_SHOWN_ROWS = 80
UNCHECKED = "not checked here"


def shorten_report(tables: Sequence[Table], *, where: str) -> tuple[tuple[Table, ...], str]:
    """Leave out tables without a row of ours and what the audit did not check, and shorten what is long.

    The audit comes last, just above the prompt; then a line, if any, on what is left out and `where` to see it.
    """
    audits = [table for table in tables if table.name == "audit"]
    others = [table for table in tables if table.name != "audit"]
    checked = [_checked(audit) for audit in audits]
    shown = [table for table in (*filter(_has_ours, others), *checked) if table.rows]
    left = []
    without = [table for table in others if not _has_ours(table)]
    for kind, is_published in (
        ("of published numbers alone", True),
        ("made of several records together", False),
    ):
        names = [table.name for table in without if _is_published(table) == is_published]
        if names:
            tables_word = "tables" if len(names) > 1 else "table"
            left.append(f"{len(names)} {tables_word} {kind} ({', '.join(names)})")
    whole, seen = (sum(len(table.rows) for table in each) for each in (audits, checked))
    if whole > seen:
        left.append(
            f"{whole - seen} of the audit's {whole} numbers, which these records do not check"
        )
    longer = [table for table in shown if len(table.rows) > MOST_SHOWN_ROWS]
    left += [f"{len(table.rows) - MOST_SHOWN_ROWS} rows of {table.name}" for table in longer]
    part = slice(MOST_SHOWN_ROWS)
    short = (replace(each, rows=each.rows[part], origins=each.origins[part]) for each in shown)
    return tuple(short), f"Not shown: {'; '.join(left)}. {where}" if left else ""


def _has_ours(table: Table) -> bool:
    """Whether a record of a run is behind it; where that is not known, it counts as ours."""
    return not table.origins or any(table.origins)


def _is_published(table: Table) -> bool:
    """Whether all of its numbers are the documents'; rooflines, say, are made of readings of several records."""
    return {column.source for column in table.columns} <= {"", "published"} and any(
        column.source for column in table.columns
    )


def _checked(audit: Table) -> Table:
    at = [column.name for column in audit.columns].index("verdict")
    return replace(audit, rows=tuple(row for row in audit.rows if row[at] != UNCHECKED))
