"""Floors of blocks at the ceilings that a machine reached itself, from their ledgers (`bench.analysis.roofline`)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from operator import itemgetter
from typing import Any

from bench import analysis
from bench.analysis import Ceilings, Datasheet, Floor, policy_of
from bench.estimate import Estimate
from bench.records import Operator, OperatorTime
from reports import model
from reports.model import Column, Field, Interval, Mark, Row, Table

CEILINGS = "ceilings"
NOT_ITS_OWN = Mark(
    "compiled or exported: its operators are fused, and the ledger is that of the module it was made from"
)
NOT_COUNTED = Mark(
    "not counted: its work has no formula, so that of its time the bytes alone are known", "?"
)
FLOOR = (
    "The floor adds up the operators, each the longest of three times: its products at the peak of their number "
    "format, its other operations at that of float32, its bytes at the speed of the copy. It knows no launches."
)
SHARE = (
    "A share is floor over time. It passes 100 % where a cache holds what an earlier operator left, or where "
    "others slowed the machine while its ceilings were taken."
)
OPERATOR_TIME = "Times of operators are medians of the profiler's runs."
# The operators of our kernels (`ann.kernels`) that are a pass over the map each; whatever else runs is the rest.
PASSES = {"ann.project_tiles": "pass 1", "ann.attend_tiles": "pass 2"}
REST, WHOLE = "the rest", "all"
PARTS = ("pass 1", REST, "pass 2", WHOLE)
PARTED = (
    "Pass 1 projects the map and sums it over the pyramid's cells, pass 2 is attention and what follows; the rest "
    "is of anchors alone, a bottleneck's product with the map, in training the way back too. Of sums of tiles empty "
    "places count."
)
UNCACHED = (
    "A floor leaves out what the second cache may hold of each operator's bytes; uncached, all of them come from "
    "memory or go to it."
)
FLOOR_FIELD = Field(model.time_column("floor", "", 3), itemgetter("floor"), note=FLOOR)
# What the profiler calls an operator of the ledger, beside its own name.
PROFILER = {"relu": ("clamp_min",), "clone": ("copy_",), "mean": ("sum", "div_")}
CONVOLUTIONS = ("convolution", "convolution_backward")


def is_fused(row: Row) -> bool:
    """Whether what runs is not what the ledger lists."""
    return str(row["axes"].get("block", "")).rpartition(":")[2] in analysis.FUSING


def row_floors(row: Row, reached: Ceilings) -> tuple[Floor, ...] | Mark:
    """Floor of each operator of the row's ledger, or why there are none."""
    if is_fused(row):
        return NOT_ITS_OWN
    if not row["ledger"]:
        return Mark("the records hold no ledger of this row")
    try:
        return analysis.floors(row["ledger"], reached, policy_of(row["dtype"], row["environment"]))
    except ValueError as error:
        return Mark(str(error))


def floor_entries(row: Row, reached: Ceilings) -> dict[str, Any]:
    """The floors of a row's operators, their sum in seconds and what most of it is spent on; or why there are none."""
    lowest = row_floors(row, reached)
    if isinstance(lowest, Mark):
        return {"floors": lowest, "floor": lowest, "bound": None}
    spent: dict[str, float] = defaultdict(float)
    for floor in lowest:
        spent[floor.bound] += floor.time_s
    bound = max(spent, key=lambda name: spent[name], default="")
    whole_s = sum(floor.time_s for floor in lowest)
    return {"floors": lowest, "floor": model.marked(whole_s, row), "bound": bound}


def operator_table(
    row: Row, lowest: Sequence[Floor], estimates: Sequence[Estimate] = (), *, name: str
) -> Table:
    """Each operator of a block: its work, floor, estimate on a known GPU and, where it was profiled, its time."""
    whole_s = sum(floor.time_s for floor in lowest)
    profiled = row["operations"] or ()
    lines = [
        {
            "operator": floor.name.removeprefix("aten."),
            "work": work,
            "floor": floor.time_s,
            "part": floor.time_s / whole_s,
            "bound": likely.bound if likely else floor.bound,
            "estimate": likely and Interval(likely.time_s, likely.low_s, likely.high_s),
            "time": operator_time(floor.name, profiled),
        }
        for floor, work, likely in zip_longest(lowest, row["ledger"], estimates)
        if floor.time_s
    ]
    return model.tabulate(
        sorted(lines, key=itemgetter("part"), reverse=True),
        OPERATOR_FIELDS,
        name=name,
        title=f"Roofline by operator: {row['axes']['block']} at {row['size']} on {row['device_name']}",
        caption=model.measuring_conditions([row]),
    )


