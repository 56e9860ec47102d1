"""How far a call's outputs and gradients are from the plain subject's in float64, with the same weights and inputs."""

import copy
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ann.spec import BlockSpec
from bench import workload
from bench.workload import Workload, total
from experiments.spec import Cell

# Gradients below this share of the largest one's norm are zero but for rounding.
NEGLIGIBLE = 1e-3


def errors(cell: Cell, device: str) -> tuple[float, float | None]:
    """How far a call's outputs, and in training its gradients, are from the plain subject's in float64.

    Both have the weights and inputs as the cell's format holds them, and no dropout. Of networks,
    whose gradients are many, the outputs alone are compared.

    Returns:
        The largest difference of an output relative to its largest value; the largest norm of a
        gradient's difference relative to its own, or to a thousandth of the largest one's, since
        some gradients are zero but for rounding.
    """
    kept: list[nn.Module] = []

    def prepare(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):  # noqa: SLF001  # base of all kinds
                part.p = 0.0
        kept.append(copy.deepcopy(module))

    work = workload.make(cell, device, prepare=prepare)
    plain = kept[0].double().train(cell.mode == "train")
    if isinstance(work.module, workload.TrainingStep):
        plain = workload.TrainingStep(plain)
    inputs = tuple(x.double() if x.is_floating_point() else x for x in work.inputs)
    exact = replace(work, module=plain, inputs=inputs, dtype="float64")
    is_block = isinstance(cell.subject, BlockSpec)
    found, expected = (_results(one, gradients=is_block) for one in (work, exact))
    outputs = max(
        float((one.double() - true).abs().max() / true.abs().max())
        for one, true in zip(found.outputs, expected.outputs, strict=True)
    )
    norms = {name: float(one.norm()) for name, one in expected.gradients.items()}
    least = NEGLIGIBLE * max(norms.values(), default=0.0)
    gradients = [
        float((found.gradients[name].double() - true).norm()) / max(norms[name], least)
        for name, true in expected.gradients.items()
    ]
    return outputs, max(gradients, default=None)


class _Results(NamedTuple):
    outputs: list[Tensor]
    gradients: dict[str, Tensor]


def _results(work: Workload, *, gradients: bool) -> _Results:
    """What one call gives."""
    trains = work.mode == "train"
    with torch.set_grad_enabled(trains), work.numbers():
        outputs = work.module(*work.inputs)
    found: dict[str, Tensor] = {}
    if trains and gradients:
        total(outputs).backward()
        named = work.module.named_parameters()
        found = {name: one.grad for name, one in named if one.grad is not None}
    return _Results([leaf.detach() for leaf in tree_leaves(outputs)], found)
