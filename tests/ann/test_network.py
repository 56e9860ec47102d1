"""Whole networks: parameters and MACs to the digit, sizes, and what training returns."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ann.backbones import BACKBONES
from ann.blocks import NonLocal
from ann.catalogue import NETWORKS
from ann.network import fit, make_network
from ann.spec import Size

# Reference counts: parameters with and without the auxiliary head.
PARAMETERS = {
    "official/ann-r101": (67_694_310, 62_964_435),
    "paper/afnb+apnb": (67_694_310, 62_964_435),
    "mmseg/ann-r50": (46_228_614, 43_863_923),
    "mmseg/ann-r101": (65_220_742, 62_856_051),
    "mmseg/dnl-r50": (50_024_327, 47_659_636),
    "mmseg/dnl-r101": (69_016_455, 66_651_764),
    "mmseg/nl-r50": (50_023_814, 47_659_123),
    "mmseg/nl-r101": (69_015_942, 66_651_251),
    "mmseg/psa-r50": (59_138_694, 56_774_003),
    "mmseg/psa-r101": (78_130_822, 75_766_131),
    "mmseg/psp-r50": (48_975_494, 46_610_803),
    "mmseg/psp-r101": (67_967_622, 65_602_931),
    "mmseg/deeplabv3-r50": (68_113_030, 65_748_339),
    "mmseg/deeplabv3-r101": (87_105_158, 84_740_467),
    "semseg/psanet-r101": (102_549_222, 100_184_531),
    "denseaspp/121": (8_280_851, 8_280_851),
    "denseaspp/161": (35_395_427, 35_395_427),
    "denseaspp/169": (18_420_675, 18_420_675),
    "denseaspp/201": (28_639_987, 28_639_987),
}
ODD_SIZES = [(33, 47), (97, 65)]


@cache
def meta_network(spec):
    with torch.device("meta"):
        return make_network(spec).eval()


def tiny(name, **changes):
    torch.manual_seed(0)
    return make_network(replace(NETWORKS[name], backbone="tiny", num_classes=5, **changes))


def count(module):
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def parameters(spec):
    net = meta_network(spec)
    return count(net), count(net) - count(net.auxiliary)


def norm_buffers(spec):
    return sum(b.numel() for b in meta_network(spec).buffers())


def giga_macs(spec, height, width):
    images = torch.empty(1, 3, height, width, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        meta_network(spec)(images)
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_with_and_without_the_auxiliary_head(name, expected):
    assert parameters(NETWORKS[name]) == expected


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("resnet50s-ceil", (48_702_182, 43_972_307)),
        ("resnet101", (67_570_534, 62_840_659)),
    ],
)
def test_parameters_of_the_official_network_on_other_backbones(backbone, expected):
    assert parameters(replace(NETWORKS["official/ann-r101"], backbone=backbone)) == expected


def test_parameters_of_psanet_for_its_training_crop():
    spec = replace(NETWORKS["semseg/psanet-r101"], mask=Size(height=89, width=89))
    assert parameters(spec) == (76_711_654, 74_346_963)


def test_parts_of_the_official_network():
    net = meta_network(NETWORKS["official/ann-r101"])
    parts = [net.backbone, net.head.fusion, net.head.context, net.head.classifier, net.auxiliary]
    context = count(net.head.context) + count(net.head.reduce)
    assert [count(part) for part in parts[:2]] == [42_623_936, 9_971_456]
    assert context == 10_359_296
    assert [count(part) for part in parts[3:]] == [9_747, 4_729_875]


@pytest.mark.parametrize(
    ("name", "buffers", "published_m"),
    [
        ("official/ann-r101", 114_545, None),
        ("semseg/psanet-r101", 115_569, 102.66),
        ("denseaspp/161", 238_827, 35.63),
    ],
)
def test_norm_buffers_and_with_them_the_numbers_of_table_2(name, buffers, published_m):
    spec = NETWORKS[name]
    assert norm_buffers(spec) == buffers
    if published_m is not None:
        counters = sum(1 for key in meta_network(spec).state_dict() if key.endswith("tracked"))
        total = parameters(spec)[0] + buffers - counters
        assert round(total / 1e6, 2) == published_m


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("mmseg/ann-r50", (769, 769), 425.2),
        ("mmseg/ann-r101", (1024, 2048), 2102.0),
        ("official/ann-r101", (769, 769), 616.6),
        ("official/ann-r101", (1024, 2048), 2173.0),
        ("mmseg/dnl-r50", (769, 769), 504.0),
        ("mmseg/nl-r101", (769, 769), 682.2),
        ("mmseg/psa-r50", (1024, 2048), 1664.8),
        ("mmseg/psa-r101", (769, 769), 643.0),
        ("mmseg/psp-r50", (1024, 2048), 1426.2),
        ("mmseg/deeplabv3-r50", (769, 769), 619.0),
        ("semseg/psanet-r101", (1025, 2049), 2565.4),
        ("denseaspp/161", (1024, 2048), 1239.5),
        ("denseaspp/161", (512, 512), 154.9),
    ],
)
def test_giga_macs_without_the_auxiliary_head(name, size, expected):
    assert round(giga_macs(NETWORKS[name], *size), 1) == expected


def test_giga_macs_of_psanet_for_its_training_crop():
    spec = replace(NETWORKS["semseg/psanet-r101"], mask=Size(height=89, width=89))
    assert round(giga_macs(spec, 705, 705), 1) == 548.3


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("height", "width"), ODD_SIZES)
def test_logits_have_the_size_of_the_images(name, height, width):
    with torch.no_grad():
        logits = tiny(name).eval()(torch.rand(1, 3, height, width))
    assert logits.shape == (1, 5, height, width)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("height", "width"), ODD_SIZES)
def test_training_gives_a_pair_at_the_size_of_the_images(name, height, width):
    logits, auxiliary = tiny(name).train()(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 5, height, width)
    if NETWORKS[name].auxiliary_channels is None:
        assert auxiliary is None
    else:
        assert auxiliary.shape == (2, 5, height, width)


@pytest.mark.parametrize("name", ["paper/afnb+apnb", "mmseg/dnl-r50", "mmseg/psa-r50"])
def test_every_parameter_gets_a_gradient(name):
    net = tiny(name).train()
    logits, auxiliary = net(torch.rand(2, 3, 33, 47))
    (logits.square().sum() + auxiliary.square().sum()).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None] == []


def test_published_full_model_is_the_released_network():
    assert NETWORKS["paper/afnb+apnb"] == NETWORKS["official/ann-r101"]


@pytest.mark.parametrize(
    ("row", "fusion", "context"),
    [
        ("baseline", None, None),
        ("nb", None, "all"),
        ("apnb", None, "pyramid-average"),
        ("common-fusion", "common-fusion", None),
        ("fnb", "all", None),
        ("afnb", "pyramid-average", None),
        ("common-fusion+nb", "common-fusion", "all"),
        ("fnb+nb", "all", "all"),
        ("afnb+apnb", "pyramid-average", "pyramid-average"),
    ],
)
def test_rows_of_table_6_differ_in_their_two_blocks_only(row, fusion, context):
    spec = NETWORKS[f"paper/{row}"]
    kinds = [
        block and (block.sampler if block.kind == "non-local" else block.kind)
        for block in (spec.fusion, spec.context)
    ]
    assert kinds == [fusion, context]
    assert replace(spec, fusion=None, context=None) == NETWORKS["paper/baseline"]


def test_context_sits_on_512_channels_after_the_reduction():
    net = meta_network(NETWORKS["paper/nb"])
    assert net.head.context.spec.channels == net.head.reduce.conv.out_channels == 512


def test_sampler_of_both_blocks_can_be_swapped():
    spec = NETWORKS["paper/afnb+apnb"]
    swapped = {
        field: replace(getattr(spec, field), sampler="pyramid-max", grids=(1, 2))
        for field in ("fusion", "context")
    }
    net = tiny("paper/afnb+apnb", **swapped)
    blocks = [module for module in net.modules() if isinstance(module, NonLocal)]
    assert [(b.spec.sampler, b.spec.grids) for b in blocks] == [("pyramid-max", (1, 2))] * 2
    assert net.eval()(torch.rand(1, 3, 33, 47)).shape == (1, 5, 33, 47)


def test_widths_follow_resnet18_as_mmseg_s_own_configurations_do():
    spec = fit(NETWORKS["mmseg/ann-r50"], BACKBONES["resnet18"])
    assert (spec.channels, spec.auxiliary_channels) == (128, 64)
    assert (spec.fusion.channels, spec.fusion.low_channels, spec.fusion.key_channels) == (
        512,
        256,
        64,
    )
    assert (spec.context.channels, spec.context.key_channels) == (128, 64)


@pytest.mark.parametrize("name", ["official/ann-r101", "denseaspp/161", "mmseg/psa-r50"])
def test_widths_stay_on_the_source_s_own_backbone(name):
    spec = NETWORKS[name]
    assert fit(spec, BACKBONES[spec.backbone]) == spec


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_built_on_resnet18(name):
    spec = replace(NETWORKS[name], backbone="resnet18")
    with torch.device("meta"):
        net = make_network(spec).eval()
        assert net(torch.empty(1, 3, 64, 96)).shape == (1, 19, 64, 96)


@pytest.mark.parametrize("align_corners", [True, False])
def test_upsampling_follows_the_spec(align_corners):
    net = tiny("mmseg/psp-r50", align_corners=align_corners).eval()
    images = torch.rand(1, 3, 33, 47)
    with torch.no_grad():
        small = net.head(*net.backbone(images))
        expected = torch.nn.functional.interpolate(
            small, size=(33, 47), mode="bilinear", align_corners=align_corners
        )
        assert torch.equal(net(images), expected)


def test_unknown_backbone_is_named_before_anything_is_built():
    with pytest.raises(ValueError, match="unknown backbone 'resnet19'"):
        make_network(replace(NETWORKS["mmseg/ann-r50"], backbone="resnet19"))
