"""Matrices of images as text: what goes in comes out, in little room, and what was changed is refused."""

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.records import Accuracy, ImageConfusions, ImageEntries


def joined(matrices):
    flat = [np.asarray(matrix).ravel() for matrix in matrices]
    entries = [ImageEntries(np.flatnonzero(each), each[each != 0]) for each in flat]
    return ImageConfusions.of(entries, len(matrices[0]))


def dense(confusions):
    size = (confusions.images, confusions.classes, confusions.classes)
    matrices = np.zeros(size, dtype=np.int64)
    matrices[confusions.image, confusions.truth, confusions.predicted] = confusions.count
    return matrices


def accuracy(matrices, confusion=None, **fields):
    total = np.sum(matrices, axis=0) if confusion is None else np.array(confusion)
    return Accuracy(
        dataset="d",
        split="val",
        classes=tuple("abcdefgh"[: len(total)]),
        confusion=total.tolist(),
        iterations=1,
        train_images=1,
        **fields,
    )


def packed(*numbers):
    return base64.b85encode(zlib.compress(bytes(numbers))).decode()


matrices_of_images = st.tuples(st.integers(1, 4), st.integers(1, 5)).flatmap(
    lambda size: arrays.arrays(
        np.int64,
        (size[0], size[1], size[1]),
        elements=st.one_of(st.just(0), st.integers(0, 200), st.integers(0, 2**62)),
    )
)


@given(matrices_of_images)
def test_matrices_that_were_packed_are_the_same_again(matrices):
    text = joined(matrices).pack()
    assert np.array_equal(dense(ImageConfusions.unpack(text, matrices.shape[1])), matrices)


def test_the_total_is_the_sum_over_the_images():
    matrices = np.arange(18).reshape(2, 3, 3)
    assert np.array_equal(joined(matrices).total(), matrices.sum(axis=0))


def test_no_images_are_no_text():
    assert ImageConfusions.of([], 3).pack() == ""


def test_what_is_written_stays_readable():
    # Two images in two classes, with 300 and 1 in their first pair and 5 in the last pair of the second.
    text = packed(2, 3, 0, 0, 5, 0xAC, 2, 1, 5)
    expected = [[[300, 0], [0, 0]], [[1, 0], [0, 5]]]
    assert dense(ImageConfusions.unpack(text, 2)).tolist() == expected


def test_two_thousand_images_in_150_classes_take_less_than_a_megabyte():
    draw = np.random.default_rng(0)
    images = []
    for _ in range(2_000):
        present = draw.choice(150, size=12, replace=False)
        pairs = np.unique(draw.choice(present, 80) * 150 + draw.choice(present, 80))
        images.append(ImageEntries(pairs, draw.geometric(1 / 3_000, len(pairs))))
    assert len(ImageConfusions.of(images, 150).pack()) < 1_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~~~ ~~", "can't be read"),
        ("caf\u00e9", "can't be read"),
        (base64.b85encode(b"no zlib").decode(), "can't be read"),
        (base64.b85encode(zlib.compress(bytes(99))[:-5]).decode(), "are cut"),
        (packed(), "0 images have 0 numbers"),
        (packed(2, 2, 0, 0, 1), "2 images have 5 numbers, not 6"),
        (packed(0, 0), "the matrices of 0 images"),
        (packed(255, 255, 255, 255, 7, 0), "more than 1048576 images"),
        (packed(1, 1, 4, 1), "entries beyond 2 classes"),
        (packed(1, 1, 3, 129), "a number that has no end"),
        (packed(1, 1, 3, *[255] * 9, 1), "too large"),
    ],
)
def test_what_was_cut_or_changed_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ImageConfusions.unpack(text, 2)


def test_a_record_keeps_matrices_that_sum_to_its_own():
    matrices = [[[3, 1], [0, 2]], [[0, 0], [4, 0]]]
    text = joined(matrices).pack()
    line = accuracy(matrices, image_confusions=text).model_dump_json()
    assert Accuracy.model_validate_json(line).image_confusions == text


def test_a_record_refuses_matrices_that_sum_to_others():
    matrices = [[[3, 1], [0, 2]]]
    with pytest.raises(ValueError, match="image_confusions do not sum to confusion"):
        accuracy(matrices, [[3, 1], [1, 2]], image_confusions=joined(matrices).pack())


def test_a_record_without_matrices_of_images_does_not_mention_them():
    line = accuracy([[[1, 0], [0, 1]]]).model_dump_json(exclude_defaults=True)
    assert "image_confusions" not in line
