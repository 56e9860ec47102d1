"""Uncertainty over images, for the same trained networks: a paired bootstrap over the images of a set.

The statistic is the one that the seeds have: each seed's mIoU over the set, the mean over the seeds, above less below.
An image is drawn with all networks, so that arms stay paired. Images without order are drawn one by one. Those of a
video are alike to their neighbours (CamVid's validation set is 101 successive frames, seven seconds of one drive), and
are drawn in blocks of successive ones, round the end of the set.
Axes: b resamples, c comparisons, k classes, n images.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reports.training.statistics.seeds import Ends, t_interval

if TYPE_CHECKING:
    from bench.records import Accuracy

Floats = npt.NDArray[np.floating[Any]]

RESAMPLES = 2_000
# Into how many a set is cut where neighbours are alike.
BLOCKS = 5
# Of a normal number, one-sided 5 %.
CHANCE = 1.645
# Fewer images say nothing about the scatter between them.
MIN_IMAGES = 20


class ImageCounts(NamedTuple):
    """Pixels of one network in each image and class: rightly predicted, and in the truth or predicted; [n, k] each."""

    right: Floats
    union: Floats


class ImageDifference(NamedTuple):
    """Difference of two arms, its standard error over the images, their number, and how many are drawn together."""

    mean: float
    error: float
    images: int
    block: int

    def interval(self) -> Ends | None:
        """Two-sided 95 % interval by Student's t, a block a sample; None of fewer than 20 images or without scatter."""
        if self.images < MIN_IMAGES or not self.error:
            return None
        return t_interval(self.mean, self.error, self.images / self.block - 1)


Arms = Mapping[object, ImageCounts]  # by seed


def image_counts(accuracy: "Accuracy") -> ImageCounts | None:
    """Read the matrices of the images of a record; None of one that has none."""
    from bench.records import ImageConfusions

    if not accuracy.image_confusions:
        return None
    kept = ImageConfusions.unpack(accuracy.image_confusions, len(accuracy.classes))

    def by_class(which: npt.NDArray[Any], of: npt.NDArray[Any]) -> Floats:
        at = kept.image[which] * kept.classes + of[which]
        sums = np.bincount(at, kept.count[which].astype(float), kept.images * kept.classes)
        return np.asarray(sums, dtype=np.float64).reshape(kept.images, kept.classes)

    right = by_class(kept.truth == kept.predicted, kept.truth)
    every = np.ones(len(kept.count), dtype=np.bool_)
    union = by_class(every, kept.truth) + by_class(every, kept.predicted) - right
    return ImageCounts(right, union)


def image_differences(pairs: Sequence[tuple[Arms, Arms]]) -> tuple[ImageDifference | None, ...]:
    """Compare some pairs of arms on the seeds and the images that both have; None where there are none in common.

    All pairs have the same resamples, from a fixed stream.
    """
    shared = [tuple(seed for seed in above if seed in below) for above, below in pairs]
    sizes = {counts.right.shape[0] for pair in pairs for arm in pair for counts in arm.values()}
    if len(sizes) != 1:
        return (None,) * len(pairs)
    (images,) = sizes
    influences = [
        _influence(above, seeds) - _influence(below, seeds)
        for (above, below), seeds in zip(pairs, shared, strict=True)
        if seeds
    ]
    block = block_length(np.array(influences)) if influences else 1
    weights = np.concatenate((np.ones((1, images)), _resamples(images, block)))
    scores: dict[int, dict[object, Floats]] = {}
    for arm in (arm for pair in pairs for arm in pair):
        if id(arm) not in scores:
            scores[id(arm)] = {seed: _mean_iou(counts, weights) for seed, counts in arm.items()}

    def compare(above: Arms, below: Arms, seeds: Sequence[object]) -> ImageDifference | None:
        if not seeds:
            return None
        gaps = np.mean([scores[id(above)][s] - scores[id(below)][s] for s in seeds], axis=0)
        return ImageDifference(float(gaps[0]), float(gaps[1:].std(ddof=1)), images, block)

    return tuple(
        compare(above, below, seeds) for (above, below), seeds in zip(pairs, shared, strict=True)
    )


def _mean_iou(counts: ImageCounts, weights: Floats) -> Floats:
    """MIoU in percent of each weighting [b, n] of the images, over the classes that occur."""
    right, union = weights @ counts.right, weights @ counts.union
    occurs = union > 0
    return 100 * np.divide(right, union, out=right, where=occurs).sum(axis=1) / occurs.sum(axis=1)


def _influence(arm: Arms, seeds: Sequence[object]) -> Floats:
    """How much each image [n] moves an arm's mean mIoU, to first order."""
    total: Any = 0.0
    for counts in (arm[seed] for seed in seeds):
        right, union = counts.right.sum(axis=0), counts.union.sum(axis=0)
        occurs = union > 0
        share = np.divide(right, union, out=np.zeros_like(right), where=occurs)
        moved = counts.right - share * counts.union
        total = total + (moved[:, occurs] / union[occurs]).mean(axis=1)
    return np.asarray(total)


def _resamples(images: int, block: int) -> Floats:
    """How often each image is drawn, [b, n]: blocks of neighbours from a fixed stream, cut to n images."""
    count = -(-images // block)
    starts = np.random.default_rng(0).integers(images, size=(RESAMPLES, count, 1))
    drawn = ((starts + np.arange(block)) % images).reshape(RESAMPLES, -1)[:, :images]
    weights = np.zeros((RESAMPLES, images))
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], drawn), 1)
    return weights


def block_length(series: Floats) -> int:
    """Choose how many neighbours are drawn together, from series [c, n] whose autocorrelations are averaged.

    One where that of the nearest is within chance (one-sided 5 %), else a fifth of the set: few long blocks with
    Student's t cover better than any length that so short a series lets one estimate (tested by simulation).
    """
    images = series.shape[1]
    centred = series - series.mean(axis=1, keepdims=True)
    power = (centred**2).sum(axis=1)
    products = (centred[:, 1:] * centred[:, :-1]).sum(axis=1)
    likeness = products[power > 0] / power[power > 0]
    is_alike = len(likeness) and likeness.mean() > CHANCE / images**0.5
    return -(-images // BLOCKS) if is_alike else 1
