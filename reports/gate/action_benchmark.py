"""An outcome as github-action-benchmark reads it (its tool `customSmallerIsBetter`): the head's values.

A list of objects with name, unit, value and, beside them, range and extra as text
(github.com/benchmark-action/github-action-benchmark, section "customSmallerIsBetter").
"""

from bench.records import Finding, Outcome
from reports.gate.findings import ratio_text
from reports.model import MEBI, MILLI
from reports.render import plain

Entry = dict[str, str | float]
UNITS = {"bytes": ("MiB", MEBI), "s": ("ms", MILLI)}
# Not a quantity of which less is better, or one row for many.
ASIDE = ("outputs",)


def entries(outcome: Outcome) -> list[Entry]:
    """One entry for each quantity that has a number."""
    return [
        _entry(one, float(one.after))
        for one in outcome.findings
        if isinstance(one.after, int | float) and one.quantity not in ASIDE
    ]


def _entry(one: Finding, after: float) -> Entry:
    unit, scale = UNITS.get(one.unit, (one.unit or "count", 1))
    found: Entry = {
        "name": plain(f"{one.cell}: {one.quantity}"),
        "unit": unit,
        "value": after / scale,
        "extra": plain(f"{one.verdict}{ratio_text(one)}; {one.reason}".rstrip("; ")),
    }
    if len(one.after_rounds) > 1:
        spread = (max(one.after_rounds) - min(one.after_rounds)) / 2 / scale
        found["range"] = f"\N{PLUS-MINUS SIGN} {spread:.4g}"
    return found
