"""Tables of blocks and networks: Tables 1 and 2, what a command measured, and experiments of users."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from statistics import median

from reports import model
from reports.blocks.memory import allocator_table
from reports.blocks.operations import PROFILED, fig2_tables
from reports.model import Column, Field, Table, memory_column, published_field, published_ratio

# Of the paper and of the command: their blocks are compared with floors and datasheets too.
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
    "Memory in all is everything alive at the peak: parameters, input and what the call adds. Workspaces, cached "
    "blocks and the driver's context are not in it; the paper does not say what its figure holds."
)


def _paper_operations(row: model.Row) -> model.Value:
    return row["paper"]["paper_operations"] or row["paper_operations"]


def _paper_bytes(row: model.Row) -> model.Value:
    return row["paper"]["predicted_paper_bytes"]


def _stored(row: model.Row) -> model.Value:
    if row["parameters"] is None or row["buffers"] is None:
        return model.UNPREDICTED
    return row["parameters"] + row["buffers"]


def _gpu_time(row: model.Row) -> model.Value:
    """Measured time on a GPU; published times are of one, and over those of a processor would say nothing."""
    return model.median_time(row) if str(row["device"]).startswith("cuda") else None


optional_field = partial(Field, optional=True)
INCREMENT = Field(
    replace(memory_column("memory", "predicted"), best="min"),
    model.predicted_increment,
    note=model.INCREMENT_NOTE,
)
PUBLISHED_MEMORY = published_field(memory_column("memory", "published", 0), "memory_bytes")
BLOCK_COUNTS = (
    model.PARAMETERS_FIELD,
    *model.WORK_FIELDS,
    published_field(Column("GFLOPs", "", 1, model.GIGA, "operations", "published"), "operations"),
    optional_field(
        Column("count by paper's rules", "G", 1, model.GIGA, "operations"),
        _paper_operations,
        note=COUNT_NOTE,
    ),
    published_ratio("operations", _paper_operations),
    INCREMENT,
    PUBLISHED_MEMORY,
    optional_field(
        memory_column("by paper's procedure", "predicted", 0), _paper_bytes, note=PROCEDURE
    ),
    published_ratio("memory_bytes", _paper_bytes),
)
NETWORK_COUNTS = (
    published_field(
        Column("params", "M", 2, model.MEGA, "", "published"), "parameters", optional=False
    ),
    model.PARAMETERS_FIELD,
    Field(Column("params, buffers", "M", 2, model.MEGA), _stored, note=STORED),
    published_ratio("parameters", _stored, optional=False, note=""),
    *model.WORK_FIELDS,
    PUBLISHED_MEMORY,
    model.predicted_field(
        memory_column("memory in all", "predicted", 0), "predicted_peak_bytes", WHOLE
    ),
    published_ratio("memory_bytes", itemgetter("predicted_peak_bytes"), 2, optional=False, note=""),
    replace(INCREMENT, column=memory_column("of a call", "predicted", 0), note=""),
)


def _timing_fields(digits: int, *, unit: model.TimeUnit = "ms") -> tuple[Field, ...]:
    column = partial(model.time_column, unit=unit)
    return (
        published_field(column("time", "published", digits), "time_s"),
        model.time_field(digits + 1, unit=unit),
        published_ratio("time_s", _gpu_time),
        optional_field(
            column("CPU time", digits=digits), partial(model.median_time, clocks=("process",))
        ),
        optional_field(
            column("time, cold", digits=digits + 1),
            partial(model.median_time, cache="cold"),
            note="Cold: the GPU's caches were emptied before every call.",
        ),
        optional_field(
            column("time by paper's procedure", digits=digits),
            lambda row: model.median_time(row["paper"], clocks=("wall", *model.CLOCK_ORDER)),
        ),
        model.MEASURED_MEMORY,
        Field(Column("workspace", "MiB", 1, model.MEBI, "bytes"), model.workspace),
        optional_field(
            memory_column("memory by paper's procedure", "measured", 0),
            lambda row: row["paper"]["measured_paper_bytes"],
            note=PROCEDURE,
        ),
    )


# Of a block whose cell says no other: those of the paper's Table 1.
USUAL_WIDTHS = "2048 channels, 256 key channels"


def _with_widths(rows: Sequence[model.Row]) -> str:
    """How rows were measured, and the widths of those whose axes have none."""
    conditions = model.measuring_conditions(rows)
    have = {"channels" in row["axes"] for row in rows}
    if have in ({True}, set()):
        return conditions
    unless = " unless a column says otherwise" if True in have else ""
    return f"{conditions[:-1]}; {USUAL_WIDTHS}{unless}."


def efficiency_tables(frame: model.Frame, experiment: str = "efficiency") -> tuple[Table, ...]:
    """Blocks, as those of Table 1 of the paper: counts and predictions, and what was measured on each device."""
    rows = model.with_paper(model.rows_of_experiment(frame, experiment))
    axes = (model.BLOCK_FIELDS[:2], model.BLOCK_FIELDS[2:])
    title, timings = BLOCK_TITLES[experiment], _timing_fields(1)
    return _table_pair(
        rows, axes, BLOCK_COUNTS, timings, name=experiment, title=title, conditions=_with_widths
    )


def table2_tables(frame: model.Frame) -> tuple[Table, ...]:
    """Table 2 of the paper: three whole networks on 2048x1024 images."""
    rows = model.with_paper(model.rows_of_experiment(frame, "table2"))
    axes = ((model.axis_field("network"), model.axis_field("size")), ())
    timings = _timing_fields(3, unit="s")
    return _table_pair(rows, axes, NETWORK_COUNTS, timings, name="table2", title="Table 2")


def own_tables(frame: model.Frame, experiment: str) -> tuple[Table, ...]:
    """Somebody's own experiment: a column for each axis of its cells, then as `efficiency_tables`."""
    chosen = frame[(frame["experiment"] == experiment) & frame["accuracy"].isna()]
    rows = model.with_paper(model.rows_of(chosen))
    if not rows:
        return ()
    axes = tuple(map(model.axis_field, dict.fromkeys(name for row in rows for name in row["axes"])))
    name, title = model.slug("own", experiment), experiment.replace("_", " ")
    further = dict.fromkeys(name for row in rows for name in row["readings"] or ())
    timings = (*_timing_fields(1), *map(_further_field, further))
    return _table_pair(rows, (axes, ()), BLOCK_COUNTS, timings, name=name, title=title)


