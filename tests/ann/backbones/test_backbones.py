"""Backbones: feature widths and sizes, dilations, stems."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ann.backbones import BACKBONES, make_backbone


def meta_backbone(name):
    with torch.device("meta"):
        return make_backbone(name).eval()


def meta_sizes(name, height, width):
    features = meta_backbone(name)(torch.empty(1, 3, height, width, device="meta"))
    return [tuple(feature.shape[1:]) for feature in features]


def dilations(stage):
    return [
        module.dilation[0]
        for module in stage.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]


@pytest.mark.parametrize("name", BACKBONES)
def test_both_maps_have_an_eighth_of_the_size_and_the_declared_widths(name):
    backbone = BACKBONES[name]
    expected = [(backbone.low_channels, 8, 16), (backbone.high_channels, 8, 16)]
    size = (65, 121) if backbone.ceil_mode else (64, 128)
    if backbone.ceil_mode:
        expected = [(channels, 9, 16) for channels, *_ in expected]
    assert meta_sizes(name, *size) == expected


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("resnet101s-ceil", (769, 769), (97, 97)),
        ("resnet101s-ceil", (1024, 2048), (129, 257)),
        ("resnet101s-ceil", (864, 864), (109, 109)),
        ("resnet101c", (769, 769), (97, 97)),
        ("resnet101c", (1024, 2048), (128, 256)),
        ("resnet101s-uncontracted", (1025, 2049), (129, 257)),
        ("densenet161", (1024, 2048), (128, 256)),
    ],
)
def test_feature_size_is_the_source_s(name, size, expected):
    assert meta_sizes(name, *size)[1][1:] == expected


@pytest.mark.parametrize("name", ["resnet50c", "resnet50s-ceil", "resnet101c", "resnet101s-ceil"])
def test_first_block_of_a_dilated_stage_keeps_the_dilation_of_the_stage_before(name):
    net = meta_backbone(name)
    assert dilations(net.layer3)[:3] == [1, 2, 2]
    assert set(dilations(net.layer3)[1:]) == {2}
    assert dilations(net.layer4) == [2, 4, 4]


def test_semseg_dilates_the_first_block_like_the_rest():
    net = meta_backbone("resnet101s-uncontracted")
    assert dilations(net.layer3) == [2] * 23
    assert dilations(net.layer4) == [4] * 3


def test_basic_blocks_are_dilated_as_well():
    net = make_backbone("tiny")
    assert dilations(net.layer3) == [1, 2]
    assert dilations(net.layer4) == [2, 4]


def test_densenet_dilates_its_last_two_blocks_only():
    features = meta_backbone("densenet161").features
    blocks = [set(dilations(getattr(features, f"denseblock{stage}"))) for stage in (1, 2, 3, 4)]
    assert blocks == [{1}, {1}, {2}, {4}]


def test_densenet_ends_in_a_norm_without_relu():
    torch.manual_seed(0)
    _, high = make_backbone("densenet121").eval()(torch.randn(1, 3, 32, 32))
    assert high.min() < 0


def test_densenet_161_has_28911840_parameters():
    assert sum(p.numel() for p in meta_backbone("densenet161").parameters()) == 28_911_840


@pytest.mark.parametrize(
    ("name", "widths"), [("resnet50c", (32, 32, 64)), ("resnet50s-ceil", (64, 64, 128))]
)
def test_stem_is_three_convolutions_of_the_source_s_widths(name, widths):
    convs = [m for m in meta_backbone(name).conv1.modules() if isinstance(m, nn.Conv2d)]
    assert tuple(conv.out_channels for conv in convs) == widths


def test_ceil_mode_alone_separates_the_official_stem_from_timm_s():
    assert meta_backbone("resnet50s-ceil").maxpool.ceil_mode
    assert not meta_backbone("resnet50c").maxpool.ceil_mode


def test_maps_equal_those_of_timm_s_own_feature_extractor():
    import timm

    torch.manual_seed(0)
    ours = make_backbone("resnet18").eval()
    theirs = timm.create_model(
        "resnet18", features_only=True, output_stride=8, out_indices=(3, 4)
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 40, 56)
    for mine, other in zip(ours(images), theirs(images), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


def test_unknown_backbone_names_the_allowed_ones():
    with pytest.raises(
        ValueError,
        match="unknown backbone 'resnet19'; did you mean 'resnet18'. allowed are tiny, resnet18",
    ):
        make_backbone("resnet19")


def test_a_backbone_s_facts_cannot_be_changed():
    with pytest.raises(AttributeError):
        BACKBONES["tiny"].head_divisor = 2
    assert replace(BACKBONES["tiny"], head_divisor=2).head_divisor == 2
