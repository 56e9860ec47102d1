"""Exact gates: what has to be equal on any machine, compared between two records of one cell.

Parameters, operators and their MACs, and the predicted bytes come from the dispatch of one call on
fake tensors, and so are equal or not. Outputs are sums of rounded numbers, whose order a library
may change: they have to agree within a tolerance of the number format, stated here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench import records
from bench.records import (
    Amount,
    CallsAgreement,
    Checksum,
    Finding,
    FindingVerdict,
    Operator,
    Record,
    TensorAgreement,
)

# Largest difference over the largest value. float32: 100 units in the last place, a sum in another
# order differs by ten; the others follow from their mantissas.
TOLERANCES: Mapping[str, float] = {
    "float64": 1e-12,
    "float32": 1e-5,
    "tf32": 2e-2,
    "float16": 2e-2,
    "bfloat16": 1e-1,
    "autocast-float16": 2e-2,
    "autocast-bfloat16": 1e-1,
}
# Gradients are sums over all places, and some are zero but for rounding.
GRADIENT_SLACK = 10
MOST_NAMED = 3
OUTPUTS = "outputs"
OTHER = "outputs of other inputs"
AGAIN = "outputs of a later call"
TRAINING = "outputs in training"
GRADIENTS = "gradients"
LEFT = "what a call leaves changed"
Key = tuple[object, ...]
ExactRow = tuple[str, str, Amount, Amount]


def key_of(record: Record) -> Key:
    """What makes two records records of one cell, whatever its definition is by now."""
    axes = tuple(sorted((name, str(value)) for name, value in record.axes.items()))
    fields = ("experiment", "subject", "size", "batch", "dtype", "mode", "protocol")
    return (*(getattr(record, name) for name in fields), record.implementation, axes)


def compare_records(
    base: Record, head: Record, *, agreement: CallsAgreement | None = None
) -> tuple[Finding, ...]:
    """All exact findings of one cell, by its records before and after.

    `agreement` is how far apart the outputs themselves are, where both were at hand; else their checksums are
    compared.
    """
    findings = []
    if base.failure or head.failure:
        findings.append(_runs(base, head))
        if agreement is None:
            return tuple(findings)
    disputes = _disputes(base, head)
    for quantity, unit, before, after in _quantities(base, head):
        numbers = isinstance(before, int | float) and isinstance(after, int | float)
        ratio = after / before if numbers and before else None  # type: ignore[operator]
        verdict: FindingVerdict = "SAME" if before == after else "CHANGED"
        fields = {"unit": unit, "before": before, "after": after, "ratio": ratio}
        if quantity == "MACs":
            reasons = (disputes, _uncounted_operators(base, head))
            fields["reason"] = "; ".join(filter(None, reasons))
        findings.append(_finding(head, quantity, verdict, **fields))
    return (*findings, *_outputs(base, head, agreement))


def _disputes(base: Record, head: Record) -> str:
    """Where a side's other counters disagree with the count that is compared."""
    sides = {"base": base.measures.counts, "head": head.measures.counts}
    return "; ".join(
        f"{side}: {counts.disputed}" for side, counts in sides.items() if counts and counts.disputed
    )


def _uncounted_operators(base: Record, head: Record) -> str:
    """Operators that are in no count of either side."""
    counts = (record.measures.counts for record in (base, head))
    notes = dict.fromkeys(item.uncounted for item in counts if item and item.uncounted)
    return "; ".join(notes)


def _finding(record: Record, quantity: str, verdict: FindingVerdict, **fields: Any) -> Finding:  # noqa: ANN401
    cell = records.cell_name(record)
    return Finding(cell=cell, quantity=quantity, kind="exact", verdict=verdict, **fields)


def gone(base: Record) -> Finding:
    """A cell that only the base has."""
    reason = "the head does not have it"
    return _finding(base, "cell", "CHANGED", before="there", after="gone", reason=reason)


