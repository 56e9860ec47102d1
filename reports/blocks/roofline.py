"""How near blocks come to what their machine can do: its ceilings, times beside floors, operators, predictions.

A floor follows from the ledger of a block and the ceilings that the machine reached itself at the start of the run
(`bench.analysis.roofline`); a prediction from those that the maker of a device states (`bench.analysis.devices`).
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import Ceilings, Datasheet, ceiling_rate, measured_ceilings, recognise_device
from bench.records import Ceiling
from reports.blocks import floors, predicted_times
from reports.model import (
    GIGA,
    MILLI,
    TIME_NOTE,
    Column,
    Field,
    Mark,
    Row,
    Table,
    Value,
    describe_machine,
    measuring_conditions,
    pixels,
    ratio_of,
    rows_of_experiment,
    tabulate,
    time_interval,
    time_value,
    timing_of,
)

if TYPE_CHECKING:
    import pandas as pd

CEILINGS = "ceilings"
TITLES = {
    "efficiency": "Efficiency",
    "table1": "Table 1",
    "implementations": "Implementations",
    "precision": "Number formats",
}
PROFILED = "fig2"
PERCENT = 0.01
COUNTED = (
    "A copy counts the bytes read and those written, a product 2 FLOPs a MAC; the quickest of each."
)
BOUND = "Bound by: what most of the floor is spent on."

# A machine: its name and the threads that a process has of it.
Place = tuple[str, int]


def roofline_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Ceilings, blocks and operators of each machine whose ceilings are on record; then predictions."""
    tables = machine_tables(frame)
    return (*tables, *predicted_times.predicted_time_tables(frame)) if tables else ()


def machine_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Ceilings, blocks and operators of each machine whose ceilings are on record."""
    machines = {_place(row): row for row in rows_of_experiment(frame, CEILINGS) if row[CEILINGS]}
    tables: list[Table] = []
    for number, machine in enumerate(machines.values()):
        suffix = f"-{number + 1}" if number else ""
        reached = measured_ceilings(machine[CEILINGS])
        tables.append(_ceilings(machine, suffix))
        if reached is not None:
            tables += _of_machine(frame, machine, reached, suffix=suffix)
    return tuple(tables)


def _place(row: Row) -> Place | None:
    where = row["environment"]
    return (where.device_name, where.threads) if row["device_name"] and where else None


def _of_machine(
    frame: "pd.DataFrame", machine: Row, reached: Ceilings, *, suffix: str
) -> list[Table]:
    tables, slowest = [], list[Row]()
    for experiment in TITLES:
        rows = _timed(frame, experiment, _place(machine))
        if rows:
            tables.append(_blocks(rows, reached, experiment=experiment, suffix=suffix))
            known = [row for row in rows if not isinstance(floors.row_floors(row, reached), Mark)]
            slowest += sorted(known, key=_seconds)[-1:]
    profiled = [
        row
        for row in rows_of_experiment(frame, PROFILED)
        if row["operations"] and _place(row) == _place(machine)
    ]
    for row in profiled or slowest[:1]:
        found = floors.row_floors(row, reached)
        if not isinstance(found, Mark):
            name = f"roofline-operators-{row['axes']['block']}{suffix}".replace(":", "-")
            tables.append(floors.operator_table(row, found, name=name))
    return tables


def _timed(frame: "pd.DataFrame", experiment: str, place: Place | None) -> list[Row]:
    rows: list[Row] = [
        row
        for row in rows_of_experiment(frame, experiment)
        if row["protocol"] == "strict" and _place(row) == place and timing_of(row)
    ]
    return sorted(rows, key=lambda row: (row["mode"], pixels(row)))


def _seconds(row: Row) -> float:
    found = time_interval(timing_of(row))
    return found.median if found else 0.0


def _ceilings(machine: Row, suffix: str) -> Table:
    """What the machine reached, and where its maker says what it could, the share of that."""
    device = recognise_device(machine["device_name"])
    rate = partial(Column, unit="G/s", digits=1, scale=GIGA, base="per_second")
    columns = [
        Field(Column("ceiling", align="left"), lambda row: _named(row["one"])),
        Field(rate("rate", source="measured"), lambda row: _rate(row["one"])),
    ]
    if device is not None:
        stated = partial(_stated, stated=device.ceilings)
        columns += [
            Field(rate("datasheet"), lambda row: stated(row["one"])),
            Field(
                Column("share", "%", 0, PERCENT, "share"),
                lambda row: ratio_of(_rate(row["one"]), stated(row["one"])),
            ),
        ]
    return tabulate(
        [{"one": one} for one in machine[CEILINGS]],
        columns,
        name=f"roofline-ceilings{suffix}",
        title=f"Ceilings of {machine['device_name']}",
        caption=f"Measured on {describe_machine(machine['environment'])}, at the start of the run.",
        notes=(COUNTED, f"Datasheet: {device.source}." if device else ""),
    )


def _named(one: Ceiling) -> str:
    return "copy, bytes" if one.kind == "copy" else f"product in {one.dtype}, FLOPs"


def _rate(one: Ceiling) -> Value:
    rate = ceiling_rate(one)
    return Mark(one.reason or "nothing was timed") if rate is None else rate


def _stated(one: Ceiling, *, stated: Ceilings) -> Value:
    return stated.bandwidth if one.kind == "copy" else stated.products.get(one.dtype)


def _blocks(rows: Sequence[Row], reached: Ceilings, *, experiment: str, suffix: str) -> Table:
    device_name = rows[0]["device_name"]
    return tabulate(
        rows,
        (
            *predicted_times.NAMED,
            *_times(reached),
            *_by_datasheet(recognise_device(device_name)),
        ),
        name=f"roofline-{experiment}{suffix}",
        title=f"Roofline of {TITLES[experiment]}: time beside its floor on {device_name}",
        caption=measuring_conditions(rows),
        group_by=(1,),
    )


def _times(reached: Ceilings) -> tuple[Field, ...]:
    read = partial(floors.row_floors, reached=reached)
    return (
        Field(
            Column("time", "ms", 2, MILLI, "seconds", "measured"),
            time_value,
            note=TIME_NOTE,
        ),
        Field(
            Column("floor", "ms", 3, MILLI, "seconds"),
            lambda row: floors.total_floor(read(row)),
            note=floors.FLOOR,
        ),
        Field(
            Column("share", "%", 0, PERCENT, "share"),
            lambda row: ratio_of(floors.total_floor(read(row)), _seconds(row)),
            note=floors.SHARE,
        ),
        Field(
            Column("bound by", align="left"), lambda row: floors.floor_bound(read(row)), note=BOUND
        ),
    )


def _by_datasheet(device: Datasheet | None) -> tuple[Field, ...]:
    """Columns of what was to be expected of a known device."""
    if device is None:
        return ()
    predicted = partial(predicted_times.predicted_time, device=device)
    return (
        Field(
            Column(f"by {device.title}'s datasheet", "ms", 3, MILLI, "seconds", "predicted"),
            predicted,
            note=predicted_times.PREDICTED,
        ),
        predicted_times.error_field(
            lambda row: predicted_times.time_error(predicted(row), _seconds(row))
        ),
    )
