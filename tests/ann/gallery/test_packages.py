"""Blocks of the gallery beside implementations that others keep, with the same weights, in float64."""

import pytest
import torch

from ann import gallery
from ann.gallery.tokens import num_heads
from ann.spec import UnavailableError


def drawn(channels, height=6, width=8):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, height, width, dtype=torch.float64, generator=generator)


def draw_weights(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.2)
    return module.double().eval()


def give(ours, theirs, names):
    """Copy all weights of ours into another's module, whose names are the keys."""
    state = ours.state_dict()
    assert set(names.values()) == state.keys()
    theirs.double().eval().load_state_dict({name: state[own] for name, own in names.items()})


def with_parts(names):
    """Names of weights and biases in another's module, by ours."""
    parts = ("weight", "bias")
    return {f"{other}.{part}": f"{own}.{part}" for own, other in names.items() for part in parts}


@torch.no_grad()
def test_criss_cross_is_that_of_fightingcv():
    package = pytest.importorskip("fightingcv_attention.attention.CrissCrossAttention")
    ours = draw_weights(gallery.CrissCross(32))
    theirs = package.CrissCrossAttention(32)
    names = {"query": "query_conv", "key": "key_conv", "value": "value_conv"}
    give(ours, theirs, {**with_parts(names), "gamma": "gain"})
    x = drawn(32)
    torch.testing.assert_close(ours(x), theirs(theirs(x)))


@torch.no_grad()
def test_linformer_is_that_of_its_package():
    package = pytest.importorskip("linformer")
    ours = gallery.Linformer(128).double()
    x = drawn(128)
    ours(x)
    draw_weights(ours)
    theirs = package.LinformerSelfAttention(128, seq_len=48, k=256, heads=2).double().eval()
    state = {
        f"{a}.weight": f"{b}.weight"
        for a, b in zip(("to_q", "to_k", "to_v"), ("query", "key", "value"), strict=True)
    }
    own = ours.state_dict()
    theirs.load_state_dict(
        {name: own[source] for name, source in state.items()}
        | {"proj_k": own["project_keys.weight"].mT, "proj_v": own["project_values.weight"].mT}
        | {f"to_out.{part}": own[f"out.{part}"] for part in ("weight", "bias")}
    )
    torch.testing.assert_close(ours(x), theirs(x.flatten(2).mT).mT.unflatten(2, (6, 8)))


