"""What other counters say of the same blocks, their share of our ledger, and the operators that they miss.

A tool reports one number. Which operators are not in it follows from the ledger: those whose MACs, taken together,
are what the number lacks.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, combinations

from bench.records import Operator, ToolCount
from reports.model import (
    GIGA,
    PERCENT,
    UNMEASURED,
    Chapter,
    Column,
    Frame,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    predicted_value,
    rows_of_experiment,
)

# A tool may add a little that is no matrix work (norms, pooling), or count a bias as another does not.
TOLERANCE = 0.01
PER_MAC = {"MAC": 1, "FLOP": 2}
ATTENTION = "scaled_dot_product_attention"
NOTES = (
    "Each tool counts one real call in inference as its documentation says; FLOPs are halved into MACs.",
    "Ours is the matrix work of the ledger; a tool that adds norms and pooling comes out above it.",
)


def counter_tables(frame: Frame) -> tuple[Table, ...]:
    """Three tables: GMACs by tool, their shares of ours, and the tools; none where no tool was asked."""
    asked = [row for row in rows_of_experiment(frame, "counters") if row["rivals"]]
    rows = list({row["axes"]["block"]: row for row in asked}.values())
    tools = tuple(dict.fromkeys(rival.tool for row in rows for rival in row["rivals"]))
    if not rows:
        return ()
    return _counts(rows, tools), _shares(rows, tools), _tools(rows, tools)


def counted_macs(rival: ToolCount) -> float | None:
    """The tool's number as MACs."""
    return None if rival.reported is None else rival.reported / PER_MAC[rival.unit]


def missed_operators(ledger: Sequence[Operator], macs: float) -> tuple[str, ...] | None:
    """Operators whose MACs make up what a count lacks; None where no set of them does, within 1 % of the whole.

    Args:
        ledger: ours, of the same call.
        macs: what the tool counted.
    """
    rows = [row for row in ledger if row.macs]
    total = sum(row.macs for row in rows)
    sets = chain.from_iterable(combinations(rows, size) for size in range(len(rows) + 1))
    lack, found = min(
        ((abs(total - macs - sum(row.macs for row in chosen)), chosen) for chosen in sets),
        key=lambda pair: pair[0],
    )
    return tuple(_plain(row.name) for row in found) if lack <= TOLERANCE * total else None


def _plain(operator: str) -> str:
    name = operator.removeprefix("aten.")
    return ATTENTION if "scaled_dot_product" in name else name


def _missed(row: Row, macs: float) -> tuple[str, ...] | None:
    names = missed_operators(row["ledger"], macs)
    if names is None or ":sdpa" not in str(row["axes"]["block"]):
        return names
    # On meta tensors, where the ledger is taken, fused attention is its two products.
    return tuple(ATTENTION if name == "bmm" else name for name in names)


def _counts(rows: Sequence[Row], tools: Sequence[str]) -> Table:
    return _table(
        rows,
        tools,
        name="counters",
        title="What other tools count",
        columns=[Column(tool, "GMAC", 2, GIGA, "macs") for tool in tools],
        ours=True,
    )


def _shares(rows: Sequence[Row], tools: Sequence[str]) -> Table:
    return _table(
        rows,
        tools,
        name="counters-shares",
        title="What other tools count, as a share of our ledger",
        columns=[Column(tool, "%", 1, PERCENT, "share") for tool in tools],
        ours=False,
    )


def _table(
    rows: Sequence[Row],
    tools: Sequence[str],
    *,
    name: str,
    title: str,
    columns: Sequence[Column],
    ours: bool,
) -> Table:
    first = (Column("block", align="left"), Column("size", align="left"))
    own = (Column("ours", "GMAC", 2, GIGA, "macs"),) if ours else ()
    value = _macs if ours else _share
    return Table(
        name=name,
        title=title,
        columns=(*first, *own, *columns),
        rows=tuple(
            (
                row["axes"]["block"],
                row["axes"]["size"],
                *((predicted_value(row, "macs"),) if ours else ()),
                *(value(row, _of(row, tool)) for tool in tools),
            )
            for row in rows
        ),
        caption=f"{_where(rows)}; one image, float32.",
        notes=NOTES,
    )


def _where(rows: Iterable[Row]) -> str:
    seen = dict.fromkeys(
        f"torch {row['environment'].torch}, Python {row['environment'].python}"
        for row in rows
        if row["environment"]
    )
    return f"Counted with {' and '.join(seen)}"


def _of(row: Row, tool: str) -> ToolCount | None:
    return next((rival for rival in row["rivals"] if rival.tool == tool), None)


def _macs(row: Row, rival: ToolCount | None) -> Value:
    del row
    if rival is None:
        return UNMEASURED
    macs = counted_macs(rival)
    return Mark(f"{rival.tool}: {rival.reason}") if macs is None else macs


def _share(row: Row, rival: ToolCount | None) -> Value:
    value = _macs(row, rival)
    if not isinstance(value, int | float) or not row["macs"]:
        return value if isinstance(value, Mark) else None
    return Interval(value / row["macs"], note=_said(row, value))


def _said(row: Row, macs: float) -> str:
    names = _missed(row, macs)
    if names is None:
        return "no set of operators makes up the difference"
    return f"not counted: {', '.join(names)}" if names else ""


def _tools(rows: Sequence[Row], tools: Sequence[str]) -> Table:
    return Table(
        name="counters-tools",
        title="The tools, and what they miss",
        columns=(
            Column("tool", align="left"),
            Column("version", align="left"),
            Column("says", align="left"),
            Column("least share", "%", 1, PERCENT, "share"),
            Column("of", align="left"),
            Column("not counted", align="left", wide=True),
        ),
        rows=tuple(_tool(rows, tool) for tool in tools),
        caption=f"{_where(rows)}.",
    )


def _tool(rows: Sequence[Row], tool: str) -> tuple[Value, ...]:
    asked = {row["axes"]["block"]: (row, rival) for row in rows if (rival := _of(row, tool))}
    first = next(rival for _, rival in asked.values())
    shares = {
        block: macs / row["macs"]
        for block, (row, rival) in asked.items()
        if row["macs"] and (macs := counted_macs(rival)) is not None
    }
    if not shares:
        return tool, first.version, f"{first.unit}s", Mark(first.reason or ""), None, None
    lacks = dict.fromkeys(
        name
        for row, rival in asked.values()
        if row["ledger"] and (macs := counted_macs(rival)) is not None
        for name in _or_unknown(_missed(row, macs))
    )
    least = min(shares, key=lambda block: shares[block])
    said = ", ".join(lacks) or "nothing of these"
    return tool, first.version, f"{first.unit}s", shares[least], least, said


def _or_unknown(names: tuple[str, ...] | None) -> tuple[str, ...]:
    return ("what no set of operators makes up",) if names is None else names


CHAPTER = Chapter(40, {"counters": counter_tables})
