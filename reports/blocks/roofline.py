"""How near blocks come to what their machine can do: its ceilings, times beside floors, operators, predictions."""

from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter

from bench.analysis import Ceilings, ceiling_rate, measured_ceilings, recognise_device
from bench.records import Ceiling
from reports import model
from reports.blocks import efficiency, floors, predictions, validation, variants
from reports.blocks.floors import CEILINGS
from reports.blocks.operations import PROFILED
from reports.model import Chapter, Column, Field, Frame, Mark, Row, Table

FLOORED_TITLES = efficiency.BLOCK_TITLES | variants.VARIANT_TITLES
COUNTED = (
    "A copy counts the bytes read and those written, a product 2 FLOPs a MAC; the quickest of each."
)
BOUND = "Bound by: what most of the floor is spent on."


def roofline_tables(frame: Frame) -> tuple[Table, ...]:
    """Ceilings, blocks and operators of each machine whose ceilings are on record; then predictions."""
    tables = machine_tables(frame)
    if not tables:
        return ()
    errors = validation.record_errors(frame)
    checked = validation.validation_tables(errors) if errors else ()
    return (*tables, *predictions.predicted_time_tables(frame), *checked)


def machine_tables(frame: Frame) -> tuple[Table, ...]:
    """Ceilings, blocks and operators of each machine whose ceilings are on record."""
    ceilings = model.rows_of_experiment(frame, CEILINGS)
    machines = {_machine_of(row): row for row in ceilings if row[CEILINGS]}
    tables: list[Table] = []
    for number, (name, machine) in enumerate(machines.items(), start=1):
        suffix = f"-{number}" if number > 1 else ""
        tables.append(_ceiling_table(machine, suffix))
        reached = measured_ceilings(machine[CEILINGS])
        if reached is not None:
            here = frame[[_machine_of(row) == name for row in model.rows_of(frame)]]
            tables += _floor_tables(here, reached, suffix)
    return tuple(tables)


def _machine_of(row: Row) -> tuple[str, int] | None:
    """A machine: its name and the threads that a process has of it."""
    where = row["environment"]
    return (where.device_name, where.threads) if row["device_name"] and where else None


def _floor_tables(frame: Frame, reached: Ceilings, suffix: str) -> Iterator[Table]:
    slowest = list[Row]()
    for experiment in FLOORED_TITLES:
        rows = [
            {**row, **floors.floor_entries(row, reached), "time": model.median_time(row)}
            for row in model.rows_of_experiment(frame, experiment)
            if row["protocol"] == "strict" and model.timing_of(row)
        ]
        if rows:
            rows.sort(key=lambda row: (row["mode"], model.pixels(row)))
            yield _block_table(rows, experiment, suffix)
            known = [row for row in rows if not isinstance(row["floors"], Mark)]
            slowest += sorted(known, key=lambda row: row["time"].median)[-1:]
    profiled = [row for row in model.rows_of_experiment(frame, PROFILED) if row["operations"]]
    for row in profiled or slowest[:1]:
        lowest = floors.row_floors(row, reached)
        if not isinstance(lowest, Mark):
            name = f"roofline-operators-{row['axes']['block']}{suffix}".replace(":", "-")
            likely = predictions.estimated_operators(row, reached)
            yield floors.operator_table(row, lowest, likely, name=name)


def _ceiling_table(machine: Row, suffix: str) -> Table:
    device = recognise_device(machine["device_name"])
    stated = device.ceilings if device else None
    rate = partial(Column, unit="G/s", digits=1, scale=model.GIGA, base="per_second")
    limits = (Field(rate("datasheet"), itemgetter("stated")), model.share_field("rate", "stated"))
    return model.tabulate(
        [_ceiling_line(ceiling, stated) for ceiling in machine[CEILINGS]],
        (
            Field(model.text_column("ceiling"), itemgetter("ceiling")),
            Field(rate("rate", source="measured"), itemgetter("rate")),
            *(limits if device else ()),
        ),
        name=f"roofline-ceilings{suffix}",
        title=f"Ceilings of {machine['device_name']}",
        caption=f"Measured on {model.describe_machine(machine['environment'])}, at the start of the run.",
        notes=(COUNTED, f"Datasheet: {device.source}." if device else ""),
    )


def _ceiling_line(ceiling: Ceiling, stated: Ceilings | None) -> Row:
    rate = ceiling_rate(ceiling)
    reached = Mark(ceiling.reason or "nothing was timed") if rate is None else rate
    if ceiling.kind == "copy":
        name, limit = "copy, bytes", stated and stated.bandwidth
    else:
        name = f"product in {ceiling.dtype}, FLOPs"
        limit = stated and stated.products.get(ceiling.dtype)
    return {"ceiling": name, "rate": reached, "stated": limit}


def _block_table(rows: Sequence[Row], experiment: str, suffix: str) -> Table:
    device = recognise_device(rows[0]["device_name"])
    expected = device and predictions.comparison_fields(
        device, f"by {device.title}'s datasheet", model.median_time
    )
    return model.tabulate(
        rows,
        (
            *model.BLOCK_FIELDS,
            model.time_field(2, best=None),
            floors.FLOOR_FIELD,
            model.share_field("floor", "time", note=floors.SHARE),
            Field(model.text_column("bound by"), itemgetter("bound"), note=BOUND),
            *(expected or ()),
        ),
        name=f"roofline-{experiment}{suffix}",
        title=f"Roofline of {FLOORED_TITLES[experiment]}: time beside its floor on {rows[0]['device_name']}",
        group_by=(1,),
    )


CHAPTER = Chapter(70, {CEILINGS: roofline_tables})
