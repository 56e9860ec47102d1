"""The model zoo's pages: every row beside what the records say of its cost, and its accuracy as printed."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from reports.model import (
    GIBI,
    GIGA,
    PARAMETERS_FIELD,
    RATIO_NOTE,
    UNPREDICTED,
    Column,
    Field,
    Row,
    Table,
    Value,
    axis_value,
    measuring_conditions,
    published_value,
    ratio_of,
    rows_of_experiment,
    tabulate,
    time_interval,
    timing_of,
)

if TYPE_CHECKING:
    import pandas as pd

TRAINING_NOTE = (
    "Memory is that of training: everything alive at the peak of one forward and backward, without the "
    "optimizer's state; the page prints what the allocator held, workspaces included."
)
SPEED_NOTE = (
    "MACs and speed are those of inference on one image or window; the page's speed is that of its own "
    "device, at 769x769 of a window that slides over the whole image."
)
ZOO_ROW = (
    Field(Column("network", align="left"), axis_value("network")),
    Field(Column("dataset", align="left"), axis_value("dataset")),
    Field(Column("crop", align="left"), axis_value("crop")),
    Field(Column("steps"), axis_value("schedule")),
)
ZOOS = {"zoo_ann": "Model zoo: ANN", "zoo_dnl": "Model zoo: DNLNet"}


def zoo_tables(frame: "pd.DataFrame", experiment: str) -> tuple[Table, Table]:
    """One page of the model zoo, `zoo_ann` or `zoo_dnl`: every row beside what the records say, then its accuracy."""
    rows = [_both_modes(same) for same in _by_axes(rows_of_experiment(frame, experiment))]
    efficiency = tabulate(
        rows,
        (*ZOO_ROW, *_zoo_fields()),
        name=experiment,
        title=ZOOS[experiment],
        caption=measuring_conditions(mode for row in rows for mode in row["both"]),
        notes=(TRAINING_NOTE, SPEED_NOTE),
        group_by=(1,),
    )
    accuracy = tabulate(
        rows,
        (*ZOO_ROW, *_zoo_accuracy()),
        name=f"{experiment}-accuracy",
        title=f"{ZOOS[experiment]}: accuracy",
        caption="Published numbers alone.",
        group_by=(1,),
    )
    return efficiency, accuracy


def _by_axes(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(sorted(row["axes"].items())), []).append(row)
    return sorted(found.values(), key=lambda same: _zoo_order(same[0]["axes"]))


def _zoo_order(axes: dict[str, Any]) -> tuple[Any, ...]:
    datasets = ("cityscapes", "ade20k", "voc2012aug")
    dataset = axes.get("dataset", "")
    return (datasets.index(dataset) if dataset in datasets else 3, axes.get("schedule", 0))


def _both_modes(same: Sequence[dict[str, Any]]) -> dict[str, Any]:
    nothing = dict.fromkeys(same[0])
    # Of several devices the one that has a reading.
    by_memory = sorted(same, key=lambda row: row["memory_bytes"] is None)
    by_time = sorted(same, key=lambda row: not row["timings"])
    train = next((row for row in by_memory if row["mode"] == "train"), nothing)
    evaluated = next((row for row in by_time if row["mode"] == "eval"), nothing)
    return same[0] | {"train": train, "eval": evaluated, "both": same}


def _zoo_fields() -> tuple[Field, ...]:
    gibi = partial(Column, "memory", scale=GIBI, base="bytes")
    speed = partial(Column, "speed", "fps", 2, base="per second")
    return (
        PARAMETERS_FIELD,
        Field(Column("MACs", "G", 1, GIGA), lambda row: row["eval"]["macs"], optional=True),
        Field(gibi("GB", 1, source="published"), lambda row: published_value(row, "memory_bytes")),
        Field(gibi("GiB", 2, source="predicted"), _training_bytes),
        Field(
            Column("ratio", "", 2),
            lambda row: ratio_of(row["published_memory_bytes"], _training_bytes(row)),
            note=RATIO_NOTE,
        ),
        Field(
            gibi("GiB", 2, source="measured"),
            lambda row: row["train"]["memory_bytes"],
            optional=True,
        ),
        Field(speed(source="published"), lambda row: published_value(row, "fps")),
        Field(speed(source="measured"), _speed, optional=True),
    )


def _training_bytes(row: Row) -> Value:
    peak: int | None = row["train"]["predicted_peak_bytes"]
    return UNPREDICTED if peak is None else peak


def _zoo_accuracy() -> tuple[Field, ...]:
    score = partial(Column, unit="%", digits=2, base="percent", source="published")
    return (
        Field(score("mIoU"), lambda row: published_value(row, "miou_percent")),
        Field(
            score("mIoU, scales and flip"), lambda row: published_value(row, "miou_ms_flip_percent")
        ),
    )


def _speed(row: Row) -> Value:
    """Images per second of the forward pass."""
    found = time_interval(timing_of(row["eval"]))
    return None if found is None else row["eval"]["batch"] / found.median
