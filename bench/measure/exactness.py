"""How far a call's outputs and gradients are from the plain subject's in float64, with the same weights and inputs."""

import copy
import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ann.spec import BlockSpec
from bench.workloads import TrainingStep, Workload, make_workload
from experiments.spec import Cell

# Gradients below this share of the largest one's norm are zero but for rounding.
NEGLIGIBLE = 1e-2


def float64_errors(cell: Cell, device: str) -> tuple[float, float | None]:
    """How far a call's outputs, and in training its gradients, are from the plain subject's in float64.

    Both have the weights and inputs as the cell's format holds them, and no dropout. Gradients are
    those of weights and inputs, of the outputs' sum with fixed random factors: behind a batch norm
    the plain sum has none. Of networks, whose gradients are many, the outputs alone are compared.

    Returns:
        The largest difference of an output relative to its largest value; the largest norm of a
        gradient's difference relative to its own, or to a hundredth of the largest one's, since
        some gradients are zero but for rounding. Infinite where one is missing or not finite.
    """
    kept: list[nn.Module] = []

    def prepare(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):  # noqa: SLF001  # base of all kinds
                part.p = 0.0
        kept.append(copy.deepcopy(module))

    work = make_workload(cell, device, prepare=prepare)
    plain = kept[0].double().train(cell.mode == "train")
    if isinstance(work.module, TrainingStep):
        plain = TrainingStep(plain)
    inputs = tuple(x.double() if x.is_floating_point() else x for x in work.inputs)
    exact = replace(work, module=plain, inputs=inputs, dtype="float64")
    is_block = isinstance(cell.subject, BlockSpec)
    found, expected = (_results(one, gradients=is_block) for one in (work, exact))
    outputs = [
        _share((one.double() - true).abs().max(), true.abs().max())
        for one, true in zip(found.outputs, expected.outputs, strict=True)
    ]
    norms = {name: one.norm() for name, one in expected.gradients.items()}
    least = NEGLIGIBLE * max(norms.values(), default=torch.zeros(()))
    gradients = [
        _share((found.gradients[name].double() - true).norm(), max(norms[name], least))
        if name in found.gradients
        else math.inf
        for name, true in expected.gradients.items()
    ]
    return max(outputs), max(gradients, default=None)


def _share(difference: Tensor, whole: Tensor) -> float:
    share = float(difference / whole)
    return share if math.isfinite(share) else math.inf  # NaN would be lost among others


class _Results(NamedTuple):
    outputs: list[Tensor]
    gradients: dict[str, Tensor]


def _results(work: Workload, *, gradients: bool) -> _Results:
    """What one call gives."""
    trains = work.mode == "train"
    inputs = work.inputs
    if trains and gradients:
        inputs = tuple(x.detach().requires_grad_() for x in inputs)
    with torch.set_grad_enabled(trains), work.numbers():
        outputs = tree_leaves(work.module(*inputs))
    found: dict[str, Tensor] = {}
    if trains and gradients:
        torch.autograd.backward(outputs, [_factors(one) for one in outputs])
        named = [
            *work.module.named_parameters(),
            *((f"input {i}", x) for i, x in enumerate(inputs)),
        ]
        found = {name: one.grad for name, one in named if one.grad is not None}
    return _Results([leaf.detach() for leaf in outputs], found)


def _factors(output: Tensor) -> Tensor:
    """Random numbers that all formats hold, the same for each format and device."""
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(-3, 4, output.shape, generator=drawn).to(output)
