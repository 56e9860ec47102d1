"""Figures of a confusion matrix; that of counted pixels against torchmetrics is tested beside the counting."""

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
