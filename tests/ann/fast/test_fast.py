"""Blocks that `optimize` rewrote against the plain ones, with random weights and running statistics."""

import copy
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ann import build
from ann.catalogue import BLOCKS
from ann.fast import optimize
from ann.fast.pooling import pool_once
from ann.sampling import pool
from bench.predict.ledger import count
from tests.host import traffic

# Few anchors: the values meet W_o first; many: they meet their weights first.
SAMPLERS = {
    "all": (),
    "random": (2,),
    "max": (2,),
    "average": (2,),
    "pyramid-random": (1, 3, 6),
    "pyramid-random-cells": (1, 3),
    "pyramid-max": (1, 3, 6),
    "pyramid-average": (1, 2),
}
NON_LOCAL = [name for name in BLOCKS if name != "common-fusion"]
CASES = [
    *product(NON_LOCAL, SAMPLERS),
    *((name, "pyramid-average (1, 3, 6)") for name in NON_LOCAL),
]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
COMPILED = """
import copy, sys
from test_fast import compare_step, made, maps, optimize
plain = made(sys.argv[1]).train()
fast = optimize(copy.deepcopy(plain), "training")
fast.compile(backend="aot_eager", fullgraph=True, dynamic=False)
assert max(compare_step(plain, fast, maps(plain))) < 1e-12
"""
SIZES = [(31, 17), (97, 97), (129, 257)]


@torch.no_grad()
def shake(module):
    """Weights and statistics as after a training: nothing is zero, nothing cancels."""
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            part.running_mean.normal_(std=0.2)
            part.running_var.uniform_(0.5, 1.5)
        if getattr(part, "bias", None) is not None:
            torch.nn.init.normal_(part.bias, std=0.2)
    return module


def made(name, sampler="own", dtype=torch.float64, **changes):
    torch.manual_seed(0)
    widths = {"channels": 20, "key_channels": 6, "value_channels": 8}
    if BLOCKS[name].is_fusion:
        widths["low_channels"] = 10
    if sampler == "pyramid-average (1, 3, 6)":
        changes = {"sampler": "pyramid-average", "grids": (1, 3, 6), **changes}
    elif sampler != "own":
        changes = {"sampler": sampler, "grids": SAMPLERS[sampler], **changes}
    return shake(build.block(name, **{**widths, **changes})).to(dtype)


def maps(block, height=13, width=9, images=2):
    torch.manual_seed(1)
    dtype = next(block.parameters()).dtype
    channels = [block.spec.channels, *filter(None, [block.spec.low_channels])]
    return [torch.randn(images, c, height, width, dtype=dtype) for c in channels]


def error(found, expected):
    """Relative error of a tensor as a whole."""
    return ((found - expected).norm() / expected.norm()).item()


def step(block, inputs):
    """Result and gradients of one call, by name."""
    inputs = [each.clone().requires_grad_() for each in inputs]
    torch.manual_seed(2)
    result = block(*inputs)
    wanted = {**dict(block.named_parameters()), **{f"input {n}": t for n, t in enumerate(inputs)}}
    gradients = torch.autograd.grad(result, wanted.values(), torch.randn_like(result))
    return result.detach(), dict(zip(wanted, gradients, strict=True))


def largest_error(found, expected):
    """Of gradients; what is zero but for rounding (a bias ahead of a norm) against the largest one."""
    norms = {name: each.norm() for name, each in expected.items()}
    largest = max(norms.values())
    norms = {name: norm if norm > 1e-4 * largest else largest for name, norm in norms.items()}
    return max(((found[name] - expected[name]).norm() / norms[name]).item() for name in norms)


def compare_step(plain, fast, inputs):
    """Errors of the result, of gradients and of running statistics after one call."""
    result, gradients = step(plain, inputs)
    fast_result, fast_gradients = step(fast, inputs)
    buffers = dict(plain.named_buffers())
    moved = [error(b.double(), buffers[name].double()) for name, b in fast.named_buffers()]
    return (
        error(fast_result, result),
        largest_error(fast_gradients, gradients),
        max(moved, default=0),
    )


# In evaluation the training form of one sampler is quick to tell; the others take half a minute.
BY_MODE = [
    pytest.param(*case, train, marks=[] if train or case[1] == "all" else pytest.mark.slow)
    for case in CASES
    for train in (True, False)
]


@pytest.mark.parametrize(("name", "sampler", "train"), BY_MODE)
def test_training_form_has_the_result_gradients_and_statistics_of_the_plain_block(
    name, sampler, train
):
    plain = made(name, sampler).train(train)
    fast = optimize(copy.deepcopy(plain), "training")
    assert max(compare_step(plain, fast, maps(plain))) < 1e-12


