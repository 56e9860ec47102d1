"""An outcome as GitHub reads it: annotations beside the change, and entries of github-action-benchmark.

Annotations are workflow commands (docs.github.com, "Workflow commands for GitHub Actions"); their escapes
are those of actions/toolkit, packages/core/src/command.ts. Entries are those of the action's tool
`customSmallerIsBetter` (github.com/benchmark-action/github-action-benchmark): objects with name, unit, value and,
beside them, range and extra as text.
"""

from bench.records import Outcome, worst_first
from reports.gate.wording import PRINTED_UNITS, finding_sentence, headline, ratio_text
from reports.model import plain

MESSAGE_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
PROPERTY_ESCAPES = MESSAGE_ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})


def annotations(outcome: Outcome) -> str:
    """An error for each regression, the worst first; a warning where nothing could be decided."""
    lines = []
    for finding in (each for each in worst_first(outcome.findings) if each.is_worse):
        title = plain(f"{finding.verdict}: {finding.cell}, {finding.quantity}")
        message = _message(f"{finding_sentence(finding)}. {finding.reason}")
        lines.append(f"::error title={title.translate(PROPERTY_ESCAPES)}::{message}\n")
    if outcome.undecided and not lines:
        lines.append(f"::warning title=Not decided::{_message(headline(outcome))}\n")
    return "".join(lines)


def _message(text: str) -> str:
    return plain(text).translate(MESSAGE_ESCAPES)


def benchmark_entries(outcome: Outcome) -> list[dict[str, str | float]]:
    """The head's values: an entry for each quantity that has a number of which less is better."""
    entries = []
    for finding in (each for each in outcome.findings if each.quantity != "outputs"):
        if isinstance(finding.after, int | float):
            unit, scale = PRINTED_UNITS.get(finding.unit, (finding.unit or "count", 1))
            why = f"{finding.verdict}{ratio_text(finding)}; {finding.reason}"
            entry: dict[str, str | float] = {
                "name": plain(f"{finding.cell}: {finding.quantity}"),
                "unit": unit,
                "value": finding.after / scale,
                "extra": plain(why.rstrip("; ")),
            }
            if len(finding.after_rounds) > 1:
                spread = (max(finding.after_rounds) - min(finding.after_rounds)) / 2 / scale
                entry["range"] = f"\N{PLUS-MINUS SIGN} {spread:.4g}"
            entries.append(entry)
    return entries
