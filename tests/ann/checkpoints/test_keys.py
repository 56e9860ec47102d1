"""Layouts: names and numbers of keys of the published files, and back again."""

from dataclasses import replace

import pytest
import torch

from ann.catalogue import NETWORKS
from ann.checkpoints import load, to_layout
from ann.network import make_network


def tiny(name, **changes):
    spec = replace(NETWORKS[name], **{"backbone": "tiny", "num_classes": 5} | changes)
    return make_network(spec).eval()


def randomised(net, seed=0):
    """Give every tensor random contents; variances stay positive."""
    torch.manual_seed(seed)
    for key, tensor in net.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.fill_(3)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        else:
            tensor.normal_(std=0.3)
    return net


def meta_keys(name, layout):
    with torch.device("meta"):
        return set(to_layout(make_network(NETWORKS[name]), layout))


def without_counters(keys):
    return [key for key in keys if not key.endswith("num_batches_tracked")]


def test_official_layout_has_704_keys():
    assert len(meta_keys("official/ann-r101", "official")) == 704


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mmseg/ann-r50", 390),
        ("mmseg/nl-r50", 370),
        ("mmseg/dnl-r50", 372),
        ("mmseg/psa-r50", 378),
        ("mmseg/psp-r50", 370),
        ("mmseg/deeplabv3-r50", 376),
    ],
)
def test_mmseg_layout_has_the_number_of_keys_of_the_published_files(name, expected):
    assert len(meta_keys(name, "mmseg")) == expected


@pytest.mark.parametrize(("name", "expected"), [("mmseg/psp-r50", 275), ("mmseg/psp-r101", 530)])
def test_backbone_of_mmseg_has_the_number_of_tensors_of_resnet_v1c(name, expected):
    keys = [key for key in meta_keys(name, "mmseg") if key.startswith("backbone.")]
    assert len(without_counters(keys)) == expected
    stems = {key.rpartition(".")[0] for key in keys if "stem" in key}
    assert stems == {f"backbone.stem.{index}" for index in (0, 1, 3, 4, 6, 7)}


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def norm(prefix):
    return {f"{prefix}.{leaf}" for leaf in NORM}


def conv(prefix, *, bias=True):
    return {f"{prefix}.weight"} | ({f"{prefix}.bias"} if bias else set())


def conv_module(prefix):
    return conv(f"{prefix}.conv", bias=False) | norm(f"{prefix}.bn")


def projections(prefix):
    """The official attention's own part: f_key, f_query, f_value, W."""
    embeddings = [f"{prefix}.f_key", f"{prefix}.f_query"]
    parts = [conv(f"{name}.0") | norm(f"{name}.1.0") for name in embeddings]
    return set().union(*parts, conv(f"{prefix}.f_value"), conv(f"{prefix}.W"))


def test_official_head_keys_are_the_released_ones():
    expected = set().union(
        projections("fusion.stages.0"),
        conv("fusion.conv_bn_dropout.0"),
        norm("fusion.conv_bn_dropout.1"),
        conv("context.0"),
        norm("context.1.0"),
        projections("context.2.stages.0"),
        conv("context.2.conv_bn_dropout.0"),
        norm("context.2.conv_bn_dropout.1.0"),
        conv("cls"),
        conv("dsn.0"),
        norm("dsn.1.0"),
        conv("dsn.3"),
    )
    keys = meta_keys("official/ann-r101", "official")
    assert {key for key in keys if not key.startswith("backbone.")} == expected


def test_official_stem_keys_are_the_released_ones():
    keys = meta_keys("official/ann-r101", "official")
    stem = {key for key in keys if key.startswith("backbone.prefix.")}
    expected = [conv(f"backbone.prefix.conv{i}", bias=False) for i in (1, 2, 3)]
    assert stem == set().union(*expected, *(norm(f"backbone.prefix.bn{i}") for i in (1, 2, 3)))


