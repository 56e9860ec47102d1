"""The official head from its raw tensors, ours with the same weights, and mmseg's after conversion: one function."""

from dataclasses import replace

import torch
from torch import nn

from ann.catalogue import NETWORKS
from ann.checkpoints import load, to_layout
from ann.network import make_network


def tiny(name, **changes):
    spec = replace(NETWORKS[name], backbone="tiny", num_classes=5, **changes)
    return make_network(spec).eval()


def official_by_hand(seed=0):
    """A head's state in the official layout, written down from the layout's description."""
    torch.manual_seed(seed)
    state = {}

    def add_conv(name, out, into, kernel=1):
        state[f"{name}.weight"] = torch.randn(out, into, kernel, kernel).double() * 0.3
        state[f"{name}.bias"] = torch.randn(out).double()

    def add_norm(name, width):
        state[f"{name}.weight"] = torch.randn(width).double()
        state[f"{name}.bias"] = torch.randn(width).double()
        state[f"{name}.running_mean"] = torch.randn(width).double()
        state[f"{name}.running_var"] = torch.rand(width).double() + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def add_attention(name, high, low, key):
        for part, into in (("f_key", low), ("f_query", high)):
            add_conv(f"{name}.stages.0.{part}.0", key, into)
            add_norm(f"{name}.stages.0.{part}.1.0", key)
        add_conv(f"{name}.stages.0.f_value", key, low)
        add_conv(f"{name}.stages.0.W", high, key)
        add_conv(f"{name}.conv_bn_dropout.0", high, 2 * high)

    add_attention("fusion", 128, 64, 16)
    add_norm("fusion.conv_bn_dropout.1", 128)
    add_conv("context.0", 32, 128, kernel=3)
    add_norm("context.1.0", 32)
    add_attention("context.2", 32, 32, 16)
    add_norm("context.2.conv_bn_dropout.1.0", 32)
    for key in [key for key in state if "context.2.stages.0.f_key" in key]:
        state[key.replace("f_key", "f_query")] = state[key].clone()
    add_conv("cls", 5, 32)
    return state


def official_network_of(state):
    net = tiny("official/ann-r101", auxiliary_channels=None).double()
    backbone = {
        key: tensor
        for key, tensor in to_layout(net, "official").items()
        if key.startswith("backbone.")
    }
    load(net, backbone | state)
    return net


def features():
    torch.manual_seed(5)
    return torch.randn(2, 64, 9, 7).double(), torch.randn(2, 128, 9, 7).double()


def official_attention(state, name, high, low):
    """The official block from its raw tensors: Eq. 5 to 11 with the code's scaling."""

    def conv_at(key, x):
        return nn.functional.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"])

    def norm_at(key, x):
        statistics = state[f"{key}.running_mean"], state[f"{key}.running_var"]
        affine = state[f"{key}.weight"], state[f"{key}.bias"]
        return nn.functional.batch_norm(x, *statistics, *affine)

    def pyramid(x):
        pools = [nn.functional.adaptive_avg_pool2d(x, n).flatten(2) for n in (1, 3, 6, 8)]
        return torch.cat(pools, dim=2)

    stage = f"{name}.stages.0"
    query = norm_at(f"{stage}.f_query.1.0", conv_at(f"{stage}.f_query.0", high)).relu()
    key = pyramid(norm_at(f"{stage}.f_key.1.0", conv_at(f"{stage}.f_key.0", low)).relu())
    value = pyramid(conv_at(f"{stage}.f_value", low))
    weight = (query.flatten(2).mT @ key / 16**0.5).softmax(dim=-1)
    context = conv_at(f"{stage}.W", (weight @ value.mT).mT.unflatten(2, high.shape[2:]))
    reduced = conv_at(f"{name}.conv_bn_dropout.0", torch.cat([context, high], dim=1))
    if f"{name}.conv_bn_dropout.1.0.weight" in state:
        return norm_at(f"{name}.conv_bn_dropout.1.0", reduced).relu()
    return norm_at(f"{name}.conv_bn_dropout.1", reduced)


def test_official_weights_compute_what_the_official_layout_means():
    state, (low, high) = official_by_hand(), features()
    fused = official_attention(state, "fusion", high, low)
    weight, bias = state["context.0.weight"], state["context.0.bias"]
    reduced = nn.functional.batch_norm(
        nn.functional.conv2d(fused, weight, bias, padding=1),
        *(state[f"context.1.0.{leaf}"] for leaf in ("running_mean", "running_var")),
        *(state[f"context.1.0.{leaf}"] for leaf in ("weight", "bias")),
    ).relu()
    refined = official_attention(state, "context.2", reduced, reduced)
    expected = nn.functional.conv2d(refined, state["cls.weight"], state["cls.bias"])
    torch.testing.assert_close(official_network_of(state).head(low, high), expected)


def test_official_weights_become_an_equal_mmseg_network():
    net, (low, high) = official_network_of(official_by_hand()), features()
    converted = to_layout(net, "mmseg")
    other = tiny("mmseg/ann-r50", auxiliary_channels=None).double()
    assert load(other, converted).layout == "mmseg"
    torch.testing.assert_close(other.head(low, high), net.head(low, high), rtol=1e-12, atol=1e-12)
    assert not [key for key in converted if key.endswith(".conv.bias")]
