"""Verdicts on time and memory from interleaved comparisons; a pure function of their readings."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from bench.analysis import Decision, decide, decide_comparison, rounds_of
from bench.records import (
    CALL_MEMORY,
    CLOCK_TIMES,
    MEASURED_WORSE,
    ArmReadings,
    Comparison,
    Control,
    Finding,
)

EXPECTED = {"untouched": "SAME", "planted": "SLOWER"}
OF_MEMORY = {"SLOWER": "MORE", "FASTER": "LESS"}


def judge_comparison(comparison: Comparison) -> Decision:
    """The verdict by the clock that decides."""
    return decide_comparison(comparison, comparison.clocks[0])


def controls(comparisons: Sequence[Comparison]) -> tuple[Control, ...]:
    """Those of the comparisons that are controls, and what they read."""
    return tuple(map(_control, filter(is_control, comparisons)))


def is_control(comparison: Comparison) -> bool:
    """Whether the verdict that it has to give is known."""
    return comparison.gate_role in EXPECTED


def _control(comparison: Comparison) -> Control:
    fields = {"verdict": "INCONCLUSIVE", "reason": _why_unmeasured(comparison)}
    if comparison.rounds:
        fields = _fields(judge_comparison(comparison))
    role = comparison.gate_role
    about = {"name": role, "cell": comparison.gate_cell, "expected": EXPECTED[role]}
    return Control.model_validate(about | fields)


def _fields(decision: Decision) -> dict[str, Any]:
    ratio = {"ratio": decision.ratio.median, "low": decision.ratio.low, "high": decision.ratio.high}
    return {"verdict": decision.verdict, "reason": decision.reason, **ratio}


def _why_unmeasured(comparison: Comparison) -> str:
    return comparison.failure.reason if comparison.failure else "there are no rounds"


def findings(comparisons: Sequence[Comparison]) -> tuple[Finding, ...]:
    """Time and memory of the cells; one that was measured again is worse only if both times say so."""
    cells: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if not is_control(comparison):
            cells.setdefault(comparison.gate_cell, []).append(comparison)
    return tuple(finding for group in cells.values() for finding in _of_cell(group))


def _of_cell(group: Sequence[Comparison]) -> Iterator[Finding]:
    first, repeated = group[0], [other for other in group if other.gate_role == "again"]
    if not first.rounds:
        fields = {"quantity": "time", "kind": "time", "verdict": "SHOWN"}
        reason = f"not measured: {_why_unmeasured(first)}"
        yield Finding.model_validate({"cell": first.gate_cell, "reason": reason, **fields})
    again = {
        finding.quantity: finding.verdict
        for comparison in repeated[:1]
        for finding in _of_rounds(comparison)
    }
    for finding in _of_rounds(first):
        if not repeated or finding.verdict not in MEASURED_WORSE:
            yield finding
            continue
        verdict = again.get(finding.quantity, "not measured")
        reason = f"{finding.reason}; measured again in new processes: {verdict}"
        kept = finding.verdict if verdict == finding.verdict else "INCONCLUSIVE"
        yield finding.model_copy(update={"verdict": kept, "reason": reason})


def _of_rounds(comparison: Comparison) -> Iterator[Finding]:
    """By the clock that decides, and by the memory where every round has a reading."""
    if not comparison.rounds:
        return
    clock = comparison.clocks[0]
    rounds, decision = rounds_of(comparison, clock), judge_comparison(comparison)
    yield _finding_of(comparison, rounds, _fields(decision), (CLOCK_TIMES[clock], "time", "s"))
    memory = tuple(played.memory for played in comparison.rounds if played.memory)
    if len(memory) == len(rounds):
        rule = {name: getattr(comparison, name) for name in ("margin", "level", "comparisons")}
        fields = _fields(decide(memory, **rule))
        fields["verdict"] = OF_MEMORY.get(fields["verdict"], fields["verdict"])
        yield _finding_of(comparison, memory, fields, (CALL_MEMORY, "memory", "bytes"))


def _finding_of(
    comparison: Comparison,
    rounds: Sequence[ArmReadings],
    fields: dict[str, Any],
    names: tuple[str, Any, str],
) -> Finding:
    before, after = (
        tuple(statistics.median(getattr(readings, side)) for readings in rounds)
        for side in ("first", "second")
    )
    quantity, kind, unit = names
    return Finding(
        cell=comparison.gate_cell,
        quantity=quantity,
        kind=kind,
        unit=unit,
        before=statistics.median(before),
        after=statistics.median(after),
        before_rounds=before,
        after_rounds=after,
        launches=comparison.second.launches,
        **fields,
    )