MMSEG_HEADS = {
    "mmseg/ann-r50": [
        *(
            conv_module(f"decode_head.{block}.stages.0.{part}_project")
            for block in ("fusion", "context")
            for part in ("key", "query")
        ),
        *(
            conv(f"decode_head.{block}.stages.0.{part}_project")
            for block in ("fusion", "context")
            for part in ("value", "out")
        ),
        conv_module("decode_head.fusion.bottleneck"),
        conv_module("decode_head.context.bottleneck"),
        conv_module("decode_head.bottleneck"),
    ],
    "mmseg/nl-r50": [
        *(conv_module(f"decode_head.{part}") for part in ("convs.0", "convs.1", "conv_cat")),
        *(conv(f"decode_head.nl_block.{part}.conv") for part in ("g", "theta", "phi")),
        conv_module("decode_head.nl_block.conv_out"),
    ],
    "mmseg/dnl-r50": [
        *(conv_module(f"decode_head.{part}") for part in ("convs.0", "convs.1", "conv_cat")),
        *(conv(f"decode_head.dnl_block.{part}.conv") for part in ("g", "theta", "phi")),
        conv_module("decode_head.dnl_block.conv_out"),
        conv("decode_head.dnl_block.conv_mask"),
    ],
    "mmseg/psa-r50": [
        *(conv_module(f"decode_head.{part}") for part in ("reduce", "reduce_p", "proj")),
        *(conv_module(f"decode_head.{part}.0") for part in ("attention", "attention_p")),
        *(conv(f"decode_head.{part}.1", bias=False) for part in ("attention", "attention_p")),
        conv_module("decode_head.bottleneck"),
    ],
    "mmseg/psp-r50": [
        *(conv_module(f"decode_head.psp_modules.{index}.1") for index in range(4)),
        conv_module("decode_head.bottleneck"),
    ],
    "mmseg/deeplabv3-r50": [
        conv_module("decode_head.image_pool.1"),
        *(conv_module(f"decode_head.aspp_modules.{index}") for index in range(4)),
        conv_module("decode_head.bottleneck"),
    ],
}


@pytest.mark.parametrize(("name", "parts"), MMSEG_HEADS.items())
def test_mmseg_head_keys_are_the_published_ones(name, parts):
    expected = set().union(
        *parts,
        conv("decode_head.conv_seg"),
        conv("auxiliary_head.conv_seg"),
        conv_module("auxiliary_head.convs.0"),
    )
    keys = meta_keys(name, "mmseg")
    assert {key for key in keys if not key.startswith("backbone.")} == expected


def test_keys_and_values_of_dnl_are_not_mixed_up():
    net = tiny("mmseg/dnl-r50")
    state = to_layout(net, "mmseg")
    block = net.head.context
    assert (
        state["decode_head.dnl_block.theta.conv.weight"].data_ptr() == block.query.weight.data_ptr()
    )
    assert state["decode_head.dnl_block.phi.conv.weight"].data_ptr() == block.key.weight.data_ptr()
    assert state["decode_head.dnl_block.g.conv.weight"].data_ptr() == block.value.weight.data_ptr()


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("official/ann-r101", "own"),
        ("official/ann-r101", "official"),
        ("paper/nb", "official"),
        ("mmseg/ann-r50", "mmseg"),
        ("mmseg/nl-r50", "mmseg"),
        ("mmseg/dnl-r50", "mmseg"),
        ("mmseg/psa-r50", "mmseg"),
        ("mmseg/psp-r50", "mmseg"),
        ("mmseg/deeplabv3-r50", "mmseg"),
        ("semseg/psanet-r101", "semseg"),
        ("denseaspp/161", "own"),
    ],
)
def test_what_is_written_in_a_layout_is_read_back(name, layout):
    net = randomised(tiny(name))
    other = tiny(name)
    assert load(other, to_layout(net, layout)).layout == layout
    images = torch.rand(1, 3, 33, 47)
    with torch.no_grad():
        assert torch.equal(other(images), net(images))
    for key, tensor in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key


def test_dense_aspp_s_dotted_names_are_read_back():
    spec = replace(NETWORKS["denseaspp/121"], num_classes=5)
    net, other = randomised(make_network(spec)), make_network(spec)
    state = to_layout(net, "denseaspp")
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    assert {"ASPP_24.conv.2.bias", "classification.1.weight", "features.norm5.bias"} <= set(state)
    assert load(other, state).layout == "denseaspp"
    assert torch.equal(other.head.branches[4].conv2.bias, net.head.branches[4].conv2.bias)


def test_semseg_keys_are_the_published_ones():
    keys = meta_keys("semseg/psanet-r101", "semseg")
    expected = set().union(
        *(conv(f"psa.{part}.0", bias=False) | norm(f"psa.{part}.1") for part in PSA_PARTS),
        conv("psa.attention.3", bias=False),
        conv("psa.attention_p.3", bias=False),
        *(conv(f"{part}.0", bias=False) | norm(f"{part}.1") for part in ("cls", "aux")),
        conv("cls.4"),
        conv("aux.4"),
    )
    assert {key for key in keys if not key.startswith("layer")} == expected


PSA_PARTS = ("reduce", "reduce_p", "attention", "attention_p", "proj")


def test_a_layout_without_a_name_for_a_part_is_refused():
    with pytest.raises(ValueError, match="layout 'official' has no name for head"):
        to_layout(tiny("mmseg/psp-r50"), "official")


def test_unknown_layout_names_the_allowed_ones():
    with pytest.raises(ValueError, match="unknown layout 'caffe'; allowed are own, official"):
        to_layout(tiny("paper/baseline"), "caffe")
