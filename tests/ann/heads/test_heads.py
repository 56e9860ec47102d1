"""Heads: point-wise attention against its definition, and each source's peculiarities."""

import math
from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann.catalogue import NETWORKS
from ann.heads import make_auxiliary, make_head
from ann.heads.psa import collect, shrink
from ann.layers import ConvNorm
from ann.spec import Size

NARROW = {"channels": 8, "num_classes": 3}


def head(name, *, low=6, high=10, **changes):
    torch.manual_seed(0)
    spec = replace(NETWORKS[name], **(NARROW | changes))
    if spec.fusion is not None:
        spec = replace(
            spec, fusion=replace(spec.fusion, channels=high, low_channels=low, key_channels=4)
        )
    if spec.context is not None:
        spec = replace(spec, context=replace(spec.context, channels=spec.channels, key_channels=4))
    return make_head(spec, low=low, high=high).eval()


def maps(height=9, width=7, *, low=6, high=10):
    torch.manual_seed(1)
    return torch.randn(2, low, height, width), torch.randn(2, high, height, width)


def collect_by_loop(scores, mask):
    """Walk the mask of every position, as the definition does: the middle of the mask lies on the position."""
    images, _, height, width = scores.shape
    out = scores.new_zeros(images, height, width, height, width)
    for h, w, row, column in product(*map(range, (height, width, mask.height, mask.width))):
        y, x = h + row - (mask.height - 1) // 2, w + column - (mask.width - 1) // 2
        if 0 <= y < height and 0 <= x < width:
            out[:, y, x, h, w] = scores[:, row * mask.width + column, h, w]
    return out.flatten(3).flatten(1, 2)


@pytest.mark.parametrize(
    ("mask", "size"),
    [
        (Size(height=3, width=3), (5, 4)),
        (Size(height=9, width=7), (5, 4)),
        (Size(height=3, width=11), (4, 6)),
        (Size(height=13, width=3), (4, 6)),
        (Size(height=4, width=6), (5, 7)),
    ],
)
def test_collect_equals_the_loop_of_its_definition(mask, size):
    scores = torch.randn(2, mask.pixels, *size)
    assert torch.equal(collect(scores, mask=mask), collect_by_loop(scores, mask))


def test_places_out_of_the_mask_s_reach_are_zero():
    weights = collect(torch.ones(1, 9, 5, 5), mask=Size(height=3, width=3))
    assert weights[0, 0].reshape(5, 5)[2:].eq(0).all()
    assert weights[0, 0].reshape(5, 5)[:2, :2].eq(1).all()


def test_zeros_take_part_in_the_softmax():
    psa = head("semseg/psanet-r101", mask=Size(height=1, width=1))
    nn.init.zeros_(psa.collect.score.weight)
    _, high = maps()
    reduced = shrink(psa.collect.reduce(high))
    expected = reduced.mean(dim=(2, 3), keepdim=True).expand_as(reduced)
    torch.testing.assert_close(psa.collect(high), expected)


def test_distribute_weighs_by_the_transpose():
    psa = head("semseg/psanet-r101", mask=Size(height=9, width=7))
    branch = psa.distribute
    _, high = maps()
    reduced = shrink(branch.reduce(high))
    weights = collect(branch.score(branch.attention(reduced)), mask=branch.mask)
    expected = reduced.flatten(2) @ weights.transpose(1, 2).softmax(dim=1)
    torch.testing.assert_close(branch(high).flatten(2), expected)


def test_gradient_reaches_every_score_that_is_used():
    scores = torch.randn(1, 9, 3, 3, dtype=torch.float64, requires_grad=True)
    mask = Size(height=3, width=3)
    assert torch.autograd.gradcheck(lambda s: collect(s, mask=mask).softmax(dim=1), (scores,))


@pytest.mark.parametrize(
    ("size", "halved"), [((97, 97), (49, 49)), ((128, 256), (64, 128)), ((9, 8), (4, 4))]
)
def test_shrink_rounds_up_only_where_both_sides_are_odd(size, halved):
    assert shrink(torch.zeros(1, 1, *size)).shape[2:] == halved


def test_shrink_of_odd_sides_keeps_the_corners():
    x = torch.arange(35.0).reshape(1, 1, 5, 7)
    assert torch.equal(shrink(x), x[:, :, ::2, ::2])


def test_mmseg_pads_the_projection_of_psa_and_semseg_does_not():
    assert head("mmseg/psa-r50").project.conv.padding == (1, 1)
    assert head("semseg/psanet-r101").project.conv.padding == (0, 0)


def test_ann_applies_one_dropout_after_the_fusion_and_ahead_of_the_classifier():
    ann = head("mmseg/ann-r50").train()
    calls = []
    ann.dropout.register_forward_hook(lambda *_: calls.append(1))
    ann(*maps())
    assert len(calls) == 2


def test_official_head_drops_inside_its_blocks_instead():
    ann = head("official/ann-r101")
    assert ann.dropout.p == 0
    assert ann.fusion.combine.dropout.p == ann.context.combine.dropout.p == 0.05


