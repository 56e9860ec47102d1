"""Optimiser, learning rate and precision of a recipe, in torch's terms."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from bench.workloads import computes_in
from experiments.recipes import Recipe


def make_optimiser(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Make a recipe's optimiser; all parameters share its rate and its weight decay, as in both sources."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    # One kernel for a parameter's whole step, on a processor too, where the default are six.
    if recipe.optimiser == "adamw":
        return AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    return SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay, fused=True)


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """Rate of an iteration, counted from 0: from the recipe's rate down to its floor by a power.

    The released code has it in this form, without a floor; the recursion of mmseg's PolyLR comes to the same.
    """
    left = (1 - iteration / iterations) ** recipe.power
    return (recipe.learning_rate - recipe.floor) * left + recipe.floor


def uses_bfloat16(recipe: Recipe, device: torch.device) -> bool:
    """Whether a device computes in bfloat16: it has it in hardware, and is a GPU, or with `native` a processor."""
    if recipe.precision == "native" and device.type == "cpu":
        return computes_in(torch.bfloat16)
    if recipe.precision in ("auto", "native"):
        return device.type == "cuda" and torch.cuda.is_bf16_supported(False)  # noqa: FBT003
    return recipe.precision == "bfloat16"


def precision_of(recipe: Recipe, device: torch.device) -> str:
    """Name the number format that a training computes in; weights are float32 in either."""
    return "bfloat16" if uses_bfloat16(recipe, device) else "float32"


@contextmanager
def cudnn_benchmark(device: torch.device) -> Iterator[None]:
    """Let cuDNN try its kernels, which pays where all inputs have one size; put the switch back after."""
    before = torch.backends.cudnn.benchmark
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
