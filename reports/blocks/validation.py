"""How far estimated times are from kernels that others timed, beside what a learned predictor reached."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter, itemgetter

import numpy as np
from numpy.typing import NDArray

from bench import analysis
from bench.analysis import recognise_device
from bench.estimate import Checked, Coefficient, coefficients, error_rows
from bench.records import ALL_DEVICES, EstimateErrors
from reports import model
from reports.blocks import predictions
from reports.model import Column, Field, Frame, Interval, Row, Table, Value

# Mean errors in percent on GPUs that it had not seen, float32: Lee, Phanishayee, Mahajan, ASPLOS 2025.
NEUSIGHT = {"bmm": 13.8, "linear": 13.9, "softmax": 13.9, "element-wise": 19.3}
ERROR = (
    "An error is the time against the measured one, in percent of the latter, whichever is longer."
)
COVERED = "Covered: times that lay in the interval, which is made to hold 90 %."
ABOVE = "Above: floors that are longer than the measured time."
REACHED = "With ceilings: by the rates of the device's own best product and best copy in place of the datasheet's."
PUBLISHED = "NeuSight: mean error of a learned predictor on devices that it had not seen, as published (ASPLOS 2025)."
CLASSES = ("bmm", "linear", "convolution", "softmax", "layer norm", "element-wise")
KERNELS = "Estimated times of kernels against measured ones"
KERNELS_CAPTION = "float32; times of kernels alone, without the queue."
CALLS = "Estimated times of calls against measured ones"
CALLS_CAPTION = (
    "By experiment; a call is a forward pass, or with a backward pass, hot cache, strict protocol."
)
KEPT = "Coefficients: {}. Errors on these are of rows that the fit has seen; --leave-out gives the others."
LEFT_OUT = "Each device was estimated with coefficients and intervals that were fitted without it."


def validation_tables(rows: Sequence[EstimateErrors]) -> tuple[Table, ...]:
    """Errors by device and class: of kernels that others timed, or of calls on record, by experiment."""
    is_left_out = all(row.left_out for row in rows)
    title, caption, note = CALLS, CALLS_CAPTION, ""
    if {row.of for row in rows} <= {*CLASSES}:
        source = next((row.source for row in rows if row.source), "")
        title = KERNELS + (", each device left out of the fit" if is_left_out else "")
        caption, note = KERNELS_CAPTION, LEFT_OUT if is_left_out else KEPT.format(source)
    return (
        model.tabulate(
            [{"row": row} for row in rows],
            FIELDS,
            name="validation",
            title=title,
            caption=caption,
            notes=(note,),
            group_by=(0,),
        ),
    )


def _share(name: str, attribute: str, note: str = "", *, optional: bool = False) -> Field:
    read = attrgetter(attribute)
    return Field(model.percent_column(name, 1), lambda line: read(line["row"]), optional, note)


def _published(line: model.Row) -> Value:
    row = line["row"]
    return NEUSIGHT.get(row.of) if row.device == ALL_DEVICES else None


FIELDS = (
    Field(model.text_column("device"), lambda line: line["row"].device),
    Field(model.text_column("class"), lambda line: line["row"].of),
    Field(Column("times"), lambda line: line["row"].kernels),
    _share("floor, mean error", "floor_mean", ERROR),
    Field(Column("above"), lambda line: line["row"].above, note=ABOVE),
    _share("estimate, mean error", "mean"),
    _share("median", "median"),
    _share("covered", "covered", COVERED),
    _share("with ceilings, mean", "reached_mean", REACHED, optional=True),
    _share("with ceilings, median", "reached_median", optional=True),
    Field(
        Column("NeuSight, mean", "%", 1, 1, "percent", "published"),
        _published,
        optional=True,
        note=PUBLISHED,
    ),
)


def record_errors(frame: Frame) -> tuple[EstimateErrors, ...]:
    """Errors of floors and estimates of what was measured on known devices, by experiment."""
    return error_rows(tuple(_checked(frame)))


def _checked(frame: Frame) -> Iterator[Checked]:
    known: dict[tuple[str, str], list[Row]] = {}
    for row in model.rows_of(frame):
        device = recognise_device(row["device_name"])
        is_usual = row["protocol"] == "strict" and not model.uncounted_work(row)
        if device and device.chip and is_usual and model.median_time(row):
            known.setdefault((device.title, row["experiment"]), []).append(row)
    for (title, experiment), rows in known.items():
        device = next(sheet for sheet in analysis.DEVICES.values() if sheet.title == title)
        reached = predictions.reached_ceilings(frame, device)
        times = [(row, predictions.estimated_time(row, device)) for row in rows]
        own = [(row, time) for row, time in times if isinstance(time, Interval)]
        if own:
            by_ceilings = [predictions.estimated_time(row, device, reached) for row, _ in own]
            yield Checked(
                device=title,
                of=experiment,
                measured_s=_seconds(model.median_time(row) for row, _ in own),
                estimate_s=_seconds(time for _, time in own),
                low_s=np.array([time.low for _, time in own], dtype=float),
                high_s=np.array([time.high for _, time in own], dtype=float),
                floor_s=_seconds(predictions.floor_time(row, device) for row, _ in own),
                reached_s=_seconds(by_ceilings) if reached else None,
            )


def _seconds(values: Iterable[Value]) -> NDArray[np.float64]:
    return np.array([model.number_of(value) for value in values], dtype=float)


def coefficient_table() -> Table:
    """Every coefficient of the model with its meaning and source."""
    items = [
        item for name, item in coefficients().items() if not name.startswith(("low ", "high "))
    ]
    return model.tabulate(
        [{"item": item} for item in items],
        (
            Field(model.text_column("coefficient"), lambda row: row["item"].name),
            Field(model.text_column("of"), lambda row: row["item"].of),
            Field(model.text_column("value"), lambda row: f"{row['item'].value:.4g}"),
            Field(model.text_column("unit"), lambda row: row["item"].unit),
            Field(model.text_column("what it is", wide=True), lambda row: row["item"].meaning),
            Field(model.text_column("source", wide=True), lambda row: _source(row["item"])),
        ),
        name="coefficients",
        title="Coefficients of the model",
        caption="",
        notes=(f"Fitted: {next(item.source for item in items if _is_fitted(item))}.",),
    )


def _source(item: Coefficient) -> str:
    return (
        "fitted"
        if _is_fitted(item)
        else item.source.removeprefix("not fitted").removeprefix(" to rows").removeprefix(": ")
    )


def _is_fitted(item: Coefficient) -> bool:
    return not item.source.startswith("not fitted")


def interval_table() -> Table:
    """What an estimate of each class is multiplied by for the ends of its interval."""
    known = coefficients()
    names = [name.removeprefix("low ") for name in known if name.startswith("low ")]
    return model.tabulate(
        [
            {"of": name, "low": known[f"low {name}"].value, "high": known[f"high {name}"].value}
            for name in names
        ],
        (
            Field(model.text_column("class"), itemgetter("of")),
            Field(Column("from", "", 2), itemgetter("low")),
            Field(Column("to", "", 2), itemgetter("high")),
        ),
        name="intervals",
        title="Intervals",
        caption="",
    )
