"""How far a call's outputs and gradients are from the plain subject's in float64, with the same weights and inputs."""

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from ann.spec import BlockSpec
from bench.workloads import TrainingStep, Workload, make_workload, random_factors, tensor_leaves
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
    plain = _double(copies[0]).train(cell.mode == "train")
    if isinstance(work.module, TrainingStep):
        plain = TrainingStep(plain)
    inputs = tuple(x.double() if x.is_floating_point() else x for x in work.inputs)
    exact = replace(work, module=plain, inputs=inputs, dtype="float64")
    takes_gradients = work.mode == "train" and isinstance(cell.subject, BlockSpec)
    outputs, gradients = _results(work, gradients=takes_gradients)
    true_outputs, true_gradients = _results(exact, gradients=takes_gradients)
    errors = [
        _error(outputs[path], true) if path in outputs else math.inf
        for path, true in true_outputs.items()
    ]
    norms = {name: true.norm() for name, true in true_gradients.items()}
    least = NEGLIGIBLE * max(norms.values(), default=torch.zeros(()))
    gradient_errors = [
        _share((gradients[name].double() - true).norm(), max(norms[name], least))
        if name in gradients
        else math.inf
        for name, true in true_gradients.items()
    ]
    if outputs.keys() != true_outputs.keys() or not errors:
        errors.append(math.inf)
    return max(errors), max(gradient_errors, default=None)


def _double(module: nn.Module) -> nn.Module:
    for item in (*module.parameters(), *module.buffers()):
        if item.is_complex():  # which `double` leaves as they are
            item.data = item.data.to(torch.complex128)
    return module.double()


def _error(output: Tensor, true: Tensor) -> float:
    """Largest difference relative to the largest value; of whole numbers, such as places, the share of others."""
    if output.shape != true.shape or output.is_complex() != true.is_complex():
        return math.inf
    if not (true.is_floating_point() or true.is_complex()):
        return float((output != true).double().mean())
    return _share((output.to(true.dtype) - true).abs().max(), true.abs().max())


def _share(difference: Tensor, whole: Tensor) -> float:
    share = float(difference / whole)
    return share if math.isfinite(share) else math.inf  # NaN would be lost among others


def _results(work: Workload, *, gradients: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs of one call by their paths, and gradients by the name of the weight or input."""
    inputs = work.inputs
    if gradients:
        inputs = tuple(x.detach().requires_grad_() for x in inputs)
    with torch.set_grad_enabled(work.mode == "train"), work.numbers():
        outputs = tensor_leaves(work.module(*inputs))
    leaves: dict[str, Tensor] = {}
    if gradients:
        ends = [leaf for leaf in outputs.values() if leaf.requires_grad]
        torch.autograd.backward(ends, list(map(random_factors, ends)))
        leaves = {f"input {at}": x for at, x in enumerate(inputs)}
        leaves |= dict(work.module.named_parameters())
    with_gradient = {name: x.grad for name, x in leaves.items() if x.grad is not None}
    return {path: leaf.detach() for path, leaf in outputs.items()}, with_gradient
