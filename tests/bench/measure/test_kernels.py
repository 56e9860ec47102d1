"""Kernels for a few anchors on a real GPU: right in each number format, and the same each time."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ann import build
from ann.catalogue import BLOCKS
from ann.implementations import implement
from bench.workloads import number_formats as formats

# Norm of a difference from the fast form in float64 over its own.
TOLERANCES = {"float32": 1e-5, "tf32": 2e-3, "bfloat16": 1e-2, "float16": 2e-3}
# Of gradients. A ReLU near zero may fall on its other side, in any form: the fast one, in float32, was off by 8e-4 in
# one of four blocks, and is by up to 2e-2 in bfloat16 and 1e-2 in float16.
OF_GRADIENTS = {"float32": 5e-3, "tf32": 5e-2, "bfloat16": 1e-1, "float16": 5e-2}
# Gradients below this share of the largest one are zero but for rounding: biases ahead of a norm.
NEGLIGIBLE = 1e-2
# Which no grid divides; as wide as what is looked at, so that each kernel is compiled once for both.
SIDES, CHANNELS, KEY_CHANNELS = (47, 61), 512, 256
PYRAMID = (1, 3, 6, 8)


@torch.no_grad()
def make(name, *, channels, key_channels, grids):
    """A block with numbers everywhere, and none that drops."""
    torch.manual_seed(0)
    low = {"low_channels": channels // 2} if BLOCKS[name].is_fusion else {}
    widths = {"channels": channels, "key_channels": key_channels, "dropout": 0.0}
    block = build.block(replace(BLOCKS[name], grids=grids, **widths, **low))
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1)
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.8, 1.2)
    return block


def outcome(module, inputs):
    """Output, and gradients of weights and maps by their names."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = module(*inputs)
    torch.manual_seed(2)
    factors = torch.randn(out.shape, dtype=torch.double).to(out)
    wanted = dict(module.named_parameters()) | {f"map {n}": x for n, x in enumerate(inputs)}
    gradients = torch.autograd.grad(out, list(wanted.values()), factors)
    return {"output": out.detach(), **dict(zip(wanted, gradients, strict=True))}


@torch.no_grad()
def errors(found, exact):
    """Of an output or a gradient the norm of its difference, over its own."""
    norms = {name: float(tensor.norm()) for name, tensor in exact.items()}
    least = NEGLIGIBLE * max(norms.values())
    return {
        name: float((found[name].double() - tensor).norm()) / max(norms[name], least)
        for name, tensor in exact.items()
    }


def check(name, dtype, *, device, sides=SIDES, **widths):
    usual = {"channels": CHANNELS, "key_channels": KEY_CHANNELS, "grids": PYRAMID}
    block = make(name, **usual | widths)
    block = block.to(device=device, dtype=formats.weights_dtype(dtype))
    exact = copy.deepcopy(block).double()
    channels = filter(None, (block.spec.channels, block.spec.low_channels))
    like = next(block.parameters())
    inputs = [torch.randn(2, width, *sides).to(like) for width in channels]
    doubles = [x.double() for x in inputs]
    fast = implement(exact.eval(), "fast")(*doubles)
    result = implement(block.eval(), "triton")(*inputs)
    assert errors({"": result}, {"": fast})[""] < TOLERANCES[dtype]
    step = implement(block.train(), "triton", "training")
    first, again = outcome(step, inputs), outcome(step, inputs)
    assert [key for key in first if not torch.equal(first[key], again[key])] == []
    far = errors(first, outcome(implement(exact.train(), "fast", "training"), doubles))
    assert far["output"] < TOLERANCES[dtype]
    assert {key: error for key, error in far.items() if not error < OF_GRADIENTS[dtype]} == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", ["apnb", "apnb-bottleneck", "afnb", "afnb-bottleneck"])
def test_kernels_are_right_on_a_gpu_and_go_back_the_same_each_time(name, dtype):
    with formats.unswitched():
        formats.switch_format(dtype, "cuda")
        check(name, dtype, device="cuda")