@pytest.mark.parametrize("name", NON_LOCAL)
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_training_form_is_equal_in_float32(name, train):
    plain = made(name, dtype=torch.float32).train(train)
    fast = optimize(copy.deepcopy(plain), "training")
    assert max(compare_step(plain, fast, maps(plain))) < 1e-5


@pytest.mark.parametrize(("name", "sampler"), CASES)
def test_inference_form_is_equal(name, sampler):
    plain = made(name, sampler).eval()
    inputs = maps(plain)
    with torch.inference_mode():
        assert error(optimize(plain)(*inputs), plain(*inputs)) < 1e-12


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("name", ["apnb", "apnb-concat", "apnb-bottleneck", "afnb-bottleneck"])
def test_sizes_that_cells_do_not_divide_are_equal(name, size, dtype):
    plain = made(name, dtype=dtype).eval()
    inputs = maps(plain, *size, images=1)
    with torch.no_grad():
        expected = plain(*inputs)
        for mode in ("inference", "training"):
            assert error(optimize(plain, mode)(*inputs), expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("name", ["nb", "fnb-bottleneck", "dnl"])
def test_attention_over_all_positions_is_equal_at_odd_sizes(name):
    plain = made(name, dtype=torch.float32, value_channels=None).eval()
    inputs = maps(plain, 31, 17)
    with torch.no_grad():
        assert error(optimize(plain)(*inputs), plain(*inputs)) < 1e-5


def test_dropout_takes_the_same_channels():
    plain = made("apnb-bottleneck", dropout=0.5).train()
    fast = optimize(copy.deepcopy(plain), "training")
    assert compare_step(plain, fast, maps(plain))[0] < 1e-12


def test_training_form_keeps_the_keys_and_shares_the_tensors():
    plain = made("dnl")
    ours, theirs = (m.state_dict(keep_vars=True) for m in (optimize(plain, "training"), plain))
    assert list(ours) == list(theirs)
    assert all(ours[key] is theirs[key] for key in theirs)


def test_what_one_form_learns_the_other_knows():
    plain = made("apnb-bottleneck").eval()
    fast = optimize(plain, "training")
    inputs = maps(plain)
    with torch.no_grad():
        fast.out.weight.mul_(2)
        assert error(fast(*inputs), plain(*inputs)) < 1e-12


def test_inference_form_leaves_the_block_as_it_is():
    plain = made("apnb-bottleneck").train()
    before = copy.deepcopy(plain.state_dict())
    optimize(plain)
    assert plain.training
    assert_close(plain.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0, None])
def test_a_shared_norm_moves_twice_a_step(momentum):
    plain = made("apnb").train()
    plain.key.norm.momentum = momentum
    fast = optimize(copy.deepcopy(plain), "training")
    for _ in range(3):
        inputs = [torch.randn(2, 20, 6, 5, dtype=torch.float64)]
        plain(*inputs)
        fast(*inputs)
    ours, theirs = fast.key.norm, plain.key.norm
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 6
    assert_close(ours.running_mean, theirs.running_mean, rtol=1e-12, atol=0)
    assert_close(ours.running_var, theirs.running_var, rtol=1e-12, atol=0)
    assert ours.momentum == momentum


def test_a_shared_projection_of_two_maps_moves_in_the_order_of_the_plain_block():
    plain = made("apnb").train()
    fast = optimize(copy.deepcopy(plain), "training")
    x, low = torch.randn(2, 2, 20, 6, 5, dtype=torch.float64)
    assert error(fast(x, low), plain(x, low)) < 1e-12
    assert_close(fast.key.norm.running_mean, plain.key.norm.running_mean, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["apnb-residual", "apnb-bottleneck", "nb"])
def test_channels_last_maps_are_equal(name):
    plain = made(name).eval()
    inputs = [each.contiguous(memory_format=torch.channels_last) for each in maps(plain)]
    for mode in ("inference", "training"):
        assert error(optimize(plain, mode)(*inputs), plain(*inputs)) < 1e-12


