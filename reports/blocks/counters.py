"""What other counters say of the same blocks, their share of our ledger, and the operators that they miss.

A tool reports one number. Which operators are not in it follows from the ledger: those whose MACs, taken together,
are what the number lacks.
"""

from collections.abc import Sequence
from itertools import chain, combinations
from operator import itemgetter
from typing import Any

from bench.records import Operator, ToolCount
from reports import model
from reports.model import Chapter, Column, Frame, Incomplete, Interval, Mark, Row, Table, Value

# A tool may add a little that is no matrix work (norms, pooling), or count a bias as another does not.
COUNT_TOLERANCE = 0.01
PER_MAC = {"MAC": 1, "FLOP": 2}
ATTENTION = "scaled_dot_product_attention"
NOTES = (
    "Each tool counts one real call in inference as its documentation says; FLOPs are halved into MACs.",
    "Ours is the matrix work of the ledger; a tool that adds norms and pooling comes out above it.",
)


def counter_tables(frame: Frame) -> tuple[Table, ...]:
    """Three tables: GMACs by tool, their shares of ours, and the tools; none where no tool counted."""
    counted = [row for row in model.rows_of_experiment(frame, "counters") if row["counters"]]
    rows = [
        {**row, "counted": {count.tool: _counted_macs(count) for count in row["counters"]}}
        for row in {row["axes"]["block"]: row for row in counted}.values()
    ]
    if not rows:
        return ()
    tools: dict[str, ToolCount] = {}
    for count in (count for row in rows for count in row["counters"]):
        tools.setdefault(count.tool, count)
    versions = dict.fromkeys(
        f"torch {row['environment'].torch}, Python {row['environment'].python}"
        for row in rows
        if row["environment"]
    )
    where = f"Counted with {' and '.join(versions)}"
    common: dict[str, Any] = {"caption": f"{where}; one image, float32.", "notes": NOTES}
    named = (model.text_column("block"), model.text_column("size"))
    gmacs = (Column(tool, "GMAC", 2, model.GIGA, "macs") for tool in ("ours", *tools))
    counts, shares = [], []
    for row in rows:
        name = (row["axes"]["block"], row["axes"]["size"])
        macs = [row["counted"].get(tool, model.UNMEASURED) for tool in tools]
        counts.append((*name, model.counted_value(row, "macs"), *macs))
        shares.append((*name, *(_ledger_share(row, number) for number in macs)))
    return (
        Table("counters", "What other tools count", (*named, *gmacs), rows=tuple(counts), **common),
        Table(
            "counters-shares",
            "What other tools count, as a share of our ledger",
            (*named, *(model.percent_column(tool, 1) for tool in tools)),
            rows=tuple(shares),
            **common,
        ),
        Table(
            "counters-tools",
            "Operators that other tools miss",
            (
                *map(model.text_column, ("tool", "version", "says")),
                *(model.percent_column("least share", 1), model.text_column("of")),
                model.text_column("not counted", wide=True),
            ),
            rows=tuple(_tool_row(rows, first) for first in tools.values()),
            caption=f"{where}.",
        ),
    )


def missed_operators(ledger: Sequence[Operator], macs: float) -> tuple[str, ...] | None:
    """Operators whose MACs make up what a count lacks; None where no set of them does, within 1 % of the whole."""
    rows = [row for row in ledger if row.macs]
    total = sum(row.macs for row in rows)
    sets = chain.from_iterable(combinations(rows, size) for size in range(len(rows) + 1))
    lack, nearest = min(
        ((abs(total - macs - sum(row.macs for row in chosen)), chosen) for chosen in sets),
        key=itemgetter(0),
    )
    if lack > COUNT_TOLERANCE * total:
        return None
    names = (operator.name.removeprefix("aten.") for operator in nearest)
    return tuple(ATTENTION if "scaled_dot_product" in name else name for name in names)


def _missed(row: Row, macs: float) -> tuple[str, ...] | None:
    names = missed_operators(row["ledger"], macs)
    if names is None or ":sdpa" not in str(row["axes"]["block"]):
        return names
    # On meta tensors, where the ledger is taken, fused attention is its two products.
    return tuple(ATTENTION if name == "bmm" else name for name in names)


def _counted_macs(count: ToolCount) -> float | Mark:
    if count.reported is None:
        return Mark(f"{count.tool}: {count.reason}")
    return count.reported / PER_MAC[count.unit]


def _ledger_share(row: Row, macs: float | Mark) -> Value:
    if isinstance(macs, Mark) or not row["macs"]:
        return macs if isinstance(macs, Mark) else None
    if isinstance(share := model.ratio_of(macs, model.counted_value(row, "macs")), Incomplete):
        return share
    names = _missed(row, macs)
    unexplained = "" if names is not None else "no set of operators makes up the difference"
    note = f"not counted: {', '.join(names)}" if names else unexplained
    return Interval(macs / row["macs"], note=note)


def _tool_row(rows: Sequence[Row], first: ToolCount) -> tuple[Value, ...]:
    start = (first.tool, first.version, f"{first.unit}s")
    counts = [(row, row["counted"].get(first.tool)) for row in rows]
    known = [(row, macs) for row, macs in counts if isinstance(macs, float)]
    shares = {row["axes"]["block"]: macs / row["macs"] for row, macs in known if row["macs"]}
    if not shares:
        return *start, Mark(first.reason or ""), None, None
    lacks: dict[str, None] = {}
    for row, macs in known:
        names = _missed(row, macs) if row["ledger"] else ()
        lacks |= dict.fromkeys(("what no set of operators makes up",) if names is None else names)
    least = min(shares, key=lambda block: shares[block])
    return *start, shares[least], least, ", ".join(lacks) or "nothing of these"


CHAPTER = Chapter(40, {"counters": counter_tables})