def new(head: Record) -> Finding:
    """A cell that only the head has."""
    reason = "the base does not have it"
    return _finding(head, "cell", "NEW", before="not there", after="there", reason=reason)


def _runs(base: Record, head: Record) -> Finding:
    verdict: FindingVerdict = "FIXED"
    if head.failure:
        verdict = "UNEXAMINED" if base.failure else "FAILED"
    elif base.failure and base.failure.kind == "import":
        verdict = "UNEXAMINED"  # for want of a file that is not in the repository, most likely
    failures = {"base": base.failure, "head": head.failure}
    reasons = (f"{side}: {failure.reason}" for side, failure in failures.items() if failure)
    before, after = (failure.kind if failure else "yes" for failure in failures.values())
    return _finding(head, "runs", verdict, before=before, after=after, reason="; ".join(reasons))


def _quantities(base: Record, head: Record) -> list[ExactRow]:
    """Name, unit and both values; those of single operators only where they differ."""
    rows: list[ExactRow] = []
    before, after = base.measures.counts, head.measures.counts
    if before and after:
        rows += [
            ("parameters", "", before.parameters, after.parameters),
            ("buffers", "", before.buffers, after.buffers),
            ("MACs", "MAC", before.macs, after.macs),
            *_operators(before.ledger, after.ledger),
        ]
    old, new = base.measures.predicted, head.measures.predicted
    if old and new:
        increments = (old.increment_bytes, new.increment_bytes)
        rows += [
            ("predicted peak", "bytes", old.peak_bytes, new.peak_bytes),
            ("predicted memory of a call", "bytes", *increments),
        ]
    return rows


def _operators(base: Sequence[Operator], head: Sequence[Operator]) -> list[ExactRow]:
    """The list of operators as one row, and then what moved in it."""
    sides = [{operator.name: operator for operator in ledger} for ledger in (base, head)]
    total, later = (sum(operator.calls for operator in ledger) for ledger in (base, head))
    rows: list[ExactRow] = [("calls of operators", "calls", total, later)]
    for name in sorted({*sides[0], *sides[1]}):
        pair = [side.get(name) for side in sides]
        for text, unit in (("calls", "calls"), ("MACs", "MAC")):
            before, after = (getattr(operator, text.lower(), 0) for operator in pair)
            if before != after:
                rows.append((f"{text} of {name}", unit, before, after))
    return rows


def _outputs(base: Record, head: Record, agreement: CallsAgreement | None) -> Iterator[Finding]:
    """Outputs themselves where both were at hand, else what the records have of them."""
    sides = base.measures.outputs, head.measures.outputs
    tolerance = TOLERANCES[head.dtype]
    mixes = [{item.name: item.mix for item in _named(side)} for side in sides]
    if agreement is None and not all(sides):
        reason = "not compared: too large to be run here, or the records have no checksums"
        before, after = (next(iter(side.values()), None) for side in mixes)
        fields: dict[str, Any] = {"before": before, "after": after, "reason": reason}
        yield _finding(head, OUTPUTS, "SHOWN", unit="checksum", **fields)
        return
    agreement = agreement or CallsAgreement(groups={OUTPUTS: apart(*sides)})
    remark = agreement.remark
    outputs = agreement.groups.get(OUTPUTS, ())
    for item in outputs:
        verdict, reason = _judged(item, tolerance)
        before, after = (side.get(item.name) for side in mixes)
        fields = {"unit": "checksum", "before": before, "after": after}
        fields["reason"] = f"{reason}; {remark}" if remark and verdict == "CHANGED" else reason
        yield _finding(head, f"{OUTPUTS} {item.name}".strip(), verdict, **fields)
    if not outputs:
        reason = "not compared: no side returns a tensor"
        yield _finding(head, OUTPUTS, "UNEXAMINED", unit="checksum", reason=reason)
    returned = dict(zip(("before", "after"), agreement.structures, strict=True))
    if returned["before"] != returned["after"]:
        reason = "what the outputs are returned in"
        yield _finding(head, "structure of outputs", "CHANGED", **returned, reason=reason)
    for group in (OTHER, AGAIN, TRAINING, GRADIENTS, LEFT):
        if agreement.groups.get(group):
            slack = GRADIENT_SLACK if group == GRADIENTS else 1
            finding = _finding_of_group(head, group, agreement.groups[group], slack * tolerance)
            if group != OTHER or finding.verdict == "CHANGED":
                yield finding