def test_common_fusion_has_its_norm_folded():
    plain = shake(build.block("common-fusion", channels=8, low_channels=4)).double().eval()
    fast = optimize(plain)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fast.modules())
    inputs = maps(plain)
    assert error(fast(*inputs), plain(*inputs)) < 1e-12


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    grids=st.lists(st.integers(1, 12), min_size=1, max_size=5),
)
def test_pooling_once_is_adaptive_pooling_at_any_size(height, width, grids):
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    plain = pool(x, grids=grids, kind=torch.nn.functional.adaptive_avg_pool2d)
    assert_close(pool_once(x, grids=grids), plain, rtol=1e-12, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    grids=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    name=st.sampled_from(["apnb-residual", "afnb-bottleneck", "dnl"]),
)
def test_blocks_are_equal_at_any_size_and_with_any_pyramid(height, width, grids, name):
    plain = made(name, sampler="pyramid-average", grids=grids).eval()
    inputs = maps(plain, height, width)
    with torch.no_grad():
        assert error(optimize(plain)(*inputs), plain(*inputs)) < 1e-12


def macs(module, *shapes):
    return count(
        module, tuple(torch.zeros(shape, device="meta") for shape in shapes), mode="eval"
    ).macs


def test_apnb_projects_once_and_never_leaves_the_anchors_for_w_o():
    """C k N + k S N + C S N, and what concerns anchors alone."""
    channels, key, height, width, anchors, cells = 64, 16, 40, 30, 5, 3
    with torch.device("meta"):
        plain = build.block("apnb", channels=channels, key_channels=key, grids=(1, 2))
    positions = height * width
    pooling = (channels + key) * cells * width * (height + cells)
    of_anchors = 2 * channels * key * anchors
    per_position = channels * key + key * anchors + channels * anchors
    found = macs(optimize(plain), (1, channels, height, width))
    assert found == per_position * positions + pooling + of_anchors


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_every_operator_of_the_fast_blocks_is_counted(mode):
    with torch.device("meta"):
        block = build.block("afnb-bottleneck", channels=32, low_channels=16, key_channels=8)
    inputs = tuple(torch.zeros(1, c, 12, 9, device="meta") for c in (32, 16))
    rows = count(optimize(block, mode), inputs, mode="eval").ledger
    assert {row.name for row in rows if row.status == "uncounted"} == set()


@pytest.mark.parametrize("name", ["apnb-bottleneck", "nb", "dnl"])
def test_inference_form_can_be_exported(name):
    plain = made(name, dtype=torch.float32).eval()
    inputs = maps(plain)
    exported = torch.export.export(optimize(plain), tuple(inputs), strict=False).module()
    with torch.no_grad():
        assert error(exported(*inputs), plain(*inputs)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["apnb-bottleneck", "nb", "dnl"])
def test_training_form_compiles_into_one_graph(name):
    # The checks of shapes, which are on in this process, can't be compiled.
    command = [sys.executable, "-W", "error", "-c", COMPILED, name]
    subprocess.run(command, cwd=Path(__file__).parent, check=True)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_call_but_the_first_copies_from_the_host(sampler, mode):
    plain = made("afnb", sampler, dtype=torch.float32).to("meta").eval()
    fast, inputs = optimize(plain, mode), [x.to("meta") for x in maps(plain)]
    assert traffic(lambda: fast(*inputs)) == []


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("name", ["apnb-bottleneck", "nl"])
def test_under_autocast_the_error_is_that_of_the_plain_block(name, mode):
    plain = made(name, dtype=torch.float32).eval()
    inputs = maps(plain)
    fast = optimize(plain, mode)
    with torch.no_grad():
        expected = plain(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            found, lower = fast(*inputs), plain(*inputs)
    assert found.dtype == lower.dtype
    assert error(found.float(), expected) < 2 * error(lower.float(), expected)


def test_inference_form_has_no_training_mode():
    with pytest.raises(ValueError, match="use optimize"):
        optimize(made("apnb")).train()


def test_an_unknown_mode_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown mode 'eval'; allowed are inference, training"):
        optimize(made("apnb"), "eval")


def test_a_module_that_is_no_network_can_not_be_folded():
    with pytest.raises(ValueError, match="pass mode='training'"):
        optimize(torch.nn.Sequential(made("apnb")))


@pytest.mark.parametrize("name", ["apnb", "dnl"])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_training_form_can_be_rewritten_again(name, mode):
    plain = made(name).eval()
    fast = optimize(optimize(plain, "training"), mode)
    with torch.no_grad():
        assert error(fast(*maps(plain)), plain(*maps(plain))) < 1e-12


def test_blocks_inside_other_modules_are_found():
    plain = torch.nn.Sequential(made("apnb"), made("nl")).eval()
    fast = optimize(plain, "training")
    x = torch.randn(2, 20, 7, 6, dtype=torch.float64)
    assert type(fast[0]) is not type(plain[0])
    assert error(fast(x), plain(x)) < 1e-12
