"""Optimiser, learning rate, seeds and precision of a recipe, in torch's terms."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from experiments.recipes import Recipe


def make_optimiser(network: nn.Module, recipe: Recipe) -> Optimizer:
    """Make a recipe's optimiser; all parameters share its rate and its weight decay, as in both sources."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adamw":
        return AdamW(parameters, lr=rate, weight_decay=decay)
    return SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay)


def learning_rate(recipe: Recipe, iteration: int, iterations: int) -> float:
    """Rate of an iteration, counted from 0: from the recipe's rate down to its floor by a power.

    The released code has it in this form, without a floor; the recursion of mmseg's PolyLR comes to
    the same.
    """
    left = (1 - iteration / iterations) ** recipe.power
    return (recipe.learning_rate - recipe.floor) * left + recipe.floor


def gradient_norm(network: nn.Module) -> float:
    """Length of all gradients taken together."""
    gradients = [item.grad for item in network.parameters() if item.grad is not None]
    return float(nn.utils.get_total_norm(gradients))


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the global generators that a network on the device may draw from."""
    # torch.manual_seed would note where it was called for GPUs that are asleep: 0.3 ms a step.
    (torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed)(seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePrecision:
    """In what a device computes, and how images lie in its memory."""

    device: str
    bfloat16: bool
    memory_format: torch.memory_format

    def autocast(self) -> AbstractContextManager[object]:
        """Enter bfloat16 where it is used."""
        if self.bfloat16:
            return torch.autocast(self.device, dtype=torch.bfloat16)
        return nullcontext()


def choose_precision(recipe: Recipe, device: torch.device) -> DevicePrecision:
    """Choose for a device: GPUs have channels last, and with `auto` bfloat16 if it is in their hardware."""
    gpu = device.type == "cuda"
    wanted = recipe.precision == "bfloat16"
    native = recipe.precision == "auto" and gpu and torch.cuda.is_bf16_supported(False)  # noqa: FBT003
    return DevicePrecision(
        device=device.type,
        bfloat16=wanted or native,
        memory_format=torch.channels_last if gpu else torch.contiguous_format,
    )


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
