"""Verdicts on time and memory from interleaved comparisons; a pure function of their readings."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import Decision, decide, decide_comparison, rounds_of
from bench.records import (
    CALL_MEMORY,
    CLOCK_TIMES,
    MEASURED_WORSE,
    ArmReadings,
    Comparison,
    Control,
    Finding,
    FindingKind,
    FindingVerdict,
)

EXPECTED = {"untouched": "SAME", "planted": "SLOWER"}
OF_MEMORY: dict[str, FindingVerdict] = {"SLOWER": "MORE", "FASTER": "LESS"}
NO_ROUNDS = "there are no rounds"


class Quantity(NamedTuple):
    """One quantity of a comparison: what was read in each round, and what the rule says of it."""

    name: str
    kind: FindingKind
    unit: str
    rounds: tuple[ArmReadings, ...]
    decision: Decision

    @property
    def verdict(self) -> FindingVerdict:
        """The rule's verdict in words for this kind."""
        verdict = self.decision.verdict
        return OF_MEMORY.get(verdict, verdict) if self.kind == "memory" else verdict


def judge_comparison(comparison: Comparison) -> Decision:
    """The verdict by the clock that decides."""
    return decide_comparison(comparison, comparison.clocks[0])


def controls(comparisons: Sequence[Comparison]) -> tuple[Control, ...]:
    """Those of the comparisons that are controls, and what they read."""
    return tuple(
        _control_of(comparison) for comparison in comparisons if comparison.gate_role in EXPECTED
    )


def _control_of(comparison: Comparison) -> Control:
    role = comparison.gate_role
    about = {"name": role, "cell": comparison.gate_cell, "expected": EXPECTED[role]}
    if not comparison.rounds:
        reason = comparison.failure.reason if comparison.failure else NO_ROUNDS
        return Control(**about, verdict="INCONCLUSIVE", reason=reason)  # type: ignore[arg-type]
    decision = judge_comparison(comparison)
    return Control(
        **about,  # type: ignore[arg-type]  # checked by pydantic
        verdict=decision.verdict,
        ratio=decision.ratio.median,
        low=decision.ratio.low,
        high=decision.ratio.high,
        reason=decision.reason,
    )


def findings(comparisons: Sequence[Comparison]) -> tuple[Finding, ...]:
    """Time and memory of the cells; one that was measured again is worse only if both times say so."""
    cells: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.gate_role not in EXPECTED:
            cells.setdefault(comparison.gate_cell, []).append(comparison)
    return tuple(finding for cell, group in cells.items() for finding in _of_cell(cell, group))


def _of_cell(cell: str, group: Sequence[Comparison]) -> list[Finding]:
    first, repeated = group[0], [other for other in group if other.gate_role == "again"]
    if not first.rounds:
        reason = first.failure.reason if first.failure else NO_ROUNDS
        reason = f"not measured: {reason}"
        return [Finding(cell=cell, quantity="time", kind="time", verdict="SHOWN", reason=reason)]
    again = {quantity.name: quantity for quantity in quantities(repeated[0])} if repeated else {}
    rows = []
    for quantity in quantities(first):
        finding = _finding_of(cell, quantity, launches=first.second.launches)
        if repeated and finding.verdict in MEASURED_WORSE:
            finding = _confirmed(finding, again.get(quantity.name))
        rows.append(finding)
    return rows


def quantities(comparison: Comparison) -> tuple[Quantity, ...]:
    """The clock that decides, and the memory where every round has a reading."""
    if not comparison.rounds:
        return ()
    clock = comparison.clocks[0]
    rounds, decision = rounds_of(comparison, clock), judge_comparison(comparison)
    time = Quantity(CLOCK_TIMES[clock], "time", "s", rounds, decision)
    memory = tuple(one.memory for one in comparison.rounds if one.memory)
    if len(memory) < len(rounds):
        return (time,)
    decision = decide(
        memory,
        margin=comparison.margin,
        level=comparison.level,
        comparisons=comparison.comparisons,
    )
    return time, Quantity(CALL_MEMORY, "memory", "bytes", memory, decision)


def _confirmed(finding: Finding, again: Quantity | None) -> Finding:
    """Keep a bad verdict only if the second measurement says the same."""
    verdict = again.verdict if again else "not measured"
    reason = f"{finding.reason}; measured again in new processes: {verdict}"
    kept = finding.verdict if verdict == finding.verdict else "INCONCLUSIVE"
    return finding.model_copy(update={"verdict": kept, "reason": reason})


def _finding_of(cell: str, quantity: Quantity, *, launches: int) -> Finding:
    before, after = (
        tuple(statistics.median(getattr(readings, side)) for readings in quantity.rounds)
        for side in ("first", "second")
    )
    decision = quantity.decision
    return Finding(
        cell=cell,
        quantity=quantity.name,
        kind=quantity.kind,
        verdict=quantity.verdict,
        unit=quantity.unit,
        before=statistics.median(before),
        after=statistics.median(after),
        ratio=decision.ratio.median,
        low=decision.ratio.low,
        high=decision.ratio.high,
        reason=decision.reason,
        before_rounds=before,
        after_rounds=after,
        launches=launches,
    )
