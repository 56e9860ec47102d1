"""Times that blocks would take on known devices at the least, by datasheets, and the error where one was measured."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.analysis import DEVICES, Datasheet, floor_total_s, policy_of, recognise_device
from reports.blocks import floors
from reports.model import (
    BLOCK_FIELDS,
    GIBI,
    MILLI,
    Column,
    Field,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    number_of,
    pixels,
    predicted_value,
    ratio_of,
    rows_of_experiment,
    tabulate,
    time_interval,
    timing_of,
)

if TYPE_CHECKING:
    import pandas as pd

EXPERIMENTS = {"efficiency": "Efficiency", "table1": "Table 1"}
PERCENT = 0.01
# Size before the optional ones, as it groups the rows.
NAMED = BLOCK_FIELDS
PREDICTED = (
    "A predicted time is a floor: each operator at the peak or the bandwidth of the datasheet, whichever takes longer, "
    "without launches."
)
ERROR = "An error is the predicted time against the one that was published or measured, in percent of the latter."
PRECISION = "Products of float32 are in IEEE arithmetic; tf32 is a format of its own."


def predicted_time_tables(
    frame: "pd.DataFrame", chosen: Sequence[Datasheet] = ()
) -> tuple[Table, ...]:
    """Predicted times of what `efficiency` and `table1` asked, a column for each device (all known by default)."""
    shown = tuple(chosen) or tuple(DEVICES.values())
    tables = (predicted_time_table(frame, experiment, shown) for experiment in EXPERIMENTS)
    return tuple(made for made in tables if made.rows)


def predicted_time_table(
    frame: "pd.DataFrame", experiment: str, chosen: Sequence[Datasheet]
) -> Table:
    """Predicted times of one experiment's blocks."""
    asked = rows_of_experiment(frame, experiment)
    rows = _joined(
        row for row in asked if row["protocol"] == "strict" and (row["ledger"] or row["failure"])
    )
    return tabulate(
        sorted(rows, key=pixels),
        (*NAMED, *(field for device in chosen for field in _of(device))),
        name=f"roofline-{experiment}-predicted",
        title=f"Predicted times of {EXPERIMENTS[experiment]} on known devices",
        caption="Predicted without execution, from operators, bytes and the devices' datasheets; strict protocol.",
        notes=(PRECISION, *(f"{device.title}: {device.source}." for device in chosen)),
        group_by=(1,),
    )


def _joined(rows: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """One row for each thing asked, with the rows of all devices that measured it under `measured`."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        key = (*sorted(row["axes"].items()), row["dtype"], row["mode"], row["batch"])
        alike.setdefault(key, []).append(row)
    return [dict(same[0]) | {"measured": same} for same in alike.values()]


def _of(device: Datasheet) -> tuple[Field, ...]:
    """Predicted time, and if there is one to compare it with, the published or measured one and the error."""
    known = partial(_seen, device=device)
    predicted = partial(predicted_time, device=device)
    shown = partial(Column, unit="ms", digits=2, scale=MILLI, base="seconds")
    return (
        Field(shown(device.title, source="predicted", digits=3), predicted, note=PREDICTED),
        Field(
            shown(device.title, source="published"),
            partial(_published, device=device),
            optional=True,
        ),
        Field(
            shown(device.title, source="measured"), partial(_measured, device=device), optional=True
        ),
        error_field(lambda row: time_error(predicted(row), known(row))),
    )


def error_field(value: Callable[[Row], Value]) -> Field:
    """Make the column of errors."""
    return Field(Column("error", "%", 0, PERCENT, "share"), value, optional=True, note=ERROR)


def time_error(predicted: Value, found: Value) -> Value:
    """By what share of the found time the predicted one is off; None where either is missing."""
    share = number_of(ratio_of(predicted, found))
    return None if share is None else share - 1


def predicted_time(row: Row, device: Datasheet) -> Value:
    """Predict the time of one call on a device at the least, or say why it can't be had there."""
    if floors.is_fused(row):
        return floors.NOT_ITS_OWN
    if not row["ledger"]:
        return predicted_value(row, "macs")
    needs = row["predicted_peak_bytes"]
    if needs and needs > device.memory_bytes:
        has = f"{device.memory_bytes / GIBI:.0f} GiB"
        return Mark(
            f"too large: needs {needs / GIBI:.1f} GiB by prediction, {device.title} has {has}"
        )
    try:
        return floor_total_s(row["ledger"], device.ceilings, policy_of(row["dtype"]))
    except ValueError as reason:
        return Mark(f"{device.title}: {reason}")


def _published(row: Row, device: Datasheet) -> Value:
    document = row["document"]
    if document is None or recognise_device(document.device) is not device:
        return None
    found: float | None = row["published_time_s"]
    return found


def _measured(row: Row, device: Datasheet) -> Value:
    for one in row["measured"]:
        found = time_interval(timing_of(one))
        if found is not None and recognise_device(one["device_name"]) is device:
            return Interval(found.median)
    return None


def _seen(row: Row, device: Datasheet) -> Value:
    """What a device took: as measured, else as published."""
    measured = _measured(row, device)
    return _published(row, device) if measured is None else measured
