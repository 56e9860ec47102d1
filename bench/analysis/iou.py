"""Intersection over union of classes, from the confusion matrix of a whole set as a record keeps it."""

import statistics
from collections.abc import Collection, Sequence


def class_iou(confusion: Sequence[Sequence[int]]) -> tuple[float | None, ...]:
    """Intersection over union of each class; None for one that is neither in the truth nor predicted.

    Args:
        confusion: pixels; rows are the truth, columns the prediction.

    Raises:
        ValueError: the matrix is not square.
    """
    if any(len(row) != len(confusion) for row in confusion):
        msg = (
            f"a confusion matrix of {len(confusion)} rows needs as many columns; rows are the truth"
        )
        raise ValueError(msg)
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    unions = [sum(row) + predicted[at] - row[at] for at, row in enumerate(confusion)]
    return tuple(confusion[at][at] / union if union else None for at, union in enumerate(unions))


def mean_iou(
    confusion: Sequence[Sequence[int]], classes: Collection[int] | None = None
) -> float | None:
    """Mean intersection over union in percent, over those of `classes` that occur; None where none does."""
    present = [
        iou
        for at, iou in enumerate(class_iou(confusion))
        if iou is not None and (classes is None or at in classes)
    ]
    return 100 * statistics.fmean(present) if present else None