def _finding_of_group(
    head: Record, group: str, items: Sequence[TensorAgreement], tolerance: float
) -> Finding:
    """One finding on many tensors, with those that are furthest apart."""
    judged = [(item, *_judged(item, tolerance)) for item in items]
    changed = [(item, reason) for item, verdict, reason in judged if verdict == "CHANGED"]
    if not changed:
        largest = max(item.max_relative_error or 0.0 for item in items)
        reason = f"{len(items)} tensors, which differ by up to {largest:.1e} of their largest value"
        return _finding(head, group, "SAME", reason=f"{reason}, allowed are {tolerance:g}")
    changed.sort(key=lambda pair: _agreement_error(pair[0]), reverse=True)
    worst = _agreement_error(changed[0][0])
    texts = [f"{item.name or 'output'} {reason}" for item, reason in changed[:MOST_NAMED]]
    if len(changed) > MOST_NAMED:
        texts.append(f"{len(changed) - MOST_NAMED} of {len(items)} more")
    after = worst if math.isfinite(worst) else texts[0]
    return _finding(head, group, "CHANGED", before=0.0, after=after, reason="; ".join(texts))


def _agreement_error(item: TensorAgreement) -> float:
    return math.inf if item.max_relative_error is None else item.max_relative_error


def _judged(item: TensorAgreement, tolerance: float) -> tuple[FindingVerdict, str]:
    if item.max_relative_error is None:
        return "CHANGED", item.reason
    verdict: FindingVerdict = "SAME" if item.max_relative_error <= tolerance else "CHANGED"
    reason = f"differs by {item.max_relative_error:.1e} of the largest, allowed are {tolerance:g}"
    return verdict, "; ".join(filter(None, (reason, item.reason)))


def apart(base: Sequence[Checksum], head: Sequence[Checksum]) -> tuple[TensorAgreement, ...]:
    """How far outputs are apart by their checksums: the largest difference over the base's largest value."""
    sides = [{item.name: item for item in _named(side)} for side in (base, head)]
    return tuple(
        _apart(name, *(side.get(name) for side in sides))
        for name in dict.fromkeys([*sides[0], *sides[1]])
    )


def _apart(name: str, base: Checksum | None, head: Checksum | None) -> TensorAgreement:
    forms = [_form(item) for item in (base, head)]
    if base and head and not (base.form and head.form):  # old records have no types
        forms = [str(item.shape) for item in (base, head)]
    if base is None or head is None or forms[0] != forms[1]:
        reason = f"is {forms[0]} in the base and {forms[1]} in the head"
        return TensorAgreement(name=name, reason=reason)
    if base.not_finite != head.not_finite:
        counts = f"{base.not_finite} and {head.not_finite}"
        return TensorAgreement(name=name, reason=f"is not finite at {counts} places")
    gaps = [abs(getattr(base, name) - getattr(head, name)) for name in ("mean", "spread", "mix")]
    error = max(gaps) / (base.largest or head.largest or 1.0)
    return TensorAgreement(name=name, max_relative_error=error, reason="by their checksums")


def _form(item: Checksum | None) -> str:
    return (item.form or str(item.shape)) if item else "nothing"


def _named(outputs: Sequence[Checksum]) -> Sequence[Checksum]:
    """Old records have several outputs without names, which a tuple had."""
    if len({item.name for item in outputs}) == len(outputs):
        return outputs
    return [item.model_copy(update={"name": f"[{at}]"}) for at, item in enumerate(outputs)]
