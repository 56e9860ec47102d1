"""The model zoo's pages: every row beside what the records say of its cost, and its accuracy as printed."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from reports.model import (
    GIBI,
    GIGA,
    PARAMETERS_FIELD,
    UNPREDICTED,
    Chapter,
    Column,
    Field,
    Frame,
    Row,
    Table,
    Value,
    axis_field,
    axis_value,
    by_axes,
    measuring_conditions,
    median_time,
    published_field,
    published_ratio,
    rows_of_experiment,
    tabulate,
)

TRAINING_NOTE = (
    "Memory is that of training: everything alive at the peak of one forward and backward, without the "
    "optimizer's state; the page prints what the allocator held, workspaces included."
)
SPEED_NOTE = (
    "MACs and speed are those of inference on one image or window; the page's speed is that of its own "
    "device, at 769x769 of a window that slides over the whole image."
)
ZOO_ROW = (
    *map(axis_field, ("network", "dataset", "crop")),
    Field(Column("steps"), axis_value("schedule")),
)
ZOOS = {"zoo_ann": "Model zoo: ANN", "zoo_dnl": "Model zoo: DNLNet"}
ZOO_DATASETS = ("cityscapes", "ade20k", "voc2012aug")


def zoo_tables(frame: Frame, experiment: str) -> tuple[Table, Table]:
    """One page of the model zoo: every row beside what the records say, then its accuracy."""
    groups = by_axes(rows_of_experiment(frame, experiment)).values()
    rows = sorted(map(_both_modes, groups), key=_zoo_order)
    score = partial(Column, unit="%", digits=2, base="percent", source="published")
    accuracies = {"mIoU": "miou_percent", "mIoU, scales and flip": "miou_ms_flip_percent"}
    return (
        tabulate(
            rows,
            (*ZOO_ROW, *_zoo_fields()),
            name=experiment,
            title=ZOOS[experiment],
            caption=measuring_conditions(mode for row in rows for mode in row["both"]),
            notes=(TRAINING_NOTE, SPEED_NOTE),
            group_by=(1,),
        ),
        tabulate(
            rows,
            (
                *ZOO_ROW,
                *(
                    published_field(score(name), column, optional=False)
                    for name, column in accuracies.items()
                ),
            ),
            name=f"{experiment}-accuracy",
            title=f"{ZOOS[experiment]}: accuracy",
            caption="Published numbers alone.",
            group_by=(1,),
        ),
    )


def _zoo_order(row: Row) -> tuple[int, int]:
    axes: Mapping[str, Any] = row["axes"]
    dataset = axes.get("dataset", "")
    return (ZOO_DATASETS.index(dataset) if dataset in ZOO_DATASETS else 3, axes.get("schedule", 0))


def _both_modes(same: Sequence[Row]) -> Row:
    """The row of a network with its readings in training and in inference; of several devices the one that has one."""
    nothing: Row = dict.fromkeys(same[0])

    def first(mode: str, reading: str) -> Row:
        rows: Iterable[Row] = sorted(same, key=lambda row: not row[reading])
        return next((row for row in rows if row["mode"] == mode), nothing)

    modes = {"train": first("train", "memory_bytes"), "eval": first("eval", "timings")}
    return {**same[0], **modes, "both": same}


def _zoo_fields() -> tuple[Field, ...]:
    memory = partial(Column, "memory", scale=GIBI, base="bytes")
    speed = partial(Column, "speed", "fps", 2, base="per second")
    return (
        PARAMETERS_FIELD,
        Field(Column("MACs", "G", 1, GIGA), lambda row: row["eval"]["macs"], optional=True),
        published_field(memory("GB", 1, source="published"), "memory_bytes", optional=False),
        Field(memory("GiB", 2, source="predicted"), _training_bytes),
        published_ratio("memory_bytes", _training_bytes, 2, optional=False),
        Field(
            memory("GiB", 2, source="measured"),
            lambda row: row["train"]["memory_bytes"],
            optional=True,
        ),
        published_field(speed(source="published"), "fps", optional=False),
        Field(speed(source="measured"), _speed, optional=True),
    )


def _training_bytes(row: Row) -> Value:
    peak: int | None = row["train"]["predicted_peak_bytes"]
    return UNPREDICTED if peak is None else peak


def _speed(row: Row) -> Value:
    """Images per second of the forward pass."""
    time = median_time(row["eval"])
    return None if time is None else row["eval"]["batch"] / time.median


CHAPTER = Chapter(30, {name: partial(zoo_tables, experiment=name) for name in ZOOS})
