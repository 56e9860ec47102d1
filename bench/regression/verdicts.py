"""What comparisons by turns say of time and memory; a pure function of their readings."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from bench.analysis import Decision, Round, decide, decide_comparison, rounds_of
from bench.records import (
    CALL_MEMORY,
    CLOCK_TIMES,
    MEASURED_WORSE,
    Comparison,
    Control,
    Finding,
    FindingKind,
    FindingVerdict,
)

EXPECTED = {"untouched": "SAME", "planted": "SLOWER"}
OF_MEMORY: dict[str, FindingVerdict] = {"SLOWER": "MORE", "FASTER": "LESS"}


class _Read(NamedTuple):
    """One quantity of a comparison: what was read in each round, and what the rule says of it."""

    quantity: str
    kind: FindingKind
    unit: str
    rounds: tuple[Round, ...]
    decision: Decision


def judge_comparison(made: Comparison) -> Decision:
    """The verdict by the clock that decides."""
    return decide_comparison(made, made.clocks[0])


def controls(made: Sequence[Comparison]) -> tuple[Control, ...]:
    """Those of the comparisons that are controls, and what they read."""
    return tuple(_control(one) for one in made if one.gate_role in EXPECTED)


def _control(made: Comparison) -> Control:
    role = made.gate_role
    about = {"name": role, "cell": made.gate_cell, "expected": EXPECTED[role]}
    if not made.rounds:
        reason = made.failure.reason if made.failure else "there are no rounds"
        return Control(**about, verdict="INCONCLUSIVE", reason=reason)  # type: ignore[arg-type]
    found = judge_comparison(made)
    return Control(
        **about,  # type: ignore[arg-type]  # checked by pydantic
        verdict=found.verdict,
        ratio=found.ratio.median,
        low=found.ratio.low,
        high=found.ratio.high,
        reason=found.reason,
    )


def findings(made: Sequence[Comparison]) -> tuple[Finding, ...]:
    """Time and memory of the cells; one that was measured again is worse only if both times say so."""
    cells: dict[str, list[Comparison]] = {}
    for one in made:
        if one.gate_role not in EXPECTED:
            cells.setdefault(one.gate_cell, []).append(one)
    return tuple(found for cell, group in cells.items() for found in _of_cell(cell, group))


def _of_cell(cell: str, group: Sequence[Comparison]) -> list[Finding]:
    first = {each.quantity: each for each in _reads(group[0])}
    again = [{each.quantity: each for each in _reads(one)} for one in group if _is_again(one)]
    if not first:
        failure = group[0].failure
        reason = failure.reason if failure else "there are no rounds"
        return [_unread(cell, reason)]
    found = []
    for name, each in first.items():
        repeated = [other.get(name) for other in again]
        one = _finding(cell, each, group[0])
        found.append(_confirmed(one, repeated[0]) if repeated else one)
    return found


def _is_again(made: Comparison) -> bool:
    return made.gate_role == "again"


def _unread(cell: str, reason: str) -> Finding:
    return Finding(
        cell=cell, quantity="time", kind="time", verdict="SHOWN", reason=f"not measured: {reason}"
    )


def _reads(made: Comparison) -> list[_Read]:
    """The clock that decides, and the memory where every round has a reading."""
    if not made.rounds:
        return []
    clock = made.clocks[0]
    found = [
        _Read(
            CLOCK_TIMES[clock], "time", "s", rounds_of(made, clock), decide_comparison(made, clock)
        )
    ]
    read = [one.memory for one in made.rounds if one.memory]
    if len(read) == len(made.rounds):
        rounds = tuple(
            Round(first=one.first, second=one.second, control=one.control) for one in read
        )
        decision = decide(
            rounds, margin=made.margin, level=made.level, comparisons=made.comparisons
        )
        found.append(_Read(CALL_MEMORY, "memory", "bytes", rounds, decision))
    return found


def _confirmed(finding: Finding, again: _Read | None) -> Finding:
    """Keep a bad verdict only if the second measurement says the same."""
    if finding.verdict not in MEASURED_WORSE:
        return finding
    verdict = _as(again.kind, again.decision) if again else "not measured"
    reason = f"{finding.reason}; measured again in new processes: {verdict}"
    kept = finding.verdict if verdict == finding.verdict else "INCONCLUSIVE"
    return finding.model_copy(update={"verdict": kept, "reason": reason})


def _finding(cell: str, one: _Read, made: Comparison) -> Finding:
    found = one.decision
    before, after = (
        tuple(statistics.median(getattr(each, side)) for each in one.rounds)
        for side in ("first", "second")
    )
    return Finding(
        cell=cell,
        quantity=one.quantity,
        kind=one.kind,
        verdict=_as(one.kind, found),
        unit=one.unit,
        before=statistics.median(before),
        after=statistics.median(after),
        ratio=found.ratio.median,
        low=found.ratio.low,
        high=found.ratio.high,
        reason=found.reason,
        before_rounds=before,
        after_rounds=after,
        launches=made.second.launches,
    )


def _as(kind: FindingKind, found: Decision) -> FindingVerdict:
    return OF_MEMORY.get(found.verdict, found.verdict) if kind == "memory" else found.verdict
