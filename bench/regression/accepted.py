"""Accepted changes, each with its reason: a file in the repository, a line for each.

A line holds for one quantity of one cell moving from one value to another. It says nothing about
the next change of the same quantity.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.records import Amount, Finding, Model, append_line, parse_line, read_lines
from bench.regression.exact import OUTPUTS

FILE = Path("regressions.jsonl")
# Outputs on another processor differ in the last places; the change itself is in the first.
CLOSE = 1e-3


class Accepted(Model):
    """One accepted change."""

    cell: str
    quantity: str
    before: Amount = None
    after: Amount = None
    reason: str
    accepted_at: str = ""

    def covers(self, finding: Finding) -> bool:
        """Whether this is that change."""
        return (
            (self.cell, self.quantity) == (finding.cell, finding.quantity)
            and _is_close(self.before, finding.before, exact=finding.quantity != OUTPUTS)
            and _is_close(self.after, finding.after, exact=finding.quantity != OUTPUTS)
        )


def _is_close(one: Amount, other: Amount, *, exact: bool) -> bool:
    if exact or not (isinstance(one, int | float) and isinstance(other, int | float)):
        return one == other
    return math.isclose(one, other, rel_tol=CLOSE)


def read_accepted(path: Path) -> tuple[Accepted, ...]:
    """Read the accepted changes; none where there is no file.

    Raises:
        ValueError: a line is none; the message names file, line and field.
    """
    if not path.exists():
        return ()
    return tuple(parse_line(Accepted, line, where=where) for where, line in read_lines(path))


def apply_accepted(findings: Iterable[Finding], known: Sequence[Accepted]) -> tuple[Finding, ...]:
    """Call what was accepted ACCEPTED, with its reason."""
    return tuple(_applied(finding, known) for finding in findings)


def _applied(finding: Finding, known: Sequence[Accepted]) -> Finding:
    reasons = [change.reason for change in known if change.covers(finding)]
    if finding.verdict != "CHANGED" or not reasons:
        return finding
    return finding.model_copy(update={"verdict": "ACCEPTED", "reason": f"accepted: {reasons[-1]}"})


def accept(
    findings: Iterable[Finding], path: Path, *, reason: str, at: str
) -> tuple[Accepted, ...]:
    """Write down every change that is not accepted yet.

    Raises:
        ValueError: no reason is given.
        OSError: the file can't be written.
    """
    if not reason.strip():
        msg = "--accept needs a reason; say why the change is wanted"
        raise ValueError(msg)
    changes = tuple(
        Accepted(
            cell=finding.cell,
            quantity=finding.quantity,
            before=finding.before,
            after=finding.after,
            reason=reason.strip(),
            accepted_at=at,
        )
        for finding in findings
        if finding.verdict == "CHANGED"
    )
    for change in changes:
        append_line(path, change)
    return changes
