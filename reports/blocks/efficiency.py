"""Tables of blocks and networks: Tables 1 and 2, what a command measured, and experiments of users."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from reports.blocks.operations import PROFILED, fig2_tables
from reports.model import (
    BLOCK_FIELDS,
    CLOCK_ORDER,
    GIGA,
    INCREMENT_NOTE,
    MEASURED_MEMORY,
    MEBI,
    MEGA,
    PARAMETERS_FIELD,
    UNPREDICTED,
    WORK_FIELDS,
    Chapter,
    Column,
    Field,
    Frame,
    Row,
    Table,
    Value,
    axis_field,
    by_axes,
    device_column,
    measuring_conditions,
    median_time,
    memory_column,
    pixels,
    predicted_increment,
    predicted_value,
    published_field,
    published_ratio,
    rows_of,
    rows_of_experiment,
    slug,
    tabulate,
    time_column,
    time_field,
    with_paper,
    workspace,
)

# Of the paper and of the command: their blocks are held against floors and datasheets too.
BLOCK_TITLES = {"efficiency": "Efficiency", "table1": "Table 1"}
COUNT_NOTE = (
    "FLOPs count 2 per MAC and add softmax, norms and pooling. The paper's rules count 1 for each MAC "
    "of a convolution, 2 for each of a matrix product, and a module once however often it runs."
)
PROCEDURE = (
    "The paper's procedure never resets the maximum, so that the second size starts from the peak "
    "that NB left at the first: its figures are not what a block needs."
)
STORED = "The paper's count agrees with parameters and batch norm buffers together."
WHOLE = (
    "Memory in all is everything alive at the peak: parameters, input and what the call adds. "
    "Workspaces, cached blocks and the driver's context are not in it; the paper does not say what "
    "its figure holds."
)


def _paper_operations(row: Row) -> Value:
    return row["paper"]["paper_operations"] or row["paper_operations"]


def _paper_bytes(row: Row) -> Value:
    size: int | None = row["paper"]["predicted_paper_bytes"]
    return size


def _stored(row: Row) -> Value:
    if row["parameters"] is None or row["buffers"] is None:
        return UNPREDICTED
    total: int = row["parameters"] + row["buffers"]
    return total


INCREMENT = Field(
    memory_column("memory", "predicted", best="min"), predicted_increment, note=INCREMENT_NOTE
)
PUBLISHED_MEMORY = published_field(memory_column("memory", "published", 0), "memory_bytes")
BLOCK_COUNTS = (
    PARAMETERS_FIELD,
    *WORK_FIELDS,
    published_field(Column("GFLOPs", "", 1, GIGA, "operations", "published"), "operations"),
    Field(
        Column("count by paper's rules", "G", 1, GIGA, "operations"),
        _paper_operations,
        optional=True,
        note=COUNT_NOTE,
    ),
    published_ratio("operations", _paper_operations),
    INCREMENT,
    PUBLISHED_MEMORY,
    Field(
        memory_column("by paper's procedure", "predicted", 0),
        _paper_bytes,
        optional=True,
        note=PROCEDURE,
    ),
    published_ratio("memory_bytes", _paper_bytes),
)
NETWORK_FIELDS = (axis_field("network"), axis_field("size"))
NETWORK_COUNTS = (
    published_field(Column("params", "M", 2, MEGA, "", "published"), "parameters", optional=False),
    PARAMETERS_FIELD,
    Field(Column("params, buffers", "M", 2, MEGA), _stored, note=STORED),
    published_ratio("parameters", _stored, optional=False, note=""),
    *WORK_FIELDS,
    PUBLISHED_MEMORY,
    Field(
        memory_column("memory in all", "predicted", 0),
        lambda row: predicted_value(row, "predicted_peak_bytes"),
        note=WHOLE,
    ),
    published_ratio(
        "memory_bytes", lambda row: row["predicted_peak_bytes"], 2, optional=False, note=""
    ),
    replace(INCREMENT, column=memory_column("of a call", "predicted", 0), note=""),
)


def _timing_fields(digits: int, *, unit: Literal["ms", "s"] = "ms") -> tuple[Field, ...]:
    """Columns of what was measured, with times in that unit: published, ours, their ratio, memory."""
    column = partial(time_column, unit=unit)
    return (
        published_field(column("time", "published", digits), "time_s"),
        time_field(digits + 1, unit=unit),
        published_ratio("time_s", median_time),
        Field(
            column("CPU time", digits=digits),
            partial(median_time, clocks=("process",)),
            optional=True,
        ),
        Field(
            column("time, cold", digits=digits + 1),
            partial(median_time, cache="cold"),
            optional=True,
            note="Cold: the GPU's caches were emptied before every call.",
        ),
        Field(
            column("time by paper's procedure", digits=digits),
            lambda row: median_time(row["paper"], clocks=("wall", *CLOCK_ORDER)),
            optional=True,
        ),
        MEASURED_MEMORY,
        Field(Column("workspace", "MiB", 1, MEBI, "bytes"), workspace),
        Field(
            memory_column("memory by paper's procedure", "measured", 0),
            lambda row: row["paper"]["measured_paper_bytes"],
            optional=True,
            note=PROCEDURE,
        ),
    )


def efficiency_tables(frame: Frame, experiment: str = "efficiency") -> tuple[Table, Table]:
    """Blocks by what needs no execution, and by what was measured; a row per block, size and device.

    Table 1 of the paper, NB and APNB at two sizes with C = 2048, is one of the experiments.
    """
    rows = with_paper(rows_of_experiment(frame, experiment))
    name, size, *settings = BLOCK_FIELDS
    counted = (*BLOCK_FIELDS, *BLOCK_COUNTS)
    timed = (name, size, *device_column(rows), *settings, *_timing_fields(1))
    return _table_pair(rows, counted, timed, name=experiment, title=BLOCK_TITLES[experiment])


def table2_tables(frame: Frame) -> tuple[Table, Table]:
    """Table 2 of the paper: three whole networks on 2048x1024 images."""
    rows = with_paper(rows_of_experiment(frame, "table2"))
    counted = (*NETWORK_FIELDS, *NETWORK_COUNTS)
    timed = (*NETWORK_FIELDS, *device_column(rows), *_timing_fields(3, unit="s"))
    return _table_pair(rows, counted, timed, name="table2", title="Table 2")


def own_tables(frame: Frame, experiment: str) -> tuple[Table, ...]:
    """Somebody's own experiment: a column for each axis of its cells, then as `efficiency_tables`."""
    chosen = frame[(frame["experiment"] == experiment) & frame["accuracy"].isna()]
    rows = with_paper(rows_of(chosen))
    if not rows:
        return ()
    axes = tuple(map(axis_field, dict.fromkeys(name for row in rows for name in row["axes"])))
    counted = (*axes, *BLOCK_COUNTS)
    timed = (*axes, *device_column(rows), *_timing_fields(1))
    title = experiment.replace("_", " ")
    return _table_pair(rows, counted, timed, name=slug("own", experiment), title=title)


