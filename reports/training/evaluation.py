"""What a checkpoint reached on a set, class by class, beside the published numbers of its network."""

from bench.analysis import class_iou, mean_iou
from reports.model import (
    Column,
    Frame,
    Row,
    Table,
    measuring_conditions,
    rows_of,
    rows_of_experiment,
    text_column,
)


def evaluation_tables(frame: Frame) -> tuple[Table, ...]:
    """A table for each checkpoint that was evaluated."""
    rows = rows_of_experiment(frame, "evaluation")
    return tuple(
        _class_table(frame, row, number)
        for number, row in enumerate(rows)
        if row["accuracy"] is not None
    )


def _class_table(frame: Frame, row: Row, number: int) -> Table:
    accuracy, axes = row["accuracy"], row["axes"]
    ious = zip(accuracy.classes, class_iou(accuracy.confusion), strict=True)
    protocol = f"evaluated by {accuracy.protocol!r} on the {accuracy.split} set"
    return Table(
        name="evaluation" if number == 0 else f"evaluation-{number + 1}",
        title=f"{axes['network']} on {axes['dataset']}, checkpoint {axes['checkpoint']}",
        columns=(text_column("class"), Column("IoU", "%", 2, 1, "percent", "measured")),
        rows=(
            *((name, None if iou is None else 100 * iou) for name, iou in ious),
            ("mean", mean_iou(accuracy.confusion)),
        ),
        caption=f"{protocol}; {measuring_conditions([row])}",
        notes=(_published_note(frame, axes),),
    )


def _published_note(frame: Frame, axes: dict[str, object]) -> str:
    numbers = ", ".join(
        f"{row['published_miou_percent']:.2f} ({row['axes'].get('crop', '')}, {row['axes'].get('schedule', '')})"
        for row in rows_of(frame[frame["protocol"] == "published"])
        if all(row["axes"].get(name) == axes[name] for name in ("network", "dataset"))
        and row["published_miou_percent"] is not None
    )
    if not numbers:
        return "The documents give no mIoU of this network on this set."
    return f"Published mIoU by crop and iterations: {numbers}."
