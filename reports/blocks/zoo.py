"""The model zoo's pages: every row beside what the records say of its cost, and its accuracy as printed."""

from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from reports import model
from reports.model import Chapter, Column, Field, Frame, Row, Table

TRAINING_NOTE = (
    "Memory is that of training: everything alive at the peak of one forward and backward, without the "
    "optimizer's state; the page prints what the allocator held, workspaces included."
)
SPEED_NOTE = (
    "MACs and speed are those of inference on one image or window; the page's speed is that of its own "
    "device, at 769x769 of a window that slides over the whole image."
)
ZOO_ROW = (
    *map(model.axis_field, ("network", "dataset", "crop")),
    model.axis_field("schedule", Column("steps")),
)
ZOOS = {"zoo_ann": "Model zoo: ANN", "zoo_dnl": "Model zoo: DNLNet"}
ZOO_DATASETS = {"cityscapes": 0, "ade20k": 1, "voc2012aug": 2}
ACCURACIES = {"mIoU": "miou_percent", "mIoU, scales and flip": "miou_ms_flip_percent"}
ZOO_MEMORY = partial(Column, "memory", scale=model.GIBI, base="bytes")
SPEED = partial(Column, "speed", "fps", 2, base="per second")


def zoo_tables(frame: Frame, experiment: str) -> tuple[Table, Table]:
    """One page of the model zoo: every row beside what the records say, then its accuracy."""

    def order(row: Row) -> tuple[int, int]:
        axes = row["axes"]
        return ZOO_DATASETS.get(axes.get("dataset", ""), 3), axes.get("schedule", 0)

    groups = model.by_axes(model.rows_of_experiment(frame, experiment)).values()
    rows = sorted(map(_both_modes, groups), key=order)
    score = partial(Column, unit="%", digits=2, base="percent", source="published")
    scores = (
        model.published_field(score(name), column, optional=False)
        for name, column in ACCURACIES.items()
    )
    return (
        model.tabulate(
            rows,
            (*ZOO_ROW, *ZOO_FIELDS),
            name=experiment,
            title=ZOOS[experiment],
            caption=model.measuring_conditions(mode for row in rows for mode in row["both"]),
            notes=(TRAINING_NOTE, SPEED_NOTE),
            group_by=(1,),
        ),
        model.tabulate(
            rows,
            (*ZOO_ROW, *scores),
            name=f"{experiment}-accuracy",
            title=f"{ZOOS[experiment]}: accuracy",
            caption="Published numbers alone.",
            group_by=(1,),
        ),
    )


def _both_modes(same: Sequence[Row]) -> Row:
    """The row of a network with its readings in training and in inference; of several devices the one that has one."""

    def first(mode: str, reading: str) -> Row:
        rows = sorted(same, key=lambda row: not row[reading])
        return next((row for row in rows if row["mode"] == mode), dict.fromkeys(same[0]))

    training, inference = first("train", "memory_bytes"), first("eval", "timings")
    peak, time = training["predicted_peak_bytes"], model.median_time(inference)
    return {
        **same[0],
        "both": same,
        "peak": model.UNPREDICTED if peak is None else peak,
        "memory": training["memory_bytes"],
        "macs": inference["macs"] and model.counted_value(inference, "macs"),
        "speed": inference["batch"] / time.median if time else None,
    }


ZOO_FIELDS = (
    model.PARAMETERS_FIELD,
    Field(Column("MACs", "G", 1, model.GIGA), itemgetter("macs"), optional=True),
    model.published_field(ZOO_MEMORY("GB", 1, source="published"), "memory_bytes", optional=False),
    Field(ZOO_MEMORY("GiB", 2, source="predicted"), itemgetter("peak")),
    model.published_ratio("memory_bytes", itemgetter("peak"), 2, optional=False),
    Field(ZOO_MEMORY("GiB", 2, source="measured"), itemgetter("memory"), optional=True),
    model.published_field(SPEED(source="published"), "fps", optional=False),
    Field(SPEED(source="measured"), itemgetter("speed"), optional=True),
)
CHAPTER = Chapter(30, {name: partial(zoo_tables, experiment=name) for name in ZOOS})
