"""Evaluation protocols on networks whose answers are known."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from ann.build import network as build
from ann.spec import Size, look_up
from bench.records import ImageConfusions
from bench.training.data.augment import normalise
from bench.training.evaluate import ConfusionMatrix, evaluate, predict_scores
from bench.training.protocols import PROTOCOLS, EvaluationProtocol
from bench.training.resizing import resize_as_opencv

CLASSES = 3


class Images:
    name = "made up"
    classes = ("a", "b", "c")

    def __init__(self, sizes=((24, 40), (32, 32), (24, 40))):
        self.items = []
        generator = torch.Generator().manual_seed(3)
        for height, width in sizes:
            image = torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8)
            label = torch.randint(CLASSES, (height, width), generator=generator, dtype=torch.uint8)
            label[:3] = 255
            self.items.append((image, label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Pointwise(nn.Module):
    """Logits that depend on each pixel alone; counts how often and at which sizes it is called."""

    def __init__(self, *, align_corners=False):
        super().__init__()
        self.spec = SimpleNamespace(preprocessing="imagenet-rgb", align_corners=align_corners)
        self.convolution = nn.Conv2d(3, CLASSES, 1)
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[2:]))
        return self.convolution(images)


class Local(Pointwise):
    """A 5x5 neighbourhood, so that the border of a window shows."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, CLASSES, 5, padding=2)


def images(height=24, width=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (1, 3, height, width), generator=generator, dtype=torch.uint8)


def normal(image):
    return normalise(image, "imagenet-rgb")


def exact(name, **changes):
    """The protocol of that name without the rounding of pixels, which hides a little of the sums."""
    return replace(PROTOCOLS[name], pixels="exact", **changes)


def slide(window, stride, **fields):
    sides = {"window": window, "stride": stride}
    return EvaluationProtocol(
        **{name: Size(height=side, width=side) for name, side in sides.items()}, **fields
    )


def test_the_matrix_is_that_of_predicting_each_image():
    torch.manual_seed(0)
    net, data = Pointwise(), Images()
    expected = ConfusionMatrix(CLASSES)
    for image, label in data.items:
        logits = net.convolution(normalise(image, "imagenet-rgb")[None])
        expected.update(logits[0].argmax(dim=0), label)
    assert torch.equal(evaluate(net, data).counts, expected.counts)
    assert int(expected.counts.sum()) == sum((label != 255).sum() for _, label in data.items)


def test_each_image_has_a_matrix_of_its_own_in_the_order_of_the_set():
    torch.manual_seed(0)
    net, data = Pointwise(), Images()
    data.items[1][1].fill_(255)
    kept = ImageConfusions.unpack(evaluate(net, data).packed_images(), CLASSES)
    assert kept.images == len(data)
    for at, item in enumerate(data.items):
        alone = Images()
        alone.items = [item]
        entries = kept.image == at
        assert kept.count[entries].sum() == int((item[1] != 255).sum())
        matrix = evaluate(net, alone).counts.flatten()
        assert matrix[kept.pair[entries]].tolist() == kept.count[entries].tolist()


def test_a_real_network_is_evaluated_whole_and_at_many_scales():
    torch.manual_seed(0)
    net = build("mmseg/ann-r50", backbone="tiny", num_classes=CLASSES)
    data = Images(((24, 32),))
    labelled = int((data.items[0][1] != 255).sum())
    for name in ("whole", "mmseg-multi-scale-flip", "official-pascal-context"):
        assert int(evaluate(net, data, protocol=name).counts.sum()) == labelled


def test_images_are_normalised_as_the_network_wants_them():
    torch.manual_seed(0)
    net = Pointwise()
    net.spec.preprocessing = "caffe-bgr"
    data = Images()
    expected = ConfusionMatrix(CLASSES)
    for image, label in data.items:
        blue_first = (
            image.flip(0).float() - torch.tensor([102.9801, 115.9465, 122.7717])[:, None, None]
        )
        expected.update(net.convolution(blue_first[None])[0].argmax(dim=0), label)
    assert torch.equal(evaluate(net, data).counts, expected.counts)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_left_in_the_mode_in_which_it_came(training):
    net = Pointwise().train(training)
    evaluate(net, Images())
    assert net.training is training


def test_evaluation_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    net = Pointwise()
    torch.manual_seed(5)
    evaluate(net, Images())
    assert torch.equal(torch.rand(3), expected)


@torch.no_grad()
def test_slide_is_whole_where_the_window_covers_the_image():
    net = Local()
    whole = predict_scores(net, images(), PROTOCOLS["whole"])
    torch.testing.assert_close(predict_scores(net, images(), slide(40, 13)), whole)
    sliding = exact("mmseg-slide-769", short_side=None, long_side=None)
    torch.testing.assert_close(predict_scores(net, images(), sliding), whole)


@torch.no_grad()
def test_windows_of_a_pointwise_network_agree_with_the_whole():
    net = Pointwise()
    expected = predict_scores(net, images(), PROTOCOLS["whole"])
    torch.testing.assert_close(predict_scores(net, images(), slide(16, 11)), expected)