def test_new_official_head_passes_the_features_by_its_context_blocks():
    ann = head("official/ann-r101")
    low, high = maps()
    zeros = torch.zeros_like(high)
    fused = ann.fusion.combine(high, zeros)
    torch.testing.assert_close(ann.fusion(high, low), fused)


def test_baseline_is_reduction_and_classifier_alone():
    ann = head("paper/baseline")
    low, high = maps()
    reduced = F.conv2d(high, ann.reduce.conv.weight, ann.reduce.conv.bias, padding=1)
    expected = ann.classifier(ann.reduce.norm(reduced).relu())
    torch.testing.assert_close(ann(low, high), expected)


def test_a_context_that_concatenates_widens_the_classifier():
    spec = NETWORKS["paper/apnb"]
    wide = replace(spec, context=replace(spec.context, output="concat", channels=8, key_channels=4))
    net = make_head(replace(wide, **NARROW), low=6, high=10)
    assert net.classifier.in_channels == 16


def test_fcn_head_sees_the_input_again_ahead_of_its_merge():
    fcn = head("mmseg/nl-r50")
    low, high = maps()
    refined = fcn.leave(fcn.context(fcn.enter(high)))
    expected = fcn.classifier(fcn.merge(torch.cat([high, refined], dim=1)))
    torch.testing.assert_close(fcn(low, high), expected)


def test_psp_averages_over_1_4_9_and_36_cells_after_the_map_itself():
    psp = head("mmseg/psp-r50")
    low, high = maps()
    widths = []
    for pool in psp.pools:
        pool.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[2:].numel()))
    psp.merge.register_forward_pre_hook(
        lambda _, inputs: torch.testing.assert_close(inputs[0][:, :10], high)
    )
    psp(low, high)
    assert widths == [1, 4, 9, 36]


def test_deeplab_puts_the_image_pool_first_and_dilates_by_12_24_and_36():
    deeplab = head("mmseg/deeplabv3-r50")
    dilations = [(b.conv.kernel_size[0], b.conv.dilation[0]) for b in deeplab.branches]
    assert dilations == [(1, 1), (3, 12), (3, 24), (3, 36)]
    low, high = maps()
    image = deeplab.image(high.mean(dim=(2, 3), keepdim=True))
    deeplab.merge.register_forward_pre_hook(
        lambda _, inputs: torch.testing.assert_close(
            inputs[0][:, :8], image.expand(-1, -1, *high.shape[2:])
        )
    )
    deeplab(low, high)


def test_dense_aspp_sees_rectified_features_from_the_first_branch_on():
    dense = head("denseaspp/161", hidden_channels=6)
    low, high = maps()
    torch.testing.assert_close(dense(low, high), dense(low, high.relu()))
    assert not torch.equal(high, high.relu())


def test_dense_aspp_leaves_its_input_as_it_was():
    dense = head("denseaspp/161", hidden_channels=6)
    low, high = maps()
    before = high.clone()
    dense(low, high)
    assert torch.equal(high, before)


def test_dense_aspp_puts_new_channels_in_front():
    dense = head("denseaspp/161", hidden_channels=6)
    low, high = maps()
    inputs = []
    for branch in dense.branches:
        branch.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    dense(low, high)
    assert [x.shape[1] for x in inputs] == [10, 18, 26, 34, 42]
    for earlier, later in pairwise(inputs):
        assert torch.equal(later[:, 8:], earlier)


def test_dense_aspp_norms_remember_thousands_of_batches_and_the_first_branch_has_one_less():
    dense = head("denseaspp/161", hidden_channels=6)
    norms = [m for m in dense.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.momentum for norm in norms} == {0.0003}
    assert len(norms) == 9


def test_auxiliary_head_is_absent_where_the_source_has_none():
    assert make_auxiliary(NETWORKS["denseaspp/161"], low=6) is None


@pytest.mark.parametrize(
    ("name", "width", "dropout", "bias"),
    [("official/ann-r101", 512, 0.05, True), ("mmseg/ann-r50", 256, 0.1, False)],
)
def test_auxiliary_head_has_the_source_s_width_dropout_and_bias(name, width, dropout, bias):
    auxiliary = make_auxiliary(NETWORKS[name], low=6)
    assert auxiliary.reduce.conv.out_channels == width
    assert auxiliary.dropout.p == dropout
    assert (auxiliary.reduce.conv.bias is not None) == bias


def test_mmseg_draws_classifiers_with_a_hundredth_and_convolutions_after_kaiming():
    net = head("mmseg/ann-r50", channels=256, num_classes=50, high=64)
    assert net.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not net.classifier.bias.any()
    fan_out = 9 * 256
    assert net.reduce.conv.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


def test_mmseg_s_initialisation_leaves_the_blocks_silent():
    net = head("mmseg/ann-r50")
    assert not net.fusion.out.weight.any()
    assert not net.context.out.weight.any()


def test_official_convolutions_have_a_bias_ahead_of_their_norm_and_mmseg_s_have_none():
    for name, wanted in (("official/ann-r101", True), ("mmseg/ann-r50", False)):
        convs = [m.conv for m in head(name).modules() if isinstance(m, ConvNorm)]
        assert {conv.bias is not None for conv in convs} == {wanted}, name
