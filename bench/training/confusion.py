"""The confusion matrix of a whole set, and the intersection over union of its classes.

One matrix is summed over all images, as the paper, the official code and mmseg do; a mean of figures
of single images would be another quantity.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from bench.training.data import IGNORE


class ConfusionMatrix:
    """Counts of pixels: row for the true class, column for the predicted one.

    `counts` is an int64 tensor [classes, classes].
    """

    def __init__(self, classes: int, *, device: str | torch.device = "cpu") -> None:
        if classes < 1:
            msg = f"classes={classes} is not a number of classes; pass 1 or more"
            raise ValueError(msg)
        self.classes = classes
        self.counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)

    def update(self, prediction: Int[Tensor, "..."], label: Int[Tensor, "..."]) -> None:
        """Add the pixels of one or more images; those labelled 255 are left out.

        Args:
            prediction: predicted classes, 0 to classes - 1.
            label: true classes in the same shape, or 255.

        Raises:
            ValueError: the shapes differ, or a class is outside the range.
        """
        if prediction.shape != label.shape:
            msg = (
                f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in size; "
                "predict at the size of the label"
            )
            raise ValueError(msg)
        label = label.to(prediction.device)
        valid = label != IGNORE
        truth, seen = label[valid].long(), prediction[valid].long()
        if not truth.numel():
            return
        self._check("label", truth)
        self._check("prediction", seen)
        pairs = torch.bincount(truth * self.classes + seen, minlength=self.classes**2)
        self.counts += pairs.view(self.classes, self.classes).to(self.counts.device)

    def _check(self, what: str, values: Tensor) -> None:
        low, high = (int(value) for value in values.aminmax())
        if low < 0 or high >= self.classes:
            wrong = low if low < 0 else high
            msg = (
                f"{what} {wrong} is no class; allowed are 0 to {self.classes - 1}, "
                f"and {IGNORE} in labels for pixels that don't count"
            )
            raise ValueError(msg)

    def reduce(self) -> None:
        """Sum over the processes of a distributed evaluation; alone it does nothing."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.counts)

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Return the counts as a record keeps them."""
        return tuple(tuple(row) for row in self.counts.tolist())

    def ious(self) -> tuple[float | None, ...]:
        """Intersection over union of each class; None for one that is neither in the labels nor predicted."""
        hits = self.counts.diagonal()
        unions = self.counts.sum(dim=0) + self.counts.sum(dim=1) - hits
        pairs = zip(hits.tolist(), unions.tolist(), strict=True)
        return tuple(hit / union if union else None for hit, union in pairs)

    def mean_iou(self) -> float | None:
        """Mean over the classes that occur, from 0 to 1; None where no pixel was labelled."""
        found = [iou for iou in self.ious() if iou is not None]
        return sum(found) / len(found) if found else None

    def pixel_accuracy(self) -> float | None:
        """Share of labelled pixels whose class was found; None where there was none."""
        total = int(self.counts.sum())
        return int(self.counts.trace()) / total if total else None
