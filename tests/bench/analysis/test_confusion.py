"""Intersection over union and accuracy, held against pixel sets and hand-made matrices."""

import numpy as np
import pytest

from bench.analysis import class_iou, mean_iou, pixel_accuracy


def test_a_class_that_does_not_occur_is_not_counted_in_the_mean():
    confusion = ((1, 1, 0), (0, 2, 0), (0, 0, 0))
    assert class_iou(confusion) == (1 / 2, 2 / 3, None)
    assert mean_iou(confusion) == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)


def test_a_class_that_is_only_predicted_counts_as_zero():
    assert class_iou(((1, 0), (1, 0))) == (1 / 2, 0.0)


def test_the_mean_is_over_the_classes_that_are_asked_for():
    confusion = ((1, 1, 0), (0, 2, 0), (0, 0, 0))
    assert mean_iou(confusion, (1, 2)) == pytest.approx(100 * 2 / 3)
    assert mean_iou(confusion, (2,)) is None


def test_a_set_without_labelled_pixels_has_no_figures():
    empty = ((0, 0), (0, 0))
    assert (mean_iou(empty), pixel_accuracy(empty)) == (None, None)


def test_pixel_accuracy_is_the_share_that_was_found():
    assert pixel_accuracy(((1, 0), (1, 1))) == pytest.approx(2 / 3)


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match="a confusion matrix of 2 rows needs as many columns"):
        class_iou(((1, 0), (1,)))


def test_iou_is_the_intersection_over_the_union_of_pixel_sets():
    rng = np.random.default_rng(3)
    truth, said = rng.integers(0, 4, size=(2, 500))
    matrix = [[int(((truth == t) & (said == p)).sum()) for p in range(4)] for t in range(4)]
    unions = [((truth == c) | (said == c)).sum() for c in range(4)]
    hits = [((truth == c) & (said == c)).sum() for c in range(4)]
    assert class_iou(matrix) == pytest.approx([h / u for h, u in zip(hits, unions, strict=True)])


def test_rows_are_the_truth():
    assert class_iou([[3, 1], [0, 0]]) == (0.75, 0.0)


def test_a_class_that_does_not_occur_is_not_counted():
    assert mean_iou([[8, 2, 0], [0, 10, 0], [0, 0, 0]]) == pytest.approx(
        100 * (8 / 10 + 10 / 12) / 2
    )


def test_the_mean_is_no_median():
    assert mean_iou([[10, 0, 0], [0, 5, 5], [0, 0, 10]]) == pytest.approx(
        100 * (1 + 5 / 10 + 10 / 15) / 3
    )


def test_nothing_labelled_has_no_mean():
    assert mean_iou([[0, 0], [0, 0]]) is None


def test_a_group_has_the_mean_of_its_classes():
    matrix = [[10, 0, 0], [0, 5, 5], [0, 0, 10]]
    assert mean_iou(matrix, classes=(0,)) == 100
    assert mean_iou(matrix, classes=(1, 2)) == pytest.approx(100 * (5 / 10 + 10 / 15) / 2)
