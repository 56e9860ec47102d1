"""Times that blocks would take on known devices at the least, by datasheets, and the error where one was measured."""

from collections.abc import Callable, Sequence
from functools import partial

from bench.analysis import (
    DEVICES,
    Datasheet,
    floor_total_s,
    policy_of,
    recognise_device,
)
from reports.blocks.efficiency import BLOCK_TITLES
from reports.blocks.floors import NOT_ITS_OWN, is_fused
from reports.model import (
    BLOCK_FIELDS,
    GIBI,
    Field,
    Frame,
    Mark,
    Row,
    Table,
    Value,
    by_axes,
    median_time,
    number_of,
    percent_column,
    pixels,
    predicted_value,
    ratio_of,
    rows_of_experiment,
    tabulate,
    time_column,
)

PREDICTED = (
    "A predicted time is a floor: each operator at the peak or the bandwidth of the datasheet, whichever takes longer, "
    "without launches."
)
ERROR = "An error is the predicted time against the one that was published or measured, in percent of the latter."
IEEE_NOTE = "Products of float32 are in IEEE arithmetic; tf32 is a format of its own."


def predicted_time_tables(frame: Frame, devices: Sequence[Datasheet] = ()) -> tuple[Table, ...]:
    """Predicted times of what `efficiency` and `table1` asked, a column for each device (all known by default)."""
    columns = tuple(devices) or tuple(DEVICES.values())
    tables = (_predicted_times(frame, experiment, columns) for experiment in BLOCK_TITLES)
    return tuple(table for table in tables if table.rows)


def _predicted_times(frame: Frame, experiment: str, devices: Sequence[Datasheet]) -> Table:
    """Predicted times of one experiment's blocks."""
    strict = (row for row in rows_of_experiment(frame, experiment) if row["protocol"] == "strict")
    known = (row for row in strict if row["ledger"] or row["failure"])
    groups = by_axes(known, "dtype", "mode", "batch").values()
    return tabulate(
        sorted(({**same[0], "measured": same} for same in groups), key=pixels),
        (*BLOCK_FIELDS, *(field for device in devices for field in _device_fields(device))),
        name=f"roofline-{experiment}-predicted",
        title=f"Predicted times of {BLOCK_TITLES[experiment]} on known devices",
        caption="Predicted without execution, from operators, bytes and the devices' datasheets; strict protocol.",
        notes=(IEEE_NOTE, *(f"{device.title}: {device.source}." for device in devices)),
        group_by=(1,),
    )


def _device_fields(device: Datasheet) -> tuple[Field, ...]:
    """Predicted time, and if there is one to compare it with, the published or measured one and the error."""
    published = partial(_published_time, device=device)
    measured = partial(_measured_time, device=device)

    def known(row: Row) -> Value:
        time = measured(row)
        return published(row) if time is None else time

    return (
        predicted_field(device, device.title),
        Field(time_column(device.title, "published"), published, optional=True),
        Field(time_column(device.title), measured, optional=True),
        error_field(device, known),
    )


def predicted_field(device: Datasheet, name: str) -> Field:
    """Make the column of what a device takes at the least."""
    column = time_column(name, "predicted", 3)
    return Field(column, partial(predicted_time, device=device), note=PREDICTED)


def error_field(device: Datasheet, known: Callable[[Row], Value]) -> Field:
    """Make the column of how far off the predictions are; None where either time is missing."""

    def error(row: Row) -> Value:
        share = number_of(ratio_of(predicted_time(row, device), known(row)))
        return None if share is None else share - 1

    return Field(percent_column("error"), error, optional=True, note=ERROR)


def predicted_time(row: Row, device: Datasheet) -> Value:
    """Predict the time of one call on a device at the least, or say why it can't be had there."""
    if is_fused(row):
        return NOT_ITS_OWN
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


def _published_time(row: Row, device: Datasheet) -> Value:
    document = row["document"]
    is_of_device = document is not None and recognise_device(document.device) is device
    time: float | None = row["published_time_s"] if is_of_device else None
    return time


def _measured_time(row: Row, device: Datasheet) -> Value:
    rows: list[Row] = row["measured"]
    here = (each for each in rows if recognise_device(each["device_name"]) is device)
    times = map(median_time, here)
    return next((time for time in times if time is not None), None)
