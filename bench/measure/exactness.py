"""How far a call's outputs and gradients are from the plain subject's in float64, with the same weights and inputs."""

import copy
import math
from dataclasses import replace

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
    copies: list[nn.Module] = []

    def prepare(module: nn.Module) -> None:
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):  # noqa: SLF001  # base of all kinds
                part.p = 0.0
        copies.append(copy.deepcopy(module))

    work = make_workload(cell, device, prepare=prepare)
    plain = copies[0].double().train(cell.mode == "train")
    if isinstance(work.module, TrainingStep):
        plain = TrainingStep(plain)
    inputs = tuple(x.double() if x.is_floating_point() else x for x in work.inputs)
    exact = replace(work, module=plain, inputs=inputs, dtype="float64")
    takes_gradients = work.mode == "train" and isinstance(cell.subject, BlockSpec)
    outputs, gradients = _results(work, gradients=takes_gradients)
    true_outputs, true_gradients = _results(exact, gradients=takes_gradients)
    errors = [
        _share((output.double() - true).abs().max(), true.abs().max())
        for output, true in zip(outputs, true_outputs, strict=True)
    ]
    norms = {name: true.norm() for name, true in true_gradients.items()}
    least = NEGLIGIBLE * max(norms.values(), default=torch.zeros(()))
    gradient_errors = [
        _share((gradients[name].double() - true).norm(), max(norms[name], least))
        if name in gradients
        else math.inf
        for name, true in true_gradients.items()
    ]
    return max(errors), max(gradient_errors, default=None)


def _share(difference: Tensor, whole: Tensor) -> float:
    share = float(difference / whole)
    return share if math.isfinite(share) else math.inf  # NaN would be lost among others


def _results(work: Workload, *, gradients: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Outputs of one call, and gradients by the name of the weight or input."""
    inputs = work.inputs
    if gradients:
        inputs = tuple(x.detach().requires_grad_() for x in inputs)
    with torch.set_grad_enabled(work.mode == "train"), work.numbers():
        outputs = tree_leaves(work.module(*inputs))
    leaves: dict[str, Tensor] = {}
    if gradients:
        torch.autograd.backward(outputs, list(map(_factors, outputs)))
        leaves = {f"input {at}": x for at, x in enumerate(inputs)}
        leaves |= dict(work.module.named_parameters())
    with_gradient = {name: x.grad for name, x in leaves.items() if x.grad is not None}
    return [leaf.detach() for leaf in outputs], with_gradient


def _factors(output: Tensor) -> Tensor:
    """Random numbers that all formats hold, the same for each format and device."""
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(-3, 4, output.shape, generator=drawn).to(output)
