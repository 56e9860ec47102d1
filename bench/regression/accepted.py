"""Accepted changes, each with its reason: a file in the repository, a line for each.

A line holds for one quantity of one cell moving from one value to another. It says nothing about
the next change of the same quantity.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.records import Amount, Finding, Model, append_line, read_models
from bench.regression.exact import GRADIENTS, LEFT, OUTPUTS

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
        if (self.cell, self.quantity) != (finding.cell, finding.quantity):
            return False
        is_of_values = self.quantity.startswith(OUTPUTS) or self.quantity in (GRADIENTS, LEFT)
        return all(
            left == right or (is_of_values and _is_close(left, right))
            for left, right in ((self.before, finding.before), (self.after, finding.after))
        )


def _is_close(left: Amount, right: Amount) -> bool:
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    return numbers and math.isclose(left, right, rel_tol=CLOSE)  # type: ignore[arg-type]


def read_accepted(path: Path) -> tuple[Accepted, ...]:
    """Read the accepted changes; none where there is no file.

    Raises:
        ValueError: a line is none; the message names file, line and field.
    """
    return read_models(Accepted, filter(Path.exists, [path]))


def apply_accepted(findings: Iterable[Finding], known: Sequence[Accepted]) -> tuple[Finding, ...]:
    """Call what was accepted ACCEPTED, with its reason."""

    def apply(finding: Finding) -> Finding:
        reasons = [f"accepted: {change.reason}" for change in known if change.covers(finding)]
        if finding.verdict != "CHANGED" or not reasons:
            return finding
        return finding.model_copy(update={"verdict": "ACCEPTED", "reason": reasons[-1]})

    return tuple(map(apply, findings))


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
            **{name: getattr(finding, name) for name in ("cell", "quantity", "before", "after")},
            reason=reason.strip(),
            accepted_at=at,
        )
        for finding in findings
        if finding.verdict == "CHANGED"
    )
    for change in changes:
        append_line(path, change)
    return changes
