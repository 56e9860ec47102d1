"""What a checkpoint reached on a set, class by class, beside the published numbers of its network."""

from bench.analysis import class_iou, mean_iou
from reports import model
from reports.model import Column, Frame, Row, Table


def evaluation_tables(frame: Frame) -> tuple[Table, ...]:
    """A table for each checkpoint that was evaluated."""
    rows = enumerate(model.rows_of_experiment(frame, "evaluation"), start=1)
    return tuple(
        _class_table(frame, row, number) for number, row in rows if row["accuracy"] is not None
    )


def _class_table(frame: Frame, row: Row, number: int) -> Table:
    accuracy, axes = row["accuracy"], row["axes"]
    ious = zip(accuracy.classes, class_iou(accuracy.confusion), strict=True)
    protocol = f"evaluated by {accuracy.protocol!r} on the {accuracy.split} set"
    published = ", ".join(
        f"{row['published_miou_percent']:.2f} ({row['axes'].get('crop', '')}, {row['axes'].get('schedule', '')})"
        for row in model.rows_of(frame[frame["protocol"] == "published"])
        if all(row["axes"].get(name) == axes[name] for name in ("network", "dataset"))
        and row["published_miou_percent"] is not None
    )
    missing = "The documents give no mIoU of this network on this set."
    return Table(
        name="evaluation" if number == 1 else f"evaluation-{number}",
        title=f"{axes['network']} on {axes['dataset']}, checkpoint {axes['checkpoint']}",
        columns=(model.text_column("class"), Column("IoU", "%", 2, 1, "percent", "measured")),
        rows=(
            *((name, None if iou is None else 100 * iou) for name, iou in ious),
            ("mean", mean_iou(accuracy.confusion)),
        ),
        caption=f"{protocol}; {model.measuring_conditions([row])}",
        notes=(f"Published mIoU by crop and iterations: {published}." if published else missing,),
    )
