"""Verdicts on time and memory from interleaved comparisons; a pure function of their readings."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bench.analysis import (
    EXPECTED,
    Decision,
    decide,
    decide_comparison,
    decide_controls,
    memory_of,
    rounds_of,
    rule_of,
)
from bench.records import CALL_MEMORY, CLOCK_TIMES, ArmReadings, Comparison, Control, Finding

OF_MEMORY = {"SLOWER": "MORE", "FASTER": "LESS"}
NOT_WORSE = ("SAME", "FASTER", "LESS")


def controls(comparisons: Iterable[Comparison]) -> tuple[Control, ...]:
    """What the arms read whose verdict is known: beside a cell's, or of old in comparisons of their own."""
    return tuple(control for comparison in comparisons for control in _controls(comparison))


def _controls(comparison: Comparison) -> Iterator[Control]:
    role, decisions = comparison.gate_role, dict[str, Decision]()
    if comparison.rounds:
        one = comparison.clocks[0]
        of_old = role in EXPECTED
        decisions = (
            {role: decide_comparison(comparison, one)} if of_old else decide_controls(comparison)
        )
    fields = {name: _fields(decision) for name, decision in decisions.items()}
    if role in EXPECTED and not fields:
        reason = _why_unmeasured(comparison)
        fields = {role: {"verdict": "INCONCLUSIVE", "reason": reason}}
    for name, each in fields.items():
        about = {"name": name, "cell": comparison.gate_cell, "expected": EXPECTED[name]}
        yield Control.model_validate(about | each)


def _fields(decision: Decision) -> dict[str, Any]:
    ratio = {"ratio": decision.ratio.median, "low": decision.ratio.low, "high": decision.ratio.high}
    return {"verdict": decision.verdict, "reason": decision.reason, **ratio}


def _why_unmeasured(comparison: Comparison) -> str:
    return comparison.failure.reason if comparison.failure else "there are no rounds"


def findings(comparisons: Sequence[Comparison]) -> tuple[Finding, ...]:
    """Time and memory of the cells; one that was measured again is worse only if both times say so.

    Nothing is said of one whose own controls do not hold.
    """
    cells: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        is_control = comparison.gate_role in EXPECTED
        if not is_control and all(control.holds for control in _controls(comparison)):
            cells.setdefault(comparison.gate_cell, []).append(comparison)
    return tuple(finding for group in cells.values() for finding in _of_cell(group))


def _of_cell(group: Sequence[Comparison]) -> Iterator[Finding]:
    first, repeated = group[0], [other for other in group if other.gate_role == "again"][:1]
    if not first.rounds:
        fields = {"quantity": "time", "kind": "time", "verdict": "UNEXAMINED"}
        reason = f"not measured: {_why_unmeasured(first)}"
        yield Finding.model_validate({"cell": first.gate_cell, "reason": reason, **fields})
    again = {item.quantity: item for other in repeated for item in _of_rounds(other)}
    for finding in _of_rounds(first):
        if not (repeated and finding.is_worse):
            yield finding
            continue
        other = again.get(finding.quantity)
        verdict = other.verdict if other else "not measured"
        reason = f"{finding.reason}; measured again in new processes: {verdict}"
        update: dict[str, Any] = {"reason": reason}
        if verdict != finding.verdict:
            not_worse = other is not None and (other.not_worse or other.verdict in NOT_WORSE)
            update |= {"verdict": "INCONCLUSIVE", "not_worse": not_worse, "was_worse": True}
        yield finding.model_copy(update=update)


def _of_rounds(comparison: Comparison) -> Iterator[Finding]:
    """By the clock that decides, and by the memory where every round has a reading."""
    quantities: list[tuple[str, Any, str, Sequence[ArmReadings]]] = [
        (CLOCK_TIMES[clock], "time", "s", rounds_of(comparison, clock))
        for clock in comparison.clocks[:1]
    ]
    if memory := memory_of(comparison):
        quantities.append((CALL_MEMORY, "memory", "bytes", memory))
    yield from _of_waiting(comparison)
    for quantity, kind, unit, rounds in quantities:
        decision = decide(rounds, **rule_of(comparison))
        fields = _fields(decision)
        if decision.is_below_margin and decision.verdict == "INCONCLUSIVE":
            below = f"{decision.within[0]} of {decision.rounds} rounds below the upper margin"
            fields |= {"not_worse": True, "reason": f"{decision.reason}; not worse: {below}"}
        if kind == "memory":
            fields["verdict"] = OF_MEMORY.get(fields["verdict"], fields["verdict"])
        for name, side in (("before", "first"), ("after", "second")):
            medians = tuple(statistics.median(getattr(readings, side)) for readings in rounds)
            fields |= {name: statistics.median(medians), f"{name}_rounds": medians}
        fields |= {"cell": comparison.gate_cell, "launches": comparison.second.launches}
        yield Finding(quantity=quantity, kind=kind, unit=unit, **fields)


def _of_waiting(comparison: Comparison) -> Iterator[Finding]:
    """By the wall clock, if the head is slower by that one alone: it waits, or has given up threads."""
    if "wall" not in comparison.clocks[1:]:
        return
    first, wall = (decide_comparison(comparison, clock) for clock in (comparison.clocks[0], "wall"))
    if wall.verdict == "SLOWER" != first.verdict:
        name = CLOCK_TIMES[comparison.clocks[0]]
        fields = _fields(wall) | {
            "verdict": "INCONCLUSIVE",
            "reason": f"slower by the wall clock ({wall.reason}) and not by {name}, which decides: does it wait?",
        }
        yield Finding.model_validate(
            {
                "cell": comparison.gate_cell,
                "quantity": CLOCK_TIMES["wall"],
                "kind": "time",
                **fields,
            }
        )
