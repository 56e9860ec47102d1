"""Windows and sizes of the evaluation protocols."""

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ann.spec import Size
from bench.training.protocols import PROTOCOLS, EvaluationProtocol, spans

sides = st.integers(1, 60)


def square(side):
    return Size(height=side, width=side)


@given(sides, sides, sides)
def test_spans_cover_every_pixel_and_stay_inside(length, window, stride):
    assume(stride <= window)
    found = spans(length, window, stride)
    covered = {pixel for start, stop in found for pixel in range(start, stop)}
    assert covered == set(range(length))
    assert all(stop - start == min(window, length) for start, stop in found)


@given(sides, sides, sides)
def test_spans_are_those_of_mmseg(length, window, stride):
    assume(stride <= window)
    expected = []
    for number in range(max(length - window + stride - 1, 0) // stride + 1):
        stop = min(number * stride + window, length)
        expected.append((max(stop - window, 0), stop))
    assert list(spans(length, window, stride)) == expected


@given(sides, sides, sides, sides)
def test_windows_are_all_pairs_of_rows_and_columns(height, width, window, stride):
    assume(stride <= window)
    protocol = EvaluationProtocol(window=square(window), stride=square(stride))
    found = protocol.windows(Size(height=height, width=width))
    rows, columns = spans(height, window, stride), spans(width, window, stride)
    assert found == tuple((row, column) for row in rows for column in columns)


def test_the_cityscapes_validation_takes_eight_windows_of_769():
    sliding = PROTOCOLS["mmseg-slide-769"]
    size = sliding.target(Size(height=1024, width=2048), 1.0)
    assert size == Size(height=1025, width=2049)
    windows = sliding.windows(size)
    assert len(windows) == 2 * 4
    assert windows[-1] == ((1025 - 769, 1025), (2049 - 769, 2049))


def test_the_official_test_takes_a_small_scale_whole_and_mmseg_clips_the_window():
    small = Size(height=768, width=1536)
    official = PROTOCOLS["official-cityscapes-test"]
    assert official.windows(small) == (((0, 768), (0, 1536)),)
    clipped = EvaluationProtocol(window=official.window, stride=official.stride)
    assert clipped.windows(small) == (
        ((0, 768), (0, 864)),
        ((0, 768), (576, 1440)),
        ((0, 768), (672, 1536)),
    )


def test_a_whole_image_is_one_window():
    assert PROTOCOLS["whole"].windows(Size(height=3, width=5)) == (((0, 3), (0, 5)),)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((512, 683), 1.0, (520, 694)),
        ((300, 900), 1.0, (520, 1560)),
        ((512, 683), 0.75, (390, 520)),
        ((520, 520), 0.5, (260, 260)),
    ],
)
def test_images_of_the_official_ade20k_get_a_short_side_of_520_and_scales_are_rounded_down(
    size, scale, expected
):
    target = PROTOCOLS["official-ade20k"].target(Size(height=size[0], width=size[1]), scale)
    assert (target.height, target.width) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": square(4)}, "belong together; pass both or none"),
        (
            {"by_window": True, "average": "probabilities"},
            "pass a window and average='probabilities'",
        ),
        (
            {"window": square(4), "stride": square(5)},
            "stride 5x5 leaves gaps between windows of 4x4",
        ),
        ({"scales": ()}, "has none, or one that is not positive"),
        ({"scales": (1.0, 0.0)}, "has none, or one that is not positive"),
        ({"multiple": 0}, "multiple=0 is not a number of pixels"),
    ],
)
def test_a_protocol_that_can_not_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        EvaluationProtocol(**fields)


def test_protocols_load_without_torch():
    code = "import sys, bench.training.protocols; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