def _table_pair(
    rows: Sequence[Row],
    counted: Sequence[Field],
    timed: Sequence[Field],
    *,
    name: str,
    title: str,
) -> tuple[Table, Table]:
    """What needs no execution, and what was measured."""
    # What needs no execution is the same on every device.
    groups = by_axes(rows, "subject", "mode", "dtype", "batch").values()
    once = [{**same[0], "device_name": None} for same in groups]
    predicted = tabulate(
        once,
        counted,
        name=f"{name}-predicted",
        title=f"{title}: what needs no execution",
        caption=measuring_conditions(once),
        group_by=_places(counted, "size"),
    )
    # Best is best on one device, so that with several each has its group.
    several = _places(timed, "device")
    order = list(dict.fromkeys(row["device_name"] for row in rows))
    measured = tabulate(
        sorted(
            rows, key=lambda row: (pixels(row), order.index(row["device_name"]) if several else 0)
        ),
        timed,
        name=f"{name}-measured",
        title=f"{title}: measured",
        caption=measuring_conditions(rows),
        notes=_published_devices(rows),
        group_by=(*_places(timed, "size"), *several),
    )
    return predicted, measured


def _published_devices(rows: Iterable[Row]) -> list[str]:
    devices = dict.fromkeys(row["document"].device for row in rows if row["document"])
    notes = [f"The published times are of a {device}." for device in devices if device]
    return notes or (["The document names no device."] if devices else [])


def _places(fields: Sequence[Field], name: str) -> tuple[int, ...]:
    """Where a column of that name is; nowhere if there is none."""
    return tuple(at for at, field in enumerate(fields) if field.column.name == name)


CHAPTER = Chapter(
    10,
    {
        "table1": partial(efficiency_tables, experiment="table1"),
        "table2": table2_tables,
        PROFILED: fig2_tables,
        "efficiency": efficiency_tables,
    },
)
