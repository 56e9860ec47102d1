"""The tables: each a pure function of the frame that `reports.model.frame.build` makes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.blocks import counters, implementations, precision, roofline
from reports.blocks.zoo import ZOOS, zoo_tables
from reports.crossover import tables as crossover
from reports.model import (
    BLOCK_COUNT_FIELDS,
    BLOCK_FIELDS,
    MILLI,
    NETWORK_COUNT_FIELDS,
    NETWORK_FIELDS,
    Column,
    Field,
    Mark,
    Row,
    Table,
    Value,
    axis_value,
    device_column,
    group_times,
    measuring_conditions,
    pixels,
    published_value,
    ratio_of,
    rows_of,
    rows_of_experiment,
    tabulate,
    timing_fields,
)
from reports.render import slug
from reports.training import evaluation, runs
from reports.training import tables as ablations

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "Table", "accuracy", "efficiency", "every", "fig2", "table1", "table2", "zoo"]

ACCURACY = {
    "table3": ("Table 3: Cityscapes, test set", ("method", "backbone", "val"), 1),
    "table4": ("Table 4: ADE20K, validation set", ("method", "backbone"), 2),
    "table5": ("Table 5: PASCAL Context, validation set", ("method", "backbone"), 1),
    "table6": ("Table 6: components, Cityscapes validation set", ("network",), 1),
    "table7": ("Table 7: sampling, Cityscapes validation set", ("sampler", "grids"), 1),
}
# Experiments whose tables are made in modules of their own, and what a run notes of its machine.
ELSEWHERE = ("counters", "crossover", "precision", "implementations", "ceilings", "evaluation")


def _with_paper(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the strict protocol, smallest size first, each with its row of the paper's protocol under `paper`."""
    nothing = dict.fromkeys(rows[0]) if rows else {}
    strict = [row for row in rows if row["protocol"] != "paper"]
    paper: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["protocol"] == "paper":
            paper.setdefault(_asked(row), []).append(row)
    both = set(map(_asked, strict))
    alone = [row for asked, found in paper.items() if asked not in both for row in found]
    unread = {"device_name": None, "memory_bytes": None, "timings": None, "failure": None}
    joined = [row | {"paper": _partner(row, paper) or nothing} for row in strict]
    joined += [row | unread | {"paper": row} for row in alone]
    return sorted(joined, key=pixels)


def _asked(row: Row) -> str:
    return str(sorted(row["axes"].items()))


def _partner(row: Row, paper: Mapping[str, Sequence[Row]]) -> Row | None:
    same = paper.get(_asked(row), ())
    here = [other for other in same if other["device_name"] == row["device_name"]]
    return next(iter(here or same), None)


