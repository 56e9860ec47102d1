"""Times of blocks on known devices that need not be there: the least and the likely one, from ledger and datasheet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter

from bench import analysis
from bench.analysis import (
    Ceilings,
    Datasheet,
    Policy,
    find_device,
    measured_ceilings,
    policy_of,
    recognise_device,
)
from bench.estimate import BEFORE_SHAPES, Estimate, Estimator
from reports import model
from reports.blocks import floors
from reports.blocks.efficiency import BLOCK_TITLES
from reports.blocks.floors import CEILINGS, FLOOR_FIELD, NOT_ITS_OWN, OPERATOR_FIELDS, is_fused
from reports.model import Field, Frame, Interval, Mark, Row, Table, Value

PREDICTED = (
    "A floor has each operator at the peak or the bandwidth of the datasheet, whichever takes longer, without launches "
    "and without what the second cache may hold."
)
ESTIMATED = (
    "An estimate has each operator by tiles and waves or by its bytes, as kernels on other GPUs were timed; in "
    "brackets where 90 % of single kernels lay (docs/estimates.md)."
)
BOUND_BY = "Bound by: operations as long products keep them up, tiles and waves that are not full, memory, launches."
ERROR = (
    "An error is the estimate, or without one the floor, against the time that was published or measured, in "
    "percent of the latter."
)
BY_CEILINGS = (
    " {} is estimated by the rates that one was seen to reach, in place of the datasheet's."
)
IEEE_NOTE = "Products of float32 are in IEEE arithmetic; tf32 is a format of its own."


def predicted_time_tables(frame: Frame, devices: Sequence[Datasheet] = ()) -> tuple[Table, ...]:
    """Predicted times of the blocks of `efficiency` and `table1` on each device (the usual ones by default)."""
    columns = tuple(devices) or tuple(map(find_device, analysis.USUAL_DEVICES))
    tables = (_predicted_times(frame, experiment, columns) for experiment in BLOCK_TITLES)
    return tuple(table for table in tables if table.rows)


def _predicted_times(frame: Frame, experiment: str, devices: Sequence[Datasheet]) -> Table:
    known = [
        row
        for row in model.rows_of_experiment(frame, experiment)
        if row["protocol"] == "strict"
        and (row["ledger"] or row["predicted_failure"] or row["failure"] or row["macs"] == 0)
    ]
    groups = model.by_axes(known, "dtype", "mode", "batch").values()
    reached = {device.title: reached_ceilings(frame, device) for device in devices}
    fields = (
        field for device in devices for field in _device_fields(device, reached[device.title])
    )
    is_old = any(map(_is_without_shapes, known))
    without = (f"No estimate: {BEFORE_SHAPES}.",) if is_old else ()
    return model.tabulate(
        sorted(({**same[0], "measured": same} for same in groups), key=model.pixels),
        (*model.BLOCK_FIELDS, *fields),
        name=f"roofline-{experiment}-predicted",
        title=f"Predicted times of {BLOCK_TITLES[experiment]} on known devices",
        caption="Predicted without execution, from operators, bytes and the devices' datasheets; strict protocol.",
        notes=(IEEE_NOTE, *(f"{device.title}: {device.source}." for device in devices), *without),
        group_by=(1,),
    )


def pass_tables(frame: Frame, devices: Sequence[Datasheet]) -> tuple[Table, ...]:
    """Floors of our kernels by pass, of the blocks of `efficiency` that are computed by them."""
    groups = model.by_axes(model.rows_of_experiment(frame, "efficiency"), "dtype", "mode", "batch")
    counted = (next((row for row in same if row["ledger"]), None) for same in groups.values())
    table = floors.pass_table([row for row in counted if row], devices)
    return (table,) if table else ()


def _is_without_shapes(row: Row) -> bool:
    return any(
        any(alike.macs and not alike.products for alike in work.alike)
        or (not work.alike and (work.macs or work.moved_bytes))
        for work in row["ledger"] or ()
    )


def reached_ceilings(frame: Frame, device: Datasheet) -> Ceilings | None:
    """What such a device was seen to reach, where a record of it is among the rows."""
    rows = model.rows_of_experiment(frame, CEILINGS)
    own = (row[CEILINGS] for row in rows if recognise_device(row["device_name"]) is device)
    return next(filter(None, map(measured_ceilings, filter(None, own))), None)


def _device_fields(device: Datasheet, reached: Ceilings | None) -> Iterator[Field]:

    def published(row: Row) -> float | None:
        document = row["document"]
        is_of_device = document is not None and recognise_device(document.device) is device
        return row["published_time_s"] if is_of_device else None

    def measured(row: Row) -> Value:
        rows = row["measured"]
        here = (other for other in rows if recognise_device(other["device_name"]) is device)
        return next(filter(None, map(model.median_time, here)), None)

    floor, estimate, error = comparison_fields(
        device, device.title, lambda row: measured(row) or published(row), reached
    )
    yield floor
    yield estimate
    yield Field(model.time_column(device.title, "published"), published, optional=True)
    yield Field(model.time_column(device.title), measured, optional=True)
    yield error


def comparison_fields(
    device: Datasheet, name: str, known: Callable[[Row], Value], reached: Ceilings | None = None
) -> tuple[Field, Field, Field]:
    """Make the columns of the least and the likely time on a device, and of the error where a time is known."""

    def error(row: Row) -> Value:
        estimate = estimated_time(row, device, reached)
        predicted = floor_time(row, device) if isinstance(estimate, Mark) else estimate
        share = model.number_of(model.ratio_of(predicted, known(row)))
        return None if share is None else model.marked(share - 1, row)

    return (
        Field(
            model.time_column(f"{name}, floor", "predicted", 3),
            partial(floor_time, device=device),
            note=PREDICTED,
        ),
        Field(
            model.time_column(f"{name}, estimate", "predicted", 3),
            partial(estimated_time, device=device, reached=reached),
            optional=True,
            note=ESTIMATED + (BY_CEILINGS.format(device.title) if reached else ""),
        ),
        Field(model.percent_column("error"), error, optional=True, note=ERROR),
    )


def floor_time(row: Row, device: Datasheet) -> Value:
    """The least time of a row's operators on a device, or why there is none."""
    return _predicted(
        row,
        device,
        lambda policy: analysis.floor_total_s(row["ledger"], device.ceilings, policy),
    )


