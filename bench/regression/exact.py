"""The exact gates: what has to be equal on any machine, compared between two records of one cell.

Parameters, operators and their MACs, and the predicted bytes come from the dispatch of one call on
meta tensors, and so are equal or not. Outputs are sums of rounded numbers, whose order a library
may change: they have to agree within a tolerance of the number format, stated here.
"""

from collections.abc import Mapping, Sequence

from bench.records import (
    Agreement,
    Amount,
    Checksum,
    Finding,
    FindingVerdict,
    Operator,
    Record,
    cell_name,
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
OUTPUTS = "outputs"
CELL = "cell"
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
    """All exact findings of one cell.

    Args:
        base: its record before.
        head: its record after.
        agreement: how far the outputs themselves differ, where both were at hand; else their
            checksums are compared.
    """
    cell = cell_name(head)
    if base.failure or head.failure:
        return (_runs(base, head),)
    found = [
        Finding(cell=cell, quantity=quantity, kind="exact", **_moved(before, after), unit=unit)  # type: ignore[arg-type]
        for quantity, unit, before, after in _quantities(base, head)
    ]
    return (*found, _outputs(base, head, agreement))


def gone(base: Record) -> Finding:
    """A cell that only the base has."""
    return Finding(
        cell=cell_name(base),
        quantity=CELL,
        kind="exact",
        verdict="CHANGED",
        before="there",
        after="gone",
        reason="the head does not have it",
    )


def new(head: Record) -> Finding:
    """A cell that only the head has."""
    return Finding(
        cell=cell_name(head),
        quantity=CELL,
        kind="exact",
        verdict="NEW",
        before="not there",
        after="there",
        reason="the base does not have it",
    )


def _runs(base: Record, head: Record) -> Finding:
    verdict: FindingVerdict = "SHOWN" if base.failure and head.failure else "FIXED"
    if head.failure and not base.failure:
        verdict = "FAILED"
    reasons = {
        side: one.failure.reason
        for side, one in (("base", base), ("head", head))
        if one.failure is not None
    }
    return Finding(
        cell=cell_name(head),
        quantity="runs",
        kind="exact",
        verdict=verdict,
        before=base.failure.kind if base.failure else "yes",
        after=head.failure.kind if head.failure else "yes",
        reason="; ".join(f"{side}: {reason}" for side, reason in reasons.items()),
    )


def _quantities(base: Record, head: Record) -> list[ExactRow]:
    """Name, unit and both values; those of single operators only where they differ."""
    one, other = base.measures, head.measures
    rows: list[ExactRow] = []
    if one.counts and other.counts:
        rows += [
            ("parameters", "", one.counts.parameters, other.counts.parameters),
            ("buffers", "", one.counts.buffers, other.counts.buffers),
            ("MACs", "MAC", one.counts.macs, other.counts.macs),
            *_operators(one.counts.ledger, other.counts.ledger),
        ]
    if one.predicted and other.predicted:
        before, after = one.predicted, other.predicted
        added = before.increment_bytes, after.increment_bytes
        rows += [
            ("predicted peak", "bytes", before.peak_bytes, after.peak_bytes),
            ("predicted memory of a call", "bytes", *added),
        ]
    return rows


def _operators(base: Sequence[Operator], head: Sequence[Operator]) -> list[ExactRow]:
    """The list of operators as one row, and then what moved in it."""
    sides = [{one.name: one for one in side} for side in (base, head)]
    calls = [sum(one.calls for one in side) for side in (base, head)]
    rows: list[ExactRow] = [("calls of operators", "calls", calls[0], calls[1])]
    for name in sorted({*sides[0], *sides[1]}):
        before, after = (side.get(name) for side in sides)
        counted = before.calls if before else 0, after.calls if after else 0
        worked = before.macs if before else 0, after.macs if after else 0
        if counted[0] != counted[1]:
            rows.append((f"calls of {name}", "calls", *counted))
        if worked[0] != worked[1]:
            rows.append((f"MACs of {name}", "MAC", *worked))
    return rows


def _moved(before: Amount, after: Amount) -> dict[str, object]:
    numbers = isinstance(before, int | float) and isinstance(after, int | float)
    ratio = after / before if numbers and before else None  # type: ignore[operator]
    verdict: FindingVerdict = "SAME" if before == after else "CHANGED"
    return {"before": before, "after": after, "verdict": verdict, "ratio": ratio}


def _outputs(base: Record, head: Record, agreement: Agreement | None) -> Finding:
    """Outputs themselves where both were at hand, else what the records hold of them."""
    sums = base.measures.outputs, head.measures.outputs
    verdict, reason = _agreed(sums, agreement, TOLERANCES[head.dtype])
    before, after = (side[0].mix if side else None for side in sums)
    return Finding(
        cell=cell_name(head),
        quantity=OUTPUTS,
        kind="exact",
        verdict=verdict,
        unit="checksum",
        before=before,
        after=after,
        reason=reason,
    )


def _agreed(
    sums: tuple[Sequence[Checksum], Sequence[Checksum]],
    agreement: Agreement | None,
    tolerance: float,
) -> tuple[FindingVerdict, str]:
    if agreement is None and not all(sums):
        return "SHOWN", "not compared: too large to be run here, or the records have no checksums"
    error, by = agreement.max_relative_error if agreement else None, ""
    if error is None:
        # Outputs of nothing but zeros have no largest value to compare with.
        (error, why), by = apart(*sums), "their checksums by "
    if error is None:
        return "CHANGED", why
    verdict: FindingVerdict = "SAME" if error <= tolerance else "CHANGED"
    return verdict, f"they differ by {by}{error:.1e} of the largest, allowed are {tolerance:g}"


def apart(base: Sequence[Checksum], head: Sequence[Checksum]) -> tuple[float | None, str]:
    """Largest difference of checksums over the largest output, or None and why there is none."""
    shapes = [[one.shape for one in side] for side in (base, head)]
    if shapes[0] != shapes[1]:
        said = (" + ".join(map(str, side)) or "no tensor" for side in shapes)
        return None, f"outputs are of other shapes: {' and '.join(said)}"
    worst = 0.0
    for before, after in zip(base, head, strict=True):
        gaps = [
            abs(getattr(before, name) - getattr(after, name)) for name in ("mean", "spread", "mix")
        ]
        worst = max(worst, max(gaps) / (before.largest or 1.0))
    return worst, ""
