"""Times that blocks would take on known devices at the least, by datasheets, and the error where one was measured."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bench.analysis import DEVICES, Datasheet, floor_total_s, policy_of, recognise_device
from reports import model
from reports.blocks.efficiency import BLOCK_TITLES
from reports.blocks.floors import NOT_ITS_OWN, is_fused
from reports.model import Field, Frame, Mark, Row, Table, Value

PREDICTED = (
    "A predicted time is a floor: each operator at the peak or the bandwidth of the datasheet, whichever takes longer, "
    "without launches."
)
ERROR = "An error is the predicted time against the one that was published or measured, in percent of the latter."
IEEE_NOTE = "Products of float32 are in IEEE arithmetic; tf32 is a format of its own."


def predicted_time_tables(frame: Frame, devices: Sequence[Datasheet] = ()) -> tuple[Table, ...]:
    """Predicted times of the blocks of `efficiency` and `table1`, a column for each device (all known by default)."""
    columns = tuple(devices) or tuple(DEVICES.values())
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
    """Predicted time, and if there is one to compare it with, the published or measured one and the error."""

    def published(row: Row) -> float | None:
        document = row["document"]
        is_of_device = document is not None and recognise_device(document.device) is device
        return row["published_time_s"] if is_of_device else None

    def measured(row: Row) -> Value:
        rows = row["measured"]
        here = (other for other in rows if recognise_device(other["device_name"]) is device)
        return next(filter(None, map(model.median_time, here)), None)

    def known(row: Row) -> Value:
        return measured(row) or published(row)

    predicted, error = comparison_fields(device, device.title, known)
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
    """Predict the time of one call on a device at the least, or say why it can't be had there."""
    if is_fused(row):
        return NOT_ITS_OWN
    if not row["ledger"]:
        return model.predicted_value(row, "macs")
    needs = (row["predicted_peak_bytes"] or 0) / model.GIBI
    has = device.memory_bytes / model.GIBI
    if needs > has:
        return Mark(
            f"too large: needs {needs:.1f} GiB by prediction, {device.title} has {has:.0f} GiB"
        )
    try:
        return floor_total_s(row["ledger"], device.ceilings, policy_of(row["dtype"]))
    except ValueError as reason:
        return Mark(f"{device.title}: {reason}")
