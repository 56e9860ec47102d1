"""What of a report a terminal shows: what the records say; how much else there is stands in one line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.model import Table

MOST_SHOWN_ROWS = 80
UNCHECKED = "not checked here"


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Tables in the order in which they are printed, and a line on what is left out; empty where nothing is."""

    tables: tuple[Table, ...]
    line: str


def shorten_report(tables: Sequence[Table], *, where: str) -> Shortlist:
    """Leave out tables without a row of ours and what the audit did not check, and shorten what is long.

    Args:
        tables: of a report; the audit comes last, just above the prompt.
        where: how to see the rest, for the line.
    """
    others = [table for table in tables if table.name != "audit"]
    ours = [table for table in others if _has_ours(table)]
    audit = [_checked(table) for table in tables if table.name == "audit"]
    shown = [table for table in (*ours, *audit) if table.rows]
    left = [
        *_published_line([table.name for table in others if not _has_ours(table)]),
        *_unchecked_line(sum(len(table.rows) for table in tables if table.name == "audit"), audit),
        *(
            f"{len(table.rows) - MOST_SHOWN_ROWS} rows of {table.name}"
            for table in shown
            if len(table.rows) > MOST_SHOWN_ROWS
        ),
    ]
    line = f"Not shown: {'; '.join(left)}. {where}" if left else ""
    return Shortlist(tuple(_shortened(table) for table in shown), line)


def _has_ours(table: Table) -> bool:
    """Whether a record of a run is behind it; where that is not known, it counts as ours."""
    return not table.origins or any(table.origins)


def _checked(audit: Table) -> Table:
    at = [column.name for column in audit.columns].index("verdict")
    return replace(audit, rows=tuple(row for row in audit.rows if row[at] != UNCHECKED))


def _shortened(table: Table) -> Table:
    if len(table.rows) <= MOST_SHOWN_ROWS:
        return table
    return replace(
        table, rows=table.rows[:MOST_SHOWN_ROWS], origins=table.origins[:MOST_SHOWN_ROWS]
    )


def _published_line(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    plural = "s" if len(names) > 1 else ""
    return (f"{len(names)} table{plural} of published numbers alone ({', '.join(names)})",)


def _unchecked_line(whole: int, audit: Sequence[Table]) -> tuple[str, ...]:
    missing = whole - sum(len(table.rows) for table in audit)
    return (
        (f"{missing} of the audit's {whole} numbers, which these records do not check",)
        if missing
        else ()
    )
