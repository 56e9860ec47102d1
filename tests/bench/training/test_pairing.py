"""Arms of one seed: they start alike in what they share, and drop the same channels there."""

from dataclasses import replace

import pytest
import torch

from ann import build
from bench.training.pairing import PairedDraws, share_start

ARMS = ("paper/baseline", "paper/nb", "paper/apnb", "paper/common-fusion+nb", "paper/fnb")


def started(name, seed=0):
    torch.manual_seed(seed)
    network = build.network(name, num_classes=11, backbone="tiny")
    share_start(network, seed)
    return network


@pytest.mark.parametrize("name", ARMS)
def test_parts_that_an_arm_shares_with_the_full_network_start_alike(name):
    full = dict(started("paper/afnb+apnb").named_parameters())
    own = dict(started(name).named_parameters())
    shared = [key for key in own if key in full and own[key].shape == full[key].shape]
    assert "head.reduce.conv.weight" in shared
    assert "auxiliary.classifier.weight" in shared
    assert all(torch.equal(own[key], full[key]) for key in shared)


def test_another_seed_starts_otherwise():
    one, two = (started("paper/apnb", seed).head.reduce.conv.weight for seed in (0, 1))
    assert not torch.equal(one, two)


def test_a_block_still_starts_as_the_identity():
    assert not started("paper/apnb").head.context.out.weight.any()


def drops(name, iteration, seed=0):
    """What the auxiliary head's dropout leaves, after a forward pass of the whole network."""
    network = started(name).train()
    draws = PairedDraws(network, seed=seed, rank=0)
    left = []
    network.auxiliary.dropout.register_forward_hook(lambda _, given, out: left.append(out == 0))
    draws.begin(iteration)
    network(torch.ones(2, 3, 32, 32))
    return left[0]


def test_arms_drop_the_same_channels_of_a_shared_part():
    assert torch.equal(drops("paper/baseline", 3), drops("paper/afnb+apnb", 3))


@pytest.mark.parametrize("other", [{"iteration": 4}, {"iteration": 3, "seed": 1}])
def test_another_iteration_or_seed_drops_others(other):
    assert not torch.equal(drops("paper/baseline", 3), drops("paper/baseline", **other))


def test_corners_of_a_stride_are_all_drawn():
    draws = PairedDraws(started("paper/baseline"), seed=0, rank=0)
    corners = []
    for iteration in range(100):
        draws.begin(iteration)
        corners.append(draws.corner(2))
    assert set(corners) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_network_of_another_source_keeps_its_own_start():
    torch.manual_seed(0)
    network = build.network("mmseg/dnl-r50", num_classes=11, backbone="tiny")
    before = {name: parameter.clone() for name, parameter in network.head.named_parameters()}
    share_start(network, 0)
    assert all(torch.equal(before[name], own) for name, own in network.head.named_parameters())


def test_a_block_of_another_form_keeps_its_own_start():
    spec = build.network_spec("paper/apnb", num_classes=11, backbone="tiny")
    spec = replace(spec, context=replace(spec.context, projection="separate"))
    torch.manual_seed(0)
    network = build.network(spec)
    before = network.head.context.value.weight.clone()
    share_start(network, 0)
    assert torch.equal(network.head.context.value.weight, before)


def test_a_training_that_has_ended_draws_nothing_any_more():
    network = started("paper/baseline").train()
    draws = PairedDraws(network, seed=0, rank=0)
    draws.end()
    torch.manual_seed(5)
    first = network.auxiliary.dropout(torch.ones(2, 64, 1, 1))
    assert not torch.equal(first, network.auxiliary.dropout(torch.ones(2, 64, 1, 1)))
