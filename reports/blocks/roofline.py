"""How near blocks come to what their machine can do: its ceilings, times beside floors, operators, predictions.

A floor follows from the ledger of a block and the ceilings that the machine reached itself at the start of the run
(`bench.analysis.roofline`); a prediction from those that the maker of a device states (`bench.analysis.devices`).
"""

from collections.abc import Sequence
from functools import partial

from bench.analysis import Ceilings, ceiling_rate, measured_ceilings, recognise_device
from bench.records import Ceiling
from reports.blocks import efficiency, variants
from reports.blocks.floors import FLOOR, SHARE, floor_bound, operator_table, row_floors, total_floor
from reports.blocks.operations import PROFILED
from reports.blocks.predicted_times import error_field, predicted_field, predicted_time_tables
from reports.model import (
    BLOCK_FIELDS,
    GIGA,
    Chapter,
    Column,
    Field,
    Frame,
    Mark,
    Row,
    Table,
    Value,
    describe_machine,
    measuring_conditions,
    median_time,
    number_of,
    percent_column,
    pixels,
    ratio_of,
    rows_of_experiment,
    tabulate,
    text_column,
    time_column,
    time_field,
    timing_of,
)

CEILINGS = "ceilings"
FLOORED_TITLES = efficiency.BLOCK_TITLES | variants.VARIANT_TITLES
COUNTED = (
    "A copy counts the bytes read and those written, a product 2 FLOPs a MAC; the quickest of each."
)
BOUND = "Bound by: what most of the floor is spent on."

# A machine: its name and the threads that a process has of it.
Machine = tuple[str, int]


def roofline_tables(frame: Frame) -> tuple[Table, ...]:
    """Ceilings, blocks and operators of each machine whose ceilings are on record; then predictions."""
    tables = machine_tables(frame)
    return (*tables, *predicted_time_tables(frame)) if tables else ()


def machine_tables(frame: Frame) -> tuple[Table, ...]:
    """Ceilings, blocks and operators of each machine whose ceilings are on record."""
    machines = {
        _machine_of(row): row for row in rows_of_experiment(frame, CEILINGS) if row[CEILINGS]
    }
    tables: list[Table] = []
    for number, machine in enumerate(machines.values(), start=1):
        suffix = f"-{number}" if number > 1 else ""
        reached = measured_ceilings(machine[CEILINGS])
        tables.append(_ceiling_table(machine, suffix))
        if reached is not None:
            tables += _floor_tables(frame, machine, reached, suffix=suffix)
    return tuple(tables)


def _machine_of(row: Row) -> Machine | None:
    where = row["environment"]
    return (where.device_name, where.threads) if row["device_name"] and where else None


def _floor_tables(frame: Frame, machine: Row, reached: Ceilings, *, suffix: str) -> list[Table]:
    def here(experiment: str) -> list[Row]:
        rows: Sequence[Row] = rows_of_experiment(frame, experiment)
        return [row for row in rows if _machine_of(row) == _machine_of(machine)]

    tables, slowest = [], list[Row]()
    for experiment in FLOORED_TITLES:
        timed = [row for row in here(experiment) if row["protocol"] == "strict" and timing_of(row)]
        rows = sorted(timed, key=lambda row: (row["mode"], pixels(row)))
        if rows:
            tables.append(_block_table(rows, reached, experiment=experiment, suffix=suffix))
            known = [row for row in rows if not isinstance(row_floors(row, reached), Mark)]
            slowest += sorted(known, key=lambda row: number_of(median_time(row)) or 0.0)[-1:]
    profiled = [row for row in here(PROFILED) if row["operations"]]
    for row in profiled or slowest[:1]:
        lowest = row_floors(row, reached)
        if not isinstance(lowest, Mark):
            name = f"roofline-operators-{row['axes']['block']}{suffix}".replace(":", "-")
            tables.append(operator_table(row, lowest, name=name))
    return tables


def _ceiling_table(machine: Row, suffix: str) -> Table:
    """What the machine reached, and where its maker says what it could, the share of that."""
    device = recognise_device(machine["device_name"])
    rate = partial(Column, unit="G/s", digits=1, scale=GIGA, base="per_second")
    fields = [
        Field(text_column("ceiling"), lambda row: _ceiling_name(row["ceiling"])),
        Field(rate("rate", source="measured"), lambda row: _reached(row["ceiling"])),
    ]
    if device is not None:
        stated = partial(_stated, stated=device.ceilings)
        fields += [
            Field(rate("datasheet"), lambda row: stated(row["ceiling"])),
            Field(
                percent_column("share"),
                lambda row: ratio_of(_reached(row["ceiling"]), stated(row["ceiling"])),
            ),
        ]
    return tabulate(
        [{"ceiling": ceiling} for ceiling in machine[CEILINGS]],
        fields,
        name=f"roofline-ceilings{suffix}",
        title=f"Ceilings of {machine['device_name']}",
        caption=f"Measured on {describe_machine(machine['environment'])}, at the start of the run.",
        notes=(COUNTED, f"Datasheet: {device.source}." if device else ""),
    )


def _ceiling_name(ceiling: Ceiling) -> str:
    return "copy, bytes" if ceiling.kind == "copy" else f"product in {ceiling.dtype}, FLOPs"


def _reached(ceiling: Ceiling) -> Value:
    rate = ceiling_rate(ceiling)
    return Mark(ceiling.reason or "nothing was timed") if rate is None else rate


def _stated(ceiling: Ceiling, *, stated: Ceilings) -> Value:
    return stated.bandwidth if ceiling.kind == "copy" else stated.products.get(ceiling.dtype)


def _block_table(rows: Sequence[Row], reached: Ceilings, *, experiment: str, suffix: str) -> Table:
    """Times beside their floors, and beside what was to be expected of a known device."""
    device_name = rows[0]["device_name"]
    device = recognise_device(device_name)
    floored = [row | {"floors": row_floors(row, reached)} for row in map(dict, rows)]
    expected = device and (
        predicted_field(device, f"by {device.title}'s datasheet"),
        error_field(device, median_time),
    )
    return tabulate(
        floored,
        (
            *BLOCK_FIELDS,
            time_field(2, best=None),
            Field(time_column("floor", "", 3), lambda row: total_floor(row["floors"]), note=FLOOR),
            Field(
                percent_column("share"),
                lambda row: ratio_of(total_floor(row["floors"]), median_time(row)),
                note=SHARE,
            ),
            Field(text_column("bound by"), lambda row: floor_bound(row["floors"]), note=BOUND),
            *(expected or ()),
        ),
        name=f"roofline-{experiment}{suffix}",
        title=f"Roofline of {FLOORED_TITLES[experiment]}: time beside its floor on {device_name}",
        caption=measuring_conditions(rows),
        group_by=(1,),
    )


CHAPTER = Chapter(70, {CEILINGS: roofline_tables})
