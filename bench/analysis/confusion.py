"""Intersection over union and pixel accuracy from the confusion matrix of a whole set.

Rows are the true classes, columns the predicted ones. One matrix is summed over all images, as the
paper, the official code and mmseg do; a mean of figures of single images would be another quantity.
"""

import statistics
from collections.abc import Collection, Sequence

IGNORE = 255  # label of pixels that don't count
Confusion = Sequence[Sequence[int]]


def class_iou(confusion: Confusion) -> tuple[float | None, ...]:
    """Intersection over union of each class; None for one that is neither in the truth nor predicted.

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


def mean_iou(confusion: Confusion, classes: Collection[int] | None = None) -> float | None:
    """Mean intersection over union in percent, over those of `classes` that occur; None where none does."""
    shares = [
        share
        for at, share in enumerate(class_iou(confusion))
        if share is not None and (classes is None or at in classes)
    ]
    return 100 * statistics.fmean(shares) if shares else None


def pixel_accuracy(confusion: Confusion) -> float | None:
    """Share of labelled pixels, from 0 to 1, whose class was predicted; None where there was none."""
    total = sum(map(sum, confusion))
    return sum(row[at] for at, row in enumerate(confusion)) / total if total else None
