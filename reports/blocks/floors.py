"""Floors of blocks: at the ceilings that a machine reached itself, and at those that makers of known devices state.

Both follow from the ledger of a block (`bench.analysis.roofline`, `bench.analysis.devices`).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from bench import analysis
from bench.analysis import Ceilings, Datasheet, Floor, policy_of, recognise_device
from bench.records import OperatorTime
from reports import model
from reports.blocks.efficiency import BLOCK_TITLES
from reports.model import Column, Field, Frame, Mark, Row, Table, Value

NOT_ITS_OWN = Mark(
    "compiled or exported: its operators are fused, and the ledger is that of the module it was made from"
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
FLOOR_FIELD = Field(model.time_column("floor", "", 3), itemgetter("floor"), note=FLOOR)
# What the profiler calls an operator of the ledger, beside its own name.
PROFILER = {"relu": ("clamp_min",), "clone": ("copy_",), "mean": ("sum", "div_")}
CONVOLUTIONS = ("convolution", "convolution_backward")
PREDICTED = (
    "A predicted time is a floor: each operator at the peak or the bandwidth of the datasheet, whichever takes longer, "
    "without launches."
)
ERROR = "An error is the predicted time against the one that was published or measured, in percent of the latter."
IEEE_NOTE = "Products of float32 are in IEEE arithmetic; tf32 is a format of its own."


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
    return {"floors": lowest, "floor": sum(floor.time_s for floor in lowest), "bound": bound}


def operator_table(row: Row, lowest: Sequence[Floor], *, name: str) -> Table:
    """Each operator of a block: its work, its floor and, where it was profiled, its time."""
    whole_s = sum(floor.time_s for floor in lowest)
    profiled = row["operations"] or ()
    lines = [
        {
            "operator": floor.name.removeprefix("aten."),
            "work": work,
            "floor": floor.time_s,
            "part": floor.time_s / whole_s,
            "bound": floor.bound,
            "time": operator_time(floor.name, profiled),
        }
        for floor, work in zip(lowest, row["ledger"], strict=True)
        if floor.time_s
    ]
    return model.tabulate(
        sorted(lines, key=itemgetter("part"), reverse=True),
        OPERATOR_FIELDS,
        name=name,
        title=f"Roofline by operator: {row['axes']['block']} at {row['size']} on {row['device_name']}",
        caption=model.measuring_conditions([row]),
    )


OPERATOR_FIELDS = (
    Field(model.text_column("operator"), itemgetter("operator")),
    Field(Column("calls"), lambda row: row["work"].calls),
    Field(Column("FLOPs", "G", 2, model.GIGA), lambda row: row["work"].flops),
    Field(Column("moved", "MiB", 1, model.MEBI, "bytes"), lambda row: row["work"].moved_bytes),
    FLOOR_FIELD,
    Field(model.percent_column("of the floor", 1), itemgetter("part")),
    Field(model.text_column("bound by"), itemgetter("bound")),
    Field(model.time_column(digits=3), itemgetter("time"), optional=True, note=OPERATOR_TIME),
    model.share_field("floor", "time", optional=True, note=SHARE),
)


def operator_time(name: str, profiled: Iterable[OperatorTime]) -> float | None:
    """Seconds that the profiler saw in an operator of the ledger, under whatever names; None if in none."""
    short = name.removeprefix("aten.")
    names = (short, *PROFILER.get(short, ()))
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


def predicted_time_tables(frame: Frame, devices: Sequence[Datasheet] = ()) -> tuple[Table, ...]:
    """Predicted times of the blocks of `efficiency` and `table1`, a column for each device (all known by default)."""
    columns = tuple(devices) or tuple(analysis.DEVICES.values())
    tables = (_predicted_times(frame, experiment, columns) for experiment in BLOCK_TITLES)
    return tuple(table for table in tables if table.rows)


def _predicted_times(frame: Frame, experiment: str, devices: Sequence[Datasheet]) -> Table:
    known = [
        row
        for row in model.rows_of_experiment(frame, experiment)
        if row["protocol"] == "strict" and (row["ledger"] or row["failure"])
    ]
    groups = model.by_axes(known, "dtype", "mode", "batch").values()
    fields = (field for device in devices for field in _device_fields(device))
    return model.tabulate(
        sorted(({**same[0], "measured": same} for same in groups), key=model.pixels),
        (*model.BLOCK_FIELDS, *fields),
        name=f"roofline-{experiment}-predicted",
        title=f"Predicted times of {BLOCK_TITLES[experiment]} on known devices",
        caption="Predicted without execution, from operators, bytes and the devices' datasheets; strict protocol.",
        notes=(IEEE_NOTE, *(f"{device.title}: {device.source}." for device in devices)),
        group_by=(1,),
    )


def _device_fields(device: Datasheet) -> Iterator[Field]:

    def published(row: Row) -> float | None:
        document = row["document"]
        is_of_device = document is not None and recognise_device(document.device) is device
        return row["published_time_s"] if is_of_device else None

    def measured(row: Row) -> Value:
        rows = row["measured"]
        here = (other for other in rows if recognise_device(other["device_name"]) is device)
        return next(filter(None, map(model.median_time, here)), None)

    predicted, error = comparison_fields(
        device, device.title, lambda row: measured(row) or published(row)
    )
    yield predicted
    yield Field(model.time_column(device.title, "published"), published, optional=True)
    yield Field(model.time_column(device.title), measured, optional=True)
    yield error


def comparison_fields(
    device: Datasheet, name: str, known: Callable[[Row], Value]
) -> tuple[Field, Field]:
    """Make the columns of what a device takes at the least and of how far off that is, where a time is known."""

    def error(row: Row) -> Value:
        share = model.number_of(model.ratio_of(_predicted_time(row, device), known(row)))
        return None if share is None else share - 1

    column = model.time_column(name, "predicted", 3)
    return (
        Field(column, partial(_predicted_time, device=device), note=PREDICTED),
        Field(model.percent_column("error"), error, optional=True, note=ERROR),
    )


def _predicted_time(row: Row, device: Datasheet) -> Value:
    if is_fused(row):
        return NOT_ITS_OWN
    if not row["ledger"]:
        return model.predicted_value(row, "macs")
    needs, has = (row["predicted_peak_bytes"] or 0) / model.GIBI, device.memory_bytes / model.GIBI
    if needs > has:
        too_large = f"too large: needs {needs:.1f} GiB by prediction"
        return Mark(f"{too_large}, {device.title} has {has:.0f} GiB")
    try:
        return analysis.floor_total_s(row["ledger"], device.ceilings, policy_of(row["dtype"]))
    except ValueError as reason:
        return Mark(f"{device.title}: {reason}")
