"""Resizing by products: torch's values and gradients, put in place for as long as a training on a processor lasts.

And resizing as OpenCV: values that `cv2.resize` of 4.8.1 and 5.0.0 gave.
"""

import pytest
import torch

from ann import build
from ann.layers import resize
from ann.spec import Size
from bench.training.resizing import resize_as_opencv, resize_by_products, resizing_by_products

CPU = torch.device("cpu")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(24, 30), (17, 33), (3, 5), (1, 1)])
def test_values_and_gradients_are_torchs(size, align_corners):
    size = torch.Size(size)
    torch.manual_seed(0)
    x, weights = torch.randn(2, 3, 3, 5), torch.randn(2, 3, *size)
    results = []
    for function in (resize, resize_by_products):
        leaf = x.clone().to(memory_format=torch.channels_last).requires_grad_()
        resized = function(leaf, size, align_corners=align_corners)
        (resized * weights).sum().backward()
        results.append((resized.detach(), leaf.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_low_in_precision_is_resized_in_float32():
    x = torch.randn(1, 2, 3, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        resized = resize_by_products(x, torch.Size((6, 10)), align_corners=False)
    expected = resize(x.float(), torch.Size((6, 10)), align_corners=False)
    torch.testing.assert_close(resized, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_ones_in_bfloat16_stay_ones_in_either_layout(layout):
    """torch's own operator gives 0.996 to 1.008 at this size, for maps that are not channels-last."""
    x = torch.ones(1, 19, 33, 33, dtype=torch.bfloat16).contiguous(memory_format=layout)
    resized = resize_by_products(x, torch.Size((100, 100)), align_corners=False)
    torch.testing.assert_close(resized, torch.ones(1, 19, 100, 100), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("device", "changes"), [("cpu", True), ("cuda", False)])
def test_a_network_is_given_its_own_way_back(device, changes):
    network = build.network(build.network_spec("paper/baseline", num_classes=3, backbone="tiny"))
    with resizing_by_products(network, torch.device(device)):
        assert (network.resize is resize_by_products) == changes
    assert network.resize is resize


RAMP = (torch.arange(35).view(5, 7) * 37 % 256).to(torch.uint8)


def test_pixels_are_those_of_opencv_with_the_bits_that_it_drops():
    found = resize_as_opencv(RAMP[None, None], Size(width=10, height=3))
    assert found[0, 0].tolist() == [
        [1, 21, 47, 73, 99, 125, 151, 177, 203, 223],
        [6, 26, 52, 78, 104, 130, 156, 182, 208, 228],
        [11, 31, 57, 83, 109, 135, 161, 187, 213, 233],
    ]


def test_both_sides_halved_are_means_of_four_pixels_as_opencv_has_it():
    found = resize_as_opencv(RAMP[None, None, :4, :6], Size(width=3, height=2))
    assert found[0, 0].tolist() == [[20, 94, 168], [26, 100, 174]]
