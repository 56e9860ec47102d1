"""Verdicts on time and memory from interleaved comparisons; a pure function of their readings."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bench.analysis import Decision, decide, decide_comparison, rounds_of
from bench.records import CALL_MEMORY, CLOCK_TIMES, ArmReadings, Comparison, Control, Finding

EXPECTED = {"untouched": "SAME", "planted": "SLOWER"}
OF_MEMORY = {"SLOWER": "MORE", "FASTER": "LESS"}


def controls(comparisons: Iterable[Comparison]) -> tuple[Control, ...]:
    """What the comparisons read whose verdict is known."""
    return tuple(_control(comparison) for comparison in comparisons if _is_control(comparison))


def _is_control(comparison: Comparison) -> bool:
    return comparison.gate_role in EXPECTED


def _control(comparison: Comparison) -> Control:
    fields: dict[str, Any] = {"verdict": "INCONCLUSIVE", "reason": _why_unmeasured(comparison)}
    if comparison.rounds:
        fields = _fields(decide_comparison(comparison, comparison.clocks[0]))
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
        if not _is_control(comparison):
            cells.setdefault(comparison.gate_cell, []).append(comparison)
    return tuple(finding for group in cells.values() for finding in _of_cell(group))


def _of_cell(group: Sequence[Comparison]) -> Iterator[Finding]:
    first, repeated = group[0], [other for other in group if other.gate_role == "again"][:1]
    if not first.rounds:
        fields = {"quantity": "time", "kind": "time", "verdict": "UNEXAMINED"}
        reason = f"not measured: {_why_unmeasured(first)}"
        yield Finding.model_validate({"cell": first.gate_cell, "reason": reason, **fields})
    again = {item.quantity: item.verdict for other in repeated for item in _of_rounds(other)}
    for finding in _of_rounds(first):
        if not (repeated and finding.is_worse):
            yield finding
            continue
        verdict = again.get(finding.quantity, "not measured")
        reason = f"{finding.reason}; measured again in new processes: {verdict}"
        kept = finding.verdict if verdict == finding.verdict else "INCONCLUSIVE"
        yield finding.model_copy(update={"verdict": kept, "reason": reason})


def _of_rounds(comparison: Comparison) -> Iterator[Finding]:
    """By the clock that decides, and by the memory where every round has a reading."""
    quantities: list[tuple[str, Any, str, Sequence[ArmReadings]]] = [
        (CLOCK_TIMES[clock], "time", "s", rounds_of(comparison, clock))
        for clock in comparison.clocks[:1]
    ]
    memory = tuple(played.memory for played in comparison.rounds if played.memory)
    if memory and len(memory) == len(comparison.rounds):
        quantities.append((CALL_MEMORY, "memory", "bytes", memory))
    rule = {name: getattr(comparison, name) for name in ("margin", "level", "comparisons")}
    for quantity, kind, unit, rounds in quantities:
        fields = _fields(decide(rounds, **rule))
        if kind == "memory":
            fields["verdict"] = OF_MEMORY.get(fields["verdict"], fields["verdict"])
        for name, side in (("before", "first"), ("after", "second")):
            medians = tuple(statistics.median(getattr(readings, side)) for readings in rounds)
            fields |= {name: statistics.median(medians), f"{name}_rounds": medians}
        fields |= {"cell": comparison.gate_cell, "launches": comparison.second.launches}
        yield Finding(quantity=quantity, kind=kind, unit=unit, **fields)