def _once(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first row of each thing asked: what needs no execution is the same on every device."""
    names = ("axes", "subject", "mode", "dtype", "batch")
    return list({str([row[name] for name in names]): row for row in reversed(rows)}.values())[::-1]


def efficiency_tables(
    frame: "pd.DataFrame", *, experiment: str = "efficiency"
) -> tuple[Table, Table]:
    """Blocks by what needs no execution, and by what was measured; a row per block, size and device."""
    rows = _with_paper(rows_of_experiment(frame, experiment))
    title = "Table 1" if experiment == "table1" else "Efficiency"
    device = device_column(rows)
    timed = (
        *BLOCK_FIELDS[:2],
        *device,
        *BLOCK_FIELDS[2:],
        *timing_fields("ms", MILLI, 1),
    )
    return (
        _counted(rows, BLOCK_COUNT_FIELDS, name=experiment, title=title),
        _timed(rows, timed, name=experiment, title=title),
    )


def own_tables(frame: "pd.DataFrame", experiment: str) -> tuple[Table, ...]:
    """Somebody's own experiment: a column for each axis of its cells, then as `efficiency`."""
    found = frame[(frame["experiment"] == experiment) & frame["accuracy"].isna()]
    rows = _with_paper(rows_of(found))
    if not rows:
        return ()
    named = tuple(
        Field(Column(name.replace("_", " "), align="left"), axis_value(name))
        for name in dict.fromkeys(name for row in rows for name in row["axes"])
    )
    timed = (*named, *device_column(rows), *timing_fields("ms", MILLI, 1))
    counted = (*named, *BLOCK_COUNT_FIELDS[len(BLOCK_FIELDS) :])
    about = {"name": slug("own", experiment), "title": experiment.replace("_", " ")}
    return _counted(rows, counted, **about), _timed(rows, timed, **about)


def table1_tables(frame: "pd.DataFrame") -> tuple[Table, Table]:
    """Table 1 of the paper: NB and APNB at two sizes, C = 2048."""
    return efficiency_tables(frame, experiment="table1")


def table2_tables(frame: "pd.DataFrame") -> tuple[Table, Table]:
    """Table 2 of the paper: three whole networks on 2048x1024 images."""
    rows = _with_paper(rows_of_experiment(frame, "table2"))
    about = {"name": "table2", "title": "Table 2"}
    timed = (*NETWORK_FIELDS, *device_column(rows), *timing_fields("s", 1, 3))
    return _counted(rows, NETWORK_COUNT_FIELDS, **about), _timed(rows, timed, **about)


def _counted(
    rows: Sequence[dict[str, Any]], columns: Sequence[Field], *, name: str, title: str
) -> Table:
    once = [row | {"device_name": None} for row in _once(rows)]
    return tabulate(
        once,
        columns,
        name=f"{name}-predicted",
        title=f"{title}: what needs no execution",
        caption=measuring_conditions(once),
        group_by=_sizes(columns),
    )


def _timed(
    rows: Sequence[dict[str, Any]], columns: Sequence[Field], *, name: str, title: str
) -> Table:
    devices = dict.fromkeys(row["document"].device for row in rows if row["document"])
    printed = [f"The published times are of a {device}." for device in devices if device]
    # Best is best on one device, so that with several each has its group.
    places = [at for at, field in enumerate(columns) if field.column.name == "device"]
    order = {name: at for at, name in enumerate(dict.fromkeys(row["device_name"] for row in rows))}
    several = bool(places)
    return tabulate(
        sorted(rows, key=lambda row: (pixels(row), several and order[row["device_name"]])),
        columns,
        name=f"{name}-measured",
        title=f"{title}: measured",
        caption=measuring_conditions(rows),
        notes=printed or ("The document names no device.",) if devices else (),
        group_by=(*_sizes(columns), *places),
    )


def _sizes(columns: Sequence[Field]) -> tuple[int, ...]:
    """The column of sizes, rows of which are held against each other; none where all are of one."""
    return tuple(at for at, field in enumerate(columns) if field.column.name == "size")


def fig2_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Time of each group of operations, NB beside APNB; a table for each size and device."""
    rows = [row for row in rows_of_experiment(frame, "fig2") if row["operations"]]
    places = dict.fromkeys((row["size"], row["device_name"]) for row in rows)
    return tuple(_operations(rows, place, number=number) for number, place in enumerate(places))


def _operations(rows: Sequence[Row], place: tuple[str, str], *, number: int) -> Table:
    here = [row for row in rows if (row["size"], row["device_name"]) == place]
    times = {
        row["axes"].get("block", row["subject"]): group_times(row["operations"]) for row in here
    }
    groups = dict.fromkeys(group for block in times.values() for group in block)
    largest = sorted(
        groups, key=lambda group: -max(block.get(group, 0.0) for block in times.values())
    )
    absent = Mark("this block has no operation of this group")
    lines = [(group, *(block.get(group, absent) for block in times.values())) for group in largest]
    lines.append(("sum", *(sum(block.values()) for block in times.values())))
    ratios: list[Value] = [ratio_of(line[1], line[2]) if len(line) == 3 else None for line in lines]
    names = list(times)
    last = (Column(f"{names[0]} / {names[1]}", "", 1),) if len(names) == 2 else ()
    columns = (Column("operations", align="left"), *(_time_of(name) for name in names), *last)
    return Table(
        name="fig2" if number == 0 else f"fig2-{number + 1}",
        title=f"Fig. 2: operations of {' and '.join(names)} at {place[0]} on {place[1]}",
        columns=columns,
        rows=tuple(
            (*line, value) if last else line for line, value in zip(lines, ratios, strict=True)
        ),
        caption=measuring_conditions(here),
        notes=("Medians over runs, from the profiler; profiling itself slows short operations.",),
    )


def _time_of(block: str) -> Column:
    return Column(block, "ms", 3, MILLI, "seconds", "measured")


def _place(row: Row) -> int:
    place: int = row["published_place"]
    return place


def accuracy_table(frame: "pd.DataFrame", experiment: str) -> Table:
    """Tables 3 to 7 of the paper: mean intersection over union as printed."""
    title, axes, digits = ACCURACY[experiment]
    printed = [row for row in rows_of_experiment(frame, experiment) if row["document"] is not None]
    rows = sorted({row["published_place"]: row for row in printed}.values(), key=_place)
    named = [Field(Column(name, align="left"), axis_value(name)) for name in axes]
    anchors = Field(Column("anchors"), lambda row: row["published_anchors"], optional=True)
    score = Column("mIoU", "%", digits, 1, "percent", "published", best="max")
    return tabulate(
        rows,
        (*named, anchors, Field(score, lambda row: published_value(row, "miou_percent"))),
        name=experiment,
        title=title,
        caption="Published numbers alone.",
    )


def report_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Every table that the frame supports: those that a record answers, then the published ones."""
    asked = set(frame.loc[frame["protocol"] != "published", "experiment"])
    pairs = {
        "table1": table1_tables,
        "table2": table2_tables,
        "fig2": fig2_tables,
        "efficiency": efficiency_tables,
    }
    tables = [table for name, make in pairs.items() if name in asked for table in make(frame)]
    tables += [table for name in ZOOS if name in asked for table in zoo_tables(frame, name)]
    known = {*pairs, *ZOOS, *ACCURACY, *ELSEWHERE, *runs.trained_experiments(frame)}
    tables += [table for name in sorted(asked - known) for table in own_tables(frame, name)]
    tables += counters.counter_tables(frame)
    tables += crossover.crossover_tables(frame)
    tables += precision.precision_tables(frame)
    tables += implementations.implementation_tables(frame)
    tables += roofline.roofline_tables(frame)
    tables += ablations.training_tables(frame)
    tables += evaluation.evaluation_tables(frame)
    printed = set(frame["experiment"]) - set(runs.trained_experiments(frame))
    return (*tables, *(accuracy_table(frame, name) for name in ACCURACY if name in printed))