def operator_flops(work: Operator) -> int | Mark:
    """FLOPs of an operator of a ledger, or that they are not known."""
    return NOT_COUNTED if work.status == "uncounted" else work.flops


OPERATOR_FIELDS = (
    Field(model.text_column("operator"), itemgetter("operator")),
    Field(Column("calls"), lambda row: row["work"].calls),
    Field(Column("FLOPs", "G", 2, model.GIGA), lambda row: operator_flops(row["work"])),
    Field(Column("moved", "MiB", 1, model.MEBI, "bytes"), lambda row: row["work"].moved_bytes),
    FLOOR_FIELD,
    Field(model.percent_column("of the floor", 1), itemgetter("part")),
    Field(model.time_column("estimate", "", 3), itemgetter("estimate"), optional=True),
    Field(model.text_column("bound by"), itemgetter("bound")),
    Field(model.time_column(digits=3), itemgetter("time"), optional=True, note=OPERATOR_TIME),
    model.share_field("floor", "time", optional=True, note=SHARE),
)


def operator_time(name: str, profiled: Iterable[OperatorTime]) -> float | None:
    """Seconds that the profiler saw in an operator of the ledger, under whatever names; None if in none."""
    short = name.removeprefix("aten.")
    names = (short.replace(".", "::"), *PROFILER.get(short, ()))
    by_group = short in CONVOLUTIONS  # each backend has a name of its own for it
    spent = [
        analysis.median_interval(operator.samples_s).median
        for operator in profiled
        if operator.samples_s
        and (
            operator.group == "conv" if by_group else operator.name.removeprefix("aten::") in names
        )
    ]
    return sum(spent) if spent else None


def pass_table(rows: Sequence[Row], devices: Sequence[Datasheet]) -> Table | None:
    """Bytes, FLOPs and floors of the passes of our kernels on devices, beside another arm's; None without such rows."""
    counted = [row for row in rows if row["ledger"] and not is_fused(row)]
    ours = {_block_of(row) for row in counted if _has_passes(row)}
    lines = [line for row in counted if _block_of(row) in ours for line in _parts(row)]
    if not lines:
        return None
    fields = [field for device in devices for field in _pass_fields(device)]
    return model.tabulate(
        lines,
        (
            model.axis_field("block"),
            model.axis_field("size"),
            Field(model.text_column("format"), itemgetter("dtype")),
            Field(model.text_column("part"), itemgetter("part")),
            Field(Column("moved", "MiB", 1, model.MEBI, "bytes"), partial(_sum, "moved_bytes")),
            Field(Column("FLOPs", "G", 2, model.GIGA), partial(_sum, "flops")),
            *fields,
        ),
        name="passes",
        title="Floors of kernels for a few anchors by pass, predicted",
        caption="Predicted without execution, from operators, bytes and the devices' datasheets; nothing was measured.",
        notes=(PARTED, UNCACHED, *(f"{device.title}: {device.source}." for device in devices)),
        group_by=(0, 1, 2),
    )


def _block_of(row: Row) -> tuple[Any, ...]:
    name = str(row["axes"]["block"]).rpartition(":")[0] or row["axes"]["block"]
    return name, row["size"], row["dtype"], row["mode"], row["batch"]


def _has_passes(row: Row) -> bool:
    return any(work.name in PASSES for work in row["ledger"])


def _parts(row: Row) -> Iterator[Row]:
    """A row for each part of a call, those of another arm as a whole."""
    parts: dict[str, list[Operator]] = {part: [] for part in PARTS}
    for work in row["ledger"]:
        parts[PASSES.get(work.name, REST)].append(work)
        parts[WHOLE].append(work)
    for part in PARTS if _has_passes(row) else (WHOLE,):
        if parts[part]:
            yield {**row, "part": part, "operators": parts[part]}


def _sum(name: str, row: Row) -> int:
    return sum(getattr(work, name) for work in row["operators"])


def _pass_fields(device: Datasheet) -> Iterator[Field]:
    kinds = {
        "floor": device.ceilings,
        "uncached": replace(device.ceilings, l2_bytes=0),
    }
    for kind, ceilings in kinds.items():
        column = model.time_column(f"{device.title}, {kind}", "predicted", 3)
        yield Field(column, partial(_part_floor, ceilings=ceilings))


def _part_floor(row: Row, *, ceilings: Ceilings) -> Any:  # noqa: ANN401
    try:
        policy = policy_of(row["dtype"])
        return analysis.floor_total_s(row["operators"], ceilings, policy)
    except ValueError as error:
        return Mark(str(error))