@torch.no_grad()
def test_overlapping_windows_are_averaged_by_count():
    net, image = Local(), images(8, 12)
    total, count = torch.zeros(1, CLASSES, 8, 12), torch.zeros(8, 12)
    for left in (0, 4):
        total[..., left : left + 8] += net(normal(image)[..., left : left + 8])
        count[:, left : left + 8] += 1
    torch.testing.assert_close(predict_scores(net, image, slide(8, 4)), total / count)


@torch.no_grad()
def test_a_flip_is_undone_before_it_is_averaged():
    net = Pointwise()
    whole = predict_scores(net, images(), PROTOCOLS["whole"])
    torch.testing.assert_close(predict_scores(net, images(), EvaluationProtocol(flip=True)), whole)


@torch.no_grad()
@pytest.mark.parametrize("align_corners", [True, False])
def test_mmseg_averages_probabilities_over_scales_and_flips(align_corners):
    net, image = Pointwise(align_corners=align_corners), images(16, 24)
    expected = torch.zeros(1, CLASSES, 16, 24)
    for scale in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75):
        size = (round(16 * scale), round(24 * scale))
        scaled = functional.interpolate(normal(image), size, mode="bilinear")
        for view, back in ((scaled, False), (scaled.flip(3), True)):
            logits = net(view)
            logits = functional.interpolate(
                logits, (16, 24), mode="bilinear", align_corners=align_corners
            )
            expected += (logits.flip(3) if back else logits).softmax(dim=1) / 12
    found = predict_scores(net, image, exact("mmseg-multi-scale-flip"))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_the_official_test_has_the_largest_class_of_the_sum_of_logits():
    # A twelfth of its windows, on an image that is one and a bit of them.
    official = replace(
        PROTOCOLS["official-cityscapes-test"],
        window=Size(height=72, width=72),
        stride=Size(height=48, width=48),
    )
    net, image = Local(), images(76, 76)
    total = torch.zeros(1, CLASSES, 76, 76)
    for side, starts in ((57, (0,)), (76, (0, 4)), (95, (0, 23))):
        scaled = functional.interpolate(
            normal(image), (side, side), mode="bilinear", align_corners=True
        )
        for mirrored in (False, True):
            view = scaled.flip(3) if mirrored else scaled
            logits, count = torch.zeros(1, CLASSES, side, side), torch.zeros(side, side)
            for top, left in product(starts, starts):
                box = (..., slice(top, min(top + 72, side)), slice(left, min(left + 72, side)))
                logits[box] += net(view[box])
                count[box] += 1
            logits = functional.interpolate(logits / count, (76, 76), mode="bicubic")
            total += logits.flip(3) if mirrored else logits
    torch.testing.assert_close(6 * predict_scores(net, image, official), total)


@torch.no_grad()
def test_an_image_is_filled_up_to_a_multiple_and_the_filling_cut_off():
    net = Pointwise()
    found = predict_scores(net, images(13, 21), EvaluationProtocol(multiple=8))
    assert net.sizes == [(16, 24)]
    torch.testing.assert_close(found, net.convolution(normal(images(13, 21))))


def test_logits_that_are_not_finite_are_an_error_that_names_the_image():
    net = Pointwise()
    nn.init.constant_(net.convolution.bias, float("nan"))
    with pytest.raises(ValueError, match="made up, image 0: the network's logits are not finite"):
        evaluate(net, Images())


def test_an_unknown_protocol_is_named_with_those_that_are_known():
    with pytest.raises(
        ValueError,
        match="unknown protocol 'hole'; did you mean 'whole'. allowed are whole, mmseg-slide",
    ):
        look_up("protocol", "hole", PROTOCOLS)


@torch.no_grad()
def test_mmseg_brings_pixels_to_the_short_side_as_opencv_and_logits_back():
    net, image = Local(), images(20, 30)
    protocol = replace(PROTOCOLS["mmseg-short-side-512"], short_side=32, long_side=128)
    scaled = resize_as_opencv(image, Size(height=32, width=48))
    expected = functional.interpolate(net(normal(scaled)), (20, 30), mode="bilinear")
    torch.testing.assert_close(predict_scores(net, image, protocol), expected)


@torch.no_grad()
def test_semseg_pads_to_its_window_and_averages_probabilities_of_both_mirrorings():
    net, image = Local(), images(20, 30)
    protocol = replace(
        PROTOCOLS["semseg-465"],
        window=Size(height=24, width=24),
        stride=Size(height=16, width=16),
        short_side=30,
        long_side=30,
    )
    padded = functional.pad(normal(image), (0, 0, 2, 2))
    total, count = torch.zeros(1, CLASSES, 24, 30), torch.zeros(24, 30)
    for left in (0, 6):
        part = padded[..., left : left + 24]
        there, back = net(part).softmax(1), net(part.flip(3)).softmax(1).flip(3)
        total[..., left : left + 24] += (there + back) / 2
        count[:, left : left + 24] += 1
    expected = (total / count)[..., 2:22, :]
    torch.testing.assert_close(predict_scores(net, image, protocol), expected)
