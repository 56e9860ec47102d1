"""The bootstrap over images: its statistic against the seeds', its error against closed cases and simulated truth."""

import numpy as np
import pytest

from bench.analysis import mean_iou
from bench.records import Accuracy, ImageConfusions, ImageEntries
from reports.training.statistics import (
    ImageCounts,
    ImageDifference,
    image_counts,
    image_differences,
    images,
    verdict_of,
)


def accuracy(matrices):
    flat = [matrix.ravel() for matrix in matrices]
    entries = [ImageEntries(np.flatnonzero(each), each[each != 0]) for each in flat]
    classes = len(matrices[0])
    return Accuracy(
        dataset="d",
        split="val",
        classes=tuple(f"class {at}" for at in range(classes)),
        confusion=matrices.sum(axis=0).tolist(),
        iterations=1,
        train_images=1,
        image_confusions=ImageConfusions.of(entries, classes).pack(),
    )


def drawn(seed, count=25, classes=4):
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 50, size=(count, classes, classes))
    matrices[:, range(classes), range(classes)] += rng.integers(0, 400, size=(count, classes))
    # The last class occurs nowhere.
    matrices[:, -1], matrices[:, :, -1] = 0, 0
    return accuracy(matrices)


def test_the_difference_is_the_mean_over_the_seeds_of_that_of_the_whole_set():
    above, below = ([drawn(10 * arm + seed) for seed in range(3)] for arm in (1, 2))
    arms = [dict(enumerate(map(image_counts, arm))) for arm in (above, below)]
    (found,) = image_differences([tuple(arms)])
    gaps = [
        mean_iou(a.confusion) - mean_iou(b.confusion) for a, b in zip(above, below, strict=True)
    ]
    assert found.mean == pytest.approx(np.mean(gaps))


def test_a_record_without_matrices_of_images_has_no_counts():
    assert image_counts(drawn(0).model_copy(update={"image_confusions": ""})) is None


def test_only_seeds_that_both_arms_have_are_compared():
    first, other, third = (image_counts(drawn(seed)) for seed in range(3))
    alone, both = image_differences([({0: first}, {0: other}), ({0: first, 1: third}, {0: other})])
    assert alone == both


def test_arms_without_a_seed_in_common_have_no_difference():
    first, other = (image_counts(drawn(seed)) for seed in range(2))
    pairs = [({0: first}, {1: other}), ({0: first}, {}), ({0: first}, {0: other})]
    found = image_differences(pairs)
    assert found[:2] == (None, None)
    assert found[2] is not None


def test_sets_of_other_images_are_not_compared():
    pair = {0: image_counts(drawn(0))}, {0: image_counts(drawn(1, count=24))}
    assert image_differences([pair]) == (None,)


def test_the_same_matrices_give_the_same_error_twice():
    pair = {0: image_counts(drawn(0))}, {0: image_counts(drawn(1))}
    assert image_differences([pair]) == image_differences([pair])


def test_a_network_differs_from_itself_by_nothing_on_any_images():
    counts = image_counts(drawn(0))
    (found,) = image_differences([({0: counts}, {0: counts})])
    assert (found.mean, found.error, found.interval()) == (0.0, 0.0, None)


def test_fewer_than_twenty_images_have_no_interval():
    assert ImageDifference(1.0, 0.1, images=19, block=1).interval() is None


def test_the_error_is_that_of_a_mean_where_every_image_weighs_the_same():
    # One class of 1,000 pixels an image: mIoU is the mean share.
    shares = np.random.default_rng(0).uniform(0.4, 0.6, size=200)
    right = 1000 * shares[:, None]
    arm, zero = (ImageCounts(each, np.full((200, 1), 1000.0)) for each in (right, 0 * right))
    (found,) = image_differences([({0: arm}, {0: zero})])
    # The scatter of 2,000 resamples is 1.6 % of it.
    assert found.error == pytest.approx(100 * shares.std() / 200**0.5, rel=0.06)


def alike(rng, size, likeness):
    """Images along the first axis, each like the one before it."""
    steps = rng.normal(size=size) * (1 - likeness**2) ** 0.5
    steps[0] = rng.normal(size=size[1:])
    for at in range(1, len(steps)):
        steps[at] += likeness * steps[at - 1]
    return steps


def equal_arms(rng, *, likeness, count=101, classes=8):
    """Two networks that are as good as each other over all images, but not on each."""
    pixels = 1000 * np.exp(alike(rng, (count, classes), likeness))
    hard, better = (alike(rng, (count, classes), likeness) for _ in range(2))
    shares = (1 / (1 + np.exp(-0.8 - 0.5 * hard - side * 0.3 * better)) for side in (1, -1))
    return tuple({0: ImageCounts(pixels * share, pixels * (2 - share))} for share in shares)


def verdicts(likeness, *, times=150, seed=0):
    rng = np.random.default_rng(seed)
    pairs = (equal_arms(rng, likeness=likeness) for _ in range(times))
    found = [image_differences([pair])[0] for pair in pairs]
    return [verdict_of(each.interval()) for each in found], [each.block for each in found]


def test_of_images_without_order_no_difference_is_seldom_called_one(monkeypatch):
    monkeypatch.setattr(images, "RESAMPLES", 300)
    given, blocks = verdicts(0.0)
    # 5 %, and two standard errors of 150 draws.
    assert given.count("undecided") >= 150 * 0.915
    assert np.mean(np.array(blocks) == 1) > 0.9


def test_images_alike_to_their_neighbours_are_drawn_in_fifths_of_the_set(monkeypatch):
    monkeypatch.setattr(images, "RESAMPLES", 300)
    given, blocks = verdicts(0.8)
    assert set(blocks) <= {1, 21}
    assert np.mean(np.array(blocks) == 21) > 0.95
    # So short a series covers less than 95 %; drawn one by one, it would be half the cases.
    assert given.count("undecided") >= 150 * 0.85


def test_a_block_is_drawn_round_the_end_of_the_set():
    weights = images._resamples(10, 4)
    assert set(weights.sum(axis=1)) == {10}
    assert weights[:, 0].mean() == pytest.approx(1, abs=0.1)
