"""What other counters say of the same blocks, their share of our ledger, and the operators that they miss.

A tool reports one number. Which operators are not in it follows from the ledger: those whose MACs, taken together,
are what the number lacks.
"""

from collections.abc import Sequence
from itertools import chain, combinations
from typing import Any

from bench.records import Operator, ToolCount
from reports.model import (
    GIGA,
    UNMEASURED,
    Chapter,
    Column,
    Frame,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    percent_column,
    predicted_value,
    rows_of_experiment,
    text_column,
)

# A tool may add a little that is no matrix work (norms, pooling), or count a bias as another does not.
COUNT_TOLERANCE = 0.01
PER_MAC = {"MAC": 1, "FLOP": 2}
ATTENTION = "scaled_dot_product_attention"
NOTES = (
    "Each tool counts one real call in inference as its documentation says; FLOPs are halved into MACs.",
    "Ours is the matrix work of the ledger; a tool that adds norms and pooling comes out above it.",
)


def counter_tables(frame: Frame) -> tuple[Table, ...]:
    """Three tables: GMACs by tool, their shares of ours, and the tools; none where no tool was asked."""
    counted = [row for row in rows_of_experiment(frame, "counters") if row["counters"]]
    rows = list({row["axes"]["block"]: row for row in counted}.values())
    if not rows:
        return ()
    tools = tuple(dict.fromkeys(count.tool for row in rows for count in row["counters"]))
    versions = dict.fromkeys(
        f"torch {row['environment'].torch}, Python {row['environment'].python}"
        for row in rows
        if row["environment"]
    )
    where = f"Counted with {' and '.join(versions)}"
    gmacs = {tool: Column(tool, "GMAC", 2, GIGA, "macs") for tool in ("ours", *tools)}
    common: dict[str, Any] = {"caption": f"{where}; one image, float32.", "notes": NOTES}
    named = (text_column("block"), text_column("size"))
    return (
        Table(
            name="counters",
            title="What other tools count",
            columns=(*named, *gmacs.values()),
            rows=tuple(
                (
                    *_block_name(row),
                    predicted_value(row, "macs"),
                    *(_tool_macs(row, tool) for tool in tools),
                )
                for row in rows
            ),
            **common,
        ),
        Table(
            name="counters-shares",
            title="What other tools count, as a share of our ledger",
            columns=(*named, *(percent_column(tool, 1) for tool in tools)),
            rows=tuple(
                (*_block_name(row), *(_tool_share(row, tool) for tool in tools)) for row in rows
            ),
            **common,
        ),
        Table(
            name="counters-tools",
            title="The tools, and what they miss",
            columns=(
                *map(text_column, ("tool", "version", "says")),
                percent_column("least share", 1),
                text_column("of"),
                text_column("not counted", wide=True),
            ),
            rows=tuple(_tool_row(rows, tool) for tool in tools),
            caption=f"{where}.",
        ),
    )


def counted_macs(count: ToolCount) -> float | None:
    """The tool's number as MACs."""
    return None if count.reported is None else count.reported / PER_MAC[count.unit]


def missed_operators(ledger: Sequence[Operator], macs: float) -> tuple[str, ...] | None:
    """Operators whose MACs make up what a count lacks; None where no set of them does, within 1 % of the whole.

    Args:
        ledger: ours, of the same call.
        macs: what the tool counted.
    """
    rows = [row for row in ledger if row.macs]
    total = sum(row.macs for row in rows)
    sets = chain.from_iterable(combinations(rows, size) for size in range(len(rows) + 1))
    lack, nearest = min(
        ((abs(total - macs - sum(row.macs for row in chosen)), chosen) for chosen in sets),
        key=lambda pair: pair[0],
    )
    return tuple(map(_operator_name, nearest)) if lack <= COUNT_TOLERANCE * total else None


def _operator_name(operator: Operator) -> str:
    name = operator.name.removeprefix("aten.")
    return ATTENTION if "scaled_dot_product" in name else name


def _missed(row: Row, macs: float) -> tuple[str, ...] | None:
    names = missed_operators(row["ledger"], macs)
    if names is None or ":sdpa" not in str(row["axes"]["block"]):
        return names
    # On meta tensors, where the ledger is taken, fused attention is its two products.
    return tuple(ATTENTION if name == "bmm" else name for name in names)


def _block_name(row: Row) -> tuple[Value, Value]:
    return row["axes"]["block"], row["axes"]["size"]


def _tool_count(row: Row, tool: str) -> ToolCount | None:
    return next((count for count in row["counters"] if count.tool == tool), None)


def _tool_macs(row: Row, tool: str) -> float | Mark:
    count = _tool_count(row, tool)
    if count is None:
        return UNMEASURED
    macs = counted_macs(count)
    return Mark(f"{tool}: {count.reason}") if macs is None else macs


def _tool_share(row: Row, tool: str) -> Value:
    macs = _tool_macs(row, tool)
    if isinstance(macs, Mark) or not row["macs"]:
        return macs if isinstance(macs, Mark) else None
    names = _missed(row, macs)
    note = f"not counted: {', '.join(names)}" if names else ""
    if names is None:
        note = "no set of operators makes up the difference"
    return Interval(macs / row["macs"], note=note)


def _tool_row(rows: Sequence[Row], tool: str) -> tuple[Value, ...]:
    counts = [(row, count) for row in rows if (count := _tool_count(row, tool))]
    first = counts[0][1]
    known = [(row, macs) for row, count in counts if (macs := counted_macs(count)) is not None]
    shares = {row["axes"]["block"]: macs / row["macs"] for row, macs in known if row["macs"]}
    start = (tool, first.version, f"{first.unit}s")
    if not shares:
        return *start, Mark(first.reason or ""), None, None
    missed = (_missed(row, macs) for row, macs in known if row["ledger"])
    unknown = ("what no set of operators makes up",)
    lacks = dict.fromkeys(
        name for names in missed for name in (unknown if names is None else names)
    )
    least = min(shares, key=lambda block: shares[block])
    return *start, shares[least], least, ", ".join(lacks) or "nothing of these"


CHAPTER = Chapter(40, {"counters": counter_tables})
