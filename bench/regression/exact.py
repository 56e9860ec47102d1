"""Exact gates: what has to be equal on any machine, compared between two records of one cell.

Parameters, operators and their MACs, and the predicted bytes come from the dispatch of one call on
fake tensors, and so are equal or not. Outputs are sums of rounded numbers, whose order a library
may change: they have to agree within a tolerance of the number format, stated here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bench import records
from bench.records import Agreement, Amount, Checksum, Finding, FindingVerdict, Operator, Record

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
OUTPUTS = "outputs"
Key = tuple[object, ...]
ExactRow = tuple[str, str, Amount, Amount]


def key_of(record: Record) -> Key:
    """What makes two records records of one cell, whatever its definition is by now."""
    axes = tuple(sorted((name, str(value)) for name, value in record.axes.items()))
    fields = ("experiment", "subject", "size", "batch", "dtype", "mode", "protocol")
    return (*(getattr(record, name) for name in fields), record.implementation, axes)


def compare_records(
    base: Record, head: Record, *, agreement: Agreement | None = None
) -> tuple[Finding, ...]:
    """All exact findings of one cell, by its records before and after.

    `agreement` is how far the outputs themselves differ, where both were at hand; else their
    checksums are compared.
    """
    if base.failure or head.failure:
        return (_runs(base, head),)
    findings = []
    for quantity, unit, before, after in _quantities(base, head):
        numbers = isinstance(before, int | float) and isinstance(after, int | float)
        ratio = after / before if numbers and before else None  # type: ignore[operator]
        verdict: FindingVerdict = "SAME" if before == after else "CHANGED"
        fields = {"unit": unit, "before": before, "after": after, "ratio": ratio}
        if quantity == "MACs":
            fields["reason"] = _uncounted(base, head)
        findings.append(_finding(head, quantity, verdict, **fields))
    return (*findings, _outputs(base, head, agreement))


def _uncounted(base: Record, head: Record) -> str:
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
    verdict: FindingVerdict = "SHOWN" if base.failure and head.failure else "FIXED"
    if head.failure and not base.failure:
        verdict = "FAILED"
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


def _outputs(base: Record, head: Record, agreement: Agreement | None) -> Finding:
    """Outputs themselves where both were at hand, else what the records have of them."""
    sums = base.measures.outputs, head.measures.outputs
    verdict, reason = _agreed(sums, agreement, TOLERANCES[head.dtype])
    before, after = (side[0].mix if side else None for side in sums)
    fields = {"unit": "checksum", "before": before, "after": after, "reason": reason}
    return _finding(head, OUTPUTS, verdict, **fields)


def _agreed(
    sums: tuple[Sequence[Checksum], Sequence[Checksum]],
    agreement: Agreement | None,
    tolerance: float,
) -> tuple[FindingVerdict, str]:
    if agreement is None and not all(sums):
        return "SHOWN", "not compared: too large to be run here, or the records have no checksums"
    error, means = agreement.max_relative_error if agreement else None, ""
    if error is None:
        # Outputs of nothing but zeros have no largest value to compare with.
        (error, why), means = apart(*sums), "their checksums by "
    if error is None:
        return "CHANGED", why
    verdict: FindingVerdict = "SAME" if error <= tolerance else "CHANGED"
    return verdict, f"they differ by {means}{error:.1e} of the largest, allowed are {tolerance:g}"


def apart(base: Sequence[Checksum], head: Sequence[Checksum]) -> tuple[float | None, str]:
    """Largest difference of checksums over the largest output, or None and why there is none."""
    shapes = [[output.shape for output in side] for side in (base, head)]
    if shapes[0] != shapes[1]:
        texts = (" + ".join(map(str, side)) or "no tensor" for side in shapes)
        return None, f"outputs are of other shapes: {' and '.join(texts)}"
    worst = 0.0
    for before, after in zip(base, head, strict=True):
        gaps = [
            abs(getattr(before, name) - getattr(after, name)) for name in ("mean", "spread", "mix")
        ]
        worst = max(worst, max(gaps) / (before.largest or 1.0))
    return worst, ""