@torch.no_grad()
def test_efficient_attention_is_that_of_linear_attention_transformer():
    package = pytest.importorskip("linear_attention_transformer.images")
    ours = draw_weights(gallery.EfficientAttention(32, 16))
    theirs = package.ImageLinearAttention(32, key_dim=2, value_dim=2, heads=8)
    names = {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out"}
    give(ours, theirs, with_parts(names))
    # It scales query and key by a fourth root each, which the paper does not.
    for part in (theirs.to_q, theirs.to_k):
        part.weight *= 2**0.25
        part.bias *= 2**0.25
    x = drawn(32)
    torch.testing.assert_close(ours(x), x + theirs(x))


@torch.no_grad()
def test_reduced_attention_is_that_of_segformer():
    package = pytest.importorskip("transformers.models.segformer.modeling_segformer")
    ours = draw_weights(gallery.segformer(128))
    config = package.SegformerConfig(attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
    config._attn_implementation = "eager"
    theirs = package.SegformerAttention(
        config, 128, num_attention_heads=2, sequence_reduction_ratio=4
    )
    state = {name.removeprefix("module."): value for name, value in ours.state_dict().items()}
    state |= {
        f"{name}.{part}": half
        for part in ("weight", "bias")
        for name, half in zip(("k", "v"), state.pop(f"kv.{part}").chunk(2), strict=True)
    }
    places = {
        "q": ("query", "q_proj"),
        "k": ("key", "k_proj"),
        "v": ("value", "v_proj"),
        "proj": ("dense", "o_proj"),
        "sr": ("sr", "sequence_reduction"),
        "norm": ("layer_norm", "layer_norm"),
    }
    wanted = theirs.double().eval().state_dict()
    filled = {}
    for name in wanted:
        stem, part = name.rsplit(".", 1)
        last = stem.rsplit(".", 1)[-1]
        (own,) = (own for own, names in places.items() if last in names)
        filled[name] = state[f"{own}.{part}"]
    assert len(filled) == len(state)
    theirs.load_state_dict(filled)
    for part in theirs.modules():
        if isinstance(part, torch.nn.LayerNorm):
            part.eps = 1e-6  # timm's; theirs is 1e-5
    x = drawn(128, 8, 12)
    want = theirs(x.flatten(2).mT, 8, 12)[0]
    # Its softmax is in float32.
    torch.testing.assert_close(ours(x), want.mT.unflatten(2, (8, 12)), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_pyramid_pooling_is_that_of_segmentation_models():
    package = pytest.importorskip("segmentation_models_pytorch.decoders.pspnet.decoder")
    ours = draw_weights(gallery.PyramidPooling(32))
    theirs = package.PSPModule(32).double().eval()
    for block, part in zip(theirs.blocks, ours.pools, strict=True):
        block.pool[1][0].weight.copy_(part.conv.weight)
        if isinstance(block.pool[1][1], torch.nn.BatchNorm2d):
            block.pool[1][1].load_state_dict(part.norm.state_dict())
        else:  # it has no norm after a single place
            part.norm.weight.fill_((1 + part.norm.eps) ** 0.5)
            part.norm.bias.copy_(block.pool[1][0].bias if block.pool[1][0].bias is not None else 0)
    x = drawn(32, 6, 6)
    maps, theirs_maps = [], theirs(x)
    ours.merge.register_forward_pre_hook(lambda _, given: maps.append(given[0]))
    ours(x)
    # Theirs has the map last, and keeps the corners where it enlarges: no matter for one place, or for as many as the
    # map has.
    (mine,) = maps
    torch.testing.assert_close(theirs_maps[:, 32:], mine[:, :32])
    torch.testing.assert_close(theirs_maps[:, :8], mine[:, 32:40])
    torch.testing.assert_close(theirs_maps[:, 24:32], mine[:, 56:])


@torch.no_grad()
def test_nystrom_attends_through_means_of_64_runs_of_positions():
    pytest.importorskip("nystrom_attention")
    block, x = draw_weights(gallery.nystrom(32)), drawn(32, 8, 16)[:1]
    inner = block.module
    query, key, value = inner.to_qkv(x.flatten(2).mT).chunk(3, 2)
    query = query / 32**0.5
    of_query, of_key = (each.unflatten(1, (64, 2)).mean(2) for each in (query, key))
    middle = (of_query @ of_key.mT).softmax(2)
    # Six steps of the paper's equation 11, from its own start.
    inverse = middle.mT / (middle.sum(1).max() * middle.sum(2).max())
    one = torch.eye(64, dtype=torch.float64)
    for _ in range(6):
        near = middle @ inverse
        inverse = inverse @ (13 * one - near @ (15 * one - near @ (7 * one - near))) / 4
    mixed = (query @ of_key.mT).softmax(2) @ inverse @ (of_query @ key.mT).softmax(2) @ value
    beside = inner.res_conv.weight[0, 0, :, 0]
    padded = torch.nn.functional.pad(value, (0, 0, 16, 16))
    mixed = mixed + sum(beside[at] * padded[:, at : at + 128] for at in range(33))
    want = inner.to_out[0](mixed).mT.unflatten(2, (8, 16))
    torch.testing.assert_close(block(x), want, rtol=1e-5, atol=1e-5)


def test_a_package_that_is_missing_is_named_with_its_group(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nystrom_attention", None)
    with pytest.raises(
        UnavailableError, match=r"nystrom-attention .*pip install nystrom-attention"
    ):
        gallery.nystrom(32)


def test_heads_have_64_channels_where_that_divides():
    assert [num_heads(channels) for channels in (512, 64, 32, 96)] == [8, 1, 1, 1]
