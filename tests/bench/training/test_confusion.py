"""The confusion matrix against counting one by one and against torchmetrics."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import class_iou, mean_iou
from bench.records import ImageConfusions
from bench.records.record import Accuracy, Measures
from bench.training.evaluate import ConfusionMatrix


def images(seed, *, classes=5, ignored=0.2, size=(3, 17, 23)):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, size, generator=generator)
    prediction = torch.randint(classes, size, generator=generator)
    prediction = torch.where(torch.rand(size, generator=generator) < 0.6, label, prediction)
    label[torch.rand(size, generator=generator) < ignored] = 255
    return prediction, label


@given(st.integers(0, 2**32), st.integers(1, 7), st.sampled_from([torch.uint8, torch.int64]))
def test_counts_are_those_of_counting_pixel_by_pixel(seed, classes, dtype):
    prediction, label = images(seed, classes=classes, size=(2, 5, 4))
    expected = [[0] * classes for _ in range(classes)]
    pairs = zip(label.flatten().tolist(), prediction.flatten().tolist(), strict=True)
    for truth, seen in pairs:
        if truth != 255:
            expected[truth][seen] += 1
    matrix = ConfusionMatrix(classes)
    matrix.update(prediction.to(dtype), label.to(dtype))
    assert matrix.counts.tolist() == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("present", [5, 3])
def test_mean_and_class_ious_are_those_of_torchmetrics(seed, present):
    classification = pytest.importorskip("torchmetrics.classification")
    theirs = {
        average: classification.MulticlassJaccardIndex(5, ignore_index=255, average=average)
        for average in ("macro", "none")
    }
    ours = ConfusionMatrix(5)
    for image in range(3):
        prediction, label = images(10 * seed + image, classes=present)
        ours.update(prediction, label)
        for metric in theirs.values():
            metric.update(prediction, label)
    assert mean_iou(ours.rows()) == pytest.approx(100 * float(theirs["macro"].compute()), rel=1e-6)
    found = [iou or 0.0 for iou in class_iou(ours.rows())]
    assert found == pytest.approx(theirs["none"].compute().tolist(), rel=1e-6)


def test_one_matrix_over_the_set_is_not_the_mean_over_images():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 0]))
    matrix.update(torch.tensor([0, 1, 1, 1]), torch.tensor([1, 1, 1, 0]))
    assert mean_iou(matrix.rows()) == pytest.approx(100 * (4 / 6 + 2 / 4) / 2)


def test_classes_of_8_bits_do_not_wrap():
    """From class 13 of 19 on, 19 * label + prediction is beyond 255."""
    classes = torch.arange(19, dtype=torch.uint8)
    matrix = ConfusionMatrix(19)
    matrix.update(classes, classes)
    assert torch.equal(matrix.counts, torch.eye(19, dtype=torch.int64))


def test_a_set_of_more_pixels_than_float32_can_count_is_counted_one_by_one():
    matrix = ConfusionMatrix(1)
    matrix.counts[:] = 2**24
    matrix.update(*torch.zeros(2, 3, dtype=torch.uint8))
    assert matrix.rows() == ((2**24 + 3,),)


@pytest.mark.slow
def test_an_image_of_more_pixels_than_float32_can_count_is_counted_one_by_one():
    matrix = ConfusionMatrix(1)
    matrix.update(*torch.zeros(2, 1, dtype=torch.uint8).expand(2, 2**24 + 3))
    assert matrix.rows() == ((2**24 + 3,),)
    kept = ImageConfusions.unpack(matrix.packed_images(), 1)
    assert kept.count.tolist() == [2**24 + 3]


def test_ignored_pixels_do_not_count_whatever_is_predicted():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([0, 1, 250]), torch.tensor([0, 255, 255]))
    assert matrix.rows() == ((1, 0), (0, 0))


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([0, 0], [0, 5], "label 5 is no class; allowed are 0 to 4, and 255"),
        ([0, 5], [0, 0], "prediction 5 is no class"),
        ([0, -1], [0, 0], "prediction -1 is no class"),
        ([0], [0, 0], r"prediction \(1,\) and label \(2,\) differ in size"),
    ],
)
def test_what_is_no_class_or_of_another_size_is_refused(prediction, label, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(5).update(torch.tensor(prediction), torch.tensor(label))


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="classes=0 is not a number of classes"):
        ConfusionMatrix(0)


def test_a_record_keeps_the_counts_and_gives_them_back():
    prediction, label = images(0, classes=2)
    matrix = ConfusionMatrix(2)
    matrix.update(prediction, label)
    accuracy = Accuracy(
        dataset="d",
        split="val",
        classes=("a", "b"),
        confusion=matrix.rows(),
        iterations=1,
        train_images=1,
    )
    text = Measures(accuracy=accuracy).model_dump_json(exclude_defaults=True)
    assert Measures.model_validate_json(text).accuracy.confusion == matrix.rows()


def test_a_record_refuses_a_matrix_that_does_not_fit_its_classes():
    with pytest.raises(ValueError, match="confusion is not 2x2 although there are 2 classes"):
        Accuracy(
            dataset="d",
            split="val",
            classes=("a", "b"),
            confusion=((1, 0), (0,)),
            iterations=1,
            train_images=1,
        )