def _further_field(name: str) -> Field:
    """Median of what a further probe read, in the base unit that its name ends with."""
    column = Column(name.replace("_", " "), "", 3)
    return Field(
        column,
        lambda row: median(samples) if (samples := (row["readings"] or {}).get(name)) else None,
    )


def _table_pair(
    rows: Sequence[model.Row],
    axes: tuple[Sequence[Field], Sequence[Field]],
    counts: Sequence[Field],
    timings: Sequence[Field],
    *,
    name: str,
    title: str,
    conditions: Callable[[Sequence[model.Row]], str] = model.measuring_conditions,
) -> tuple[Table, ...]:
    """What needs no execution, and what was measured; one of them alone where the other has no number."""
    counted = (*axes[0], *axes[1], *counts)
    timed = (*axes[0], *model.device_column(rows), *axes[1], *timings)
    # What needs no execution is the same on every device.
    groups = model.by_axes(rows, "subject", "mode", "dtype", "batch").values()
    once = [{**same[0], "device_name": None} for same in groups]
    predicted = model.tabulate(
        once,
        counted,
        name=f"{name}-predicted",
        title=f"{title}: counts and predictions",
        caption=conditions(once),
        group_by=_places(counted, "size"),
    )
    # Best is best on one device, so that with several each has its group.
    several = _places(timed, "device")
    if several:
        order = list(dict.fromkeys(row["device_name"] for row in rows))
        rows = sorted(rows, key=lambda row: order.index(row["device_name"]))
    documents = dict.fromkeys(row["document"].device for row in rows if row["document"])
    notes = [f"The published times are of a {device}." for device in documents if device]
    measured = model.tabulate(
        sorted(rows, key=model.pixels),
        timed,
        name=f"{name}-measured",
        title=f"{title}: measured",
        caption=conditions(rows),
        notes=notes or (["The document names no device."] if documents else []),
        group_by=(*_places(timed, "size"), *several),
    )
    sources = {f.column.source for f in timings if f.column in measured.columns}
    if sources == {"published"}:
        measured = replace(measured, title=f"{title}: published times")
    if not sources:
        return (predicted,)
    return (predicted, measured) if _has_any(predicted, counts) else (measured,)


def _has_any(table: Table, fields: Sequence[Field]) -> bool:
    return any(field.column in table.columns for field in fields)


def _places(fields: Sequence[Field], name: str) -> tuple[int, ...]:
    return tuple(at for at, field in enumerate(fields) if field.column.name == name)


def allocator_tables(
    frame: model.Frame, experiments: Iterable[str] = BLOCK_TITLES
) -> tuple[Table, ...]:
    """Memory of the blocks of `efficiency` and `table1` by the allocator; none without a prediction for CUDA."""
    tables = (allocator_table(frame, name, BLOCK_TITLES[name]) for name in experiments)
    return tuple(table for table in tables if table.rows)


def _all_tables(frame: model.Frame, *, experiment: str) -> tuple[Table, ...]:
    return (*efficiency_tables(frame, experiment), *allocator_tables(frame, [experiment]))


CHAPTER = model.Chapter(
    10,
    {
        "table1": partial(_all_tables, experiment="table1"),
        "table2": table2_tables,
        PROFILED: fig2_tables,
        "efficiency": partial(_all_tables, experiment="efficiency"),
    },
)