def estimated_time(row: Row, device: Datasheet, reached: Ceilings | None = None) -> Value:
    """The likely time of a row's operators on a device, with its interval; or why there is none."""

    def estimate(policy: Policy) -> Value:
        parts = Estimator(device, policy, reached).estimates(row["ledger"])
        time_s, low_s, high_s = (
            sum(getattr(part, name) for part in parts) for name in ("time_s", "low_s", "high_s")
        )
        return Interval(time_s, low_s, high_s)

    return _predicted(row, device, estimate)


def estimated_operators(row: Row, reached: Ceilings | None) -> tuple[Estimate, ...]:
    """Estimates of a row's operators on the GPU on which it was measured; none where that is not known."""
    device = recognise_device(row["device_name"])
    if device is None or isinstance(estimated_time(row, device, reached), Mark):
        return ()
    return Estimator(device, _policy(row, device), reached).estimates(row["ledger"])


def _policy(row: Row, device: Datasheet) -> Policy:
    # A device without TF32 computes in float32 whatever torch was told.
    is_told = recognise_device(row["device_name"]) is device and "tf32" in device.ceilings.products
    return policy_of(row["dtype"], row["environment"] if is_told else None)


def _predicted(row: Row, device: Datasheet, time: Callable[[Policy], Value]) -> Value:
    if is_fused(row):
        return NOT_ITS_OWN
    if not row["ledger"]:
        return model.predicted_value(row, "macs")
    needs, has = (row["predicted_peak_bytes"] or 0) / model.GIBI, device.memory_bytes / model.GIBI
    if needs > has:
        too_large = f"too large: needs {needs:.1f} GiB by prediction"
        return Mark(f"{too_large}, {device.title} has {has:.0f} GiB")
    try:
        return model.marked(time(_policy(row, device)), row)
    except ValueError as reason:
        return Mark(f"{device.title}: {reason}")


def operator_estimates(frame: Frame, device: Datasheet) -> tuple[Table, ...]:
    """Each operator of each block on a device: floor, estimate and what it is bound by; blocks without one left out."""
    reached = reached_ceilings(frame, device)
    return tuple(
        _estimate_table(row, device, reached)
        for experiment in BLOCK_TITLES
        for row in model.rows_of_experiment(frame, experiment)
        if row["protocol"] == "strict" and isinstance(estimated_time(row, device), Interval)
    )


def _estimate_table(row: Row, device: Datasheet, reached: Ceilings | None) -> Table:
    policy = _policy(row, device)
    parts = Estimator(device, policy, reached).estimates(row["ledger"])
    lowest = analysis.floors(row["ledger"], device.ceilings, policy)
    whole_s = sum(part.time_s for part in parts)
    lines = [
        {
            "operator": part.name.removeprefix("aten."),
            "work": work,
            "floor": floor.time_s,
            "estimate": Interval(part.time_s, part.low_s, part.high_s),
            "part": part.time_s / whole_s,
            "bound": part.bound,
        }
        for part, floor, work in zip(parts, lowest, row["ledger"], strict=True)
        if part.time_s
    ]
    conditions = (row["axes"].get(name) for name in ("dtype", "mode"))
    block = " ".join(map(str, (row["axes"]["block"], row["size"], *filter(None, conditions))))
    return model.tabulate(
        sorted(lines, key=itemgetter("part"), reverse=True),
        ESTIMATE_FIELDS,
        name=f"estimate-{block}".replace(":", "-").replace(" ", "-"),
        title=f"Operators of {block} on {device.title}, predicted",
        caption="",
    )


ESTIMATE_FIELDS = (
    *OPERATOR_FIELDS[:4],
    replace(FLOOR_FIELD, note=""),
    Field(model.time_column("estimate", "", 3), itemgetter("estimate")),
    Field(model.percent_column("of the estimate", 1), itemgetter("part")),
    Field(model.text_column("bound by"), itemgetter("bound"), note=BOUND_BY),
)
