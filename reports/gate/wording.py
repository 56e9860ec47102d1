"""Findings in words: the headline, what was measured of each cell, one finding in a sentence, amounts in units."""

from bench.records import (
    CALL_MEMORY,
    SAME_OR_BETTER,
    UNDECIDED,
    WORSE,
    Amount,
    Finding,
    Outcome,
    worst_first,
)
from reports.model import MEBI, MILLI, decimal

PRINTED_UNITS = {"bytes": ("MiB", MEBI), "s": ("ms", MILLI)}
MOST_MEASURED = 20  # cells
STATUS_WORDS = {SAME_OR_BETTER: "Same or better", WORSE: "Worse", UNDECIDED: "Not decided"}


def headline(outcome: Outcome) -> str:
    """The answer in one sentence."""
    word, findings = STATUS_WORDS[outcome.status], outcome.findings
    if outcome.status == WORSE:
        worse = [finding for finding in worst_first(findings) if finding.is_worse]
        counted = f"{len(worse)} of {len(findings)} findings"
        return f"{word}: {counted}; first {finding_sentence(worse[0])}"
    if outcome.status == UNDECIDED:
        return f"{word}: {outcome.undecided}"
    verdicts = [finding.verdict for finding in findings]
    counts = {
        "better": sum(verdict in ("FASTER", "LESS", "FIXED") for verdict in verdicts),
        "accepted": verdicts.count("ACCEPTED"),
        "inconclusive": verdicts.count("INCONCLUSIVE"),
    }
    beside = [f"{count} {what}" for what, count in counts.items() if count]
    return f"{word}: {', '.join([f'{len(findings)} findings', *beside])}"


def measured_lines(outcome: Outcome) -> tuple[str, ...]:
    """Ratios of time and memory with their intervals, a line for each cell that was measured by turns."""
    cells: dict[str, list[str]] = {}
    for finding in outcome.findings:
        if finding.kind != "exact" and finding.ratio is not None and finding.low is not None:
            name = "memory" if finding.quantity == CALL_MEMORY else finding.quantity
            is_point = finding.low == finding.high
            ratio = f"{finding.ratio:.3f}" if is_point else _ratio(finding)
            cells.setdefault(finding.cell, []).append(f"{name} {ratio}")
    lines = [f"{cell}: {', '.join(ratios)}" for cell, ratios in cells.items()]
    more = len(lines) - MOST_MEASURED
    lines[MOST_MEASURED:] = [f"{more} cells more are in summary.md"] if more > 0 else []
    return tuple(lines)


def finding_sentence(finding: Finding) -> str:
    """One finding in words: what moved, from where to where, by how much."""
    before, after = (amount(value, finding.unit) for value in (finding.before, finding.after))
    moved = f"{before} to {after}{ratio_text(finding)}"
    return f"{finding.cell}: {finding.quantity} {finding.verdict}, {moved}"


def ratio_text(finding: Finding) -> str:
    """The ratio with its interval in parentheses; empty where there is none."""
    if finding.ratio is None or finding.verdict in ("NEW", "FIXED"):
        return ""
    return f" (ratio {_ratio(finding)})"


def _ratio(finding: Finding) -> str:
    unknown = finding.low is None or finding.high is None
    ends = "" if unknown else f" [{finding.low:.3f}, {finding.high:.3f}]"
    return f"{finding.ratio:.3f}{ends}"


def amount(value: Amount, unit: str) -> str:
    """Write a value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if unit in PRINTED_UNITS:
        name, scale = PRINTED_UNITS[unit]
        return f"{decimal(value / scale, 3)} {name}"
    if unit == "checksum":
        return f"checksum {value:.4g}"  # beside it the reason says how far the values are apart
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
