"""What a checkpoint reached on a set, class by class, beside the published numbers of its network."""

from typing import TYPE_CHECKING

from reports.model import Column, Row, Table, measuring_conditions, rows_of_experiment
from reports.training.statistics import class_iou, mean_iou

if TYPE_CHECKING:
    import pandas as pd

    from bench.records import Accuracy


def evaluation_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """A table for each checkpoint that was judged."""
    rows = rows_of_experiment(frame, "evaluation")
    return tuple(
        _table(frame, row, number) for number, row in enumerate(rows) if row["accuracy"] is not None
    )


def _table(frame: "pd.DataFrame", row: Row, number: int) -> Table:
    accuracy: Accuracy = row["accuracy"]
    axes: dict[str, object] = row["axes"]
    percent = Column("IoU", "%", 2, 1, "percent", "measured")
    lines = [
        (name, None if score is None else 100 * score)
        for name, score in zip(accuracy.classes, class_iou(accuracy.confusion), strict=True)
    ]
    mean = mean_iou(accuracy.confusion, None)
    said = f"evaluated by {accuracy.protocol!r} on the {accuracy.split} set"
    return Table(
        name="evaluation" if number == 0 else f"evaluation-{number + 1}",
        title=f"{axes['network']} on {axes['dataset']}, checkpoint {axes['checkpoint']}",
        columns=(Column("class", align="left"), percent),
        rows=(*lines, ("mean", mean)),
        caption=f"{said}; {measuring_conditions([row])}",
        notes=tuple(_published(frame, axes)),
    )


def _published(frame: "pd.DataFrame", axes: dict[str, object]) -> list[str]:
    rows = frame[frame["protocol"] == "published"].to_dict("records")
    same = [
        row
        for row in rows
        if all(row["axes"].get(name) == axes[name] for name in ("network", "dataset"))
        and row["published_miou_percent"] is not None
    ]
    if not same:
        return ["The documents give no mIoU of this network on this set."]
    found = ", ".join(
        f"{row['published_miou_percent']:.2f} ({row['axes'].get('crop', '')}, {row['axes'].get('schedule', '')})"
        for row in same
    )
    return [f"Published mIoU by crop and iterations: {found}."]
