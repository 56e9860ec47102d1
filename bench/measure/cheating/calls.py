"""Calls that are looked at: on the inputs, on others, on a part of them, and of a copy that was never called."""

import copy
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from bench import workloads
from bench.workloads import Workload, sum_outputs

# A quarter of each side is looked at where a whole call takes long.
PART, SMALLEST_SIDE = 4, 64


def run(work: Workload) -> tuple[object, frozenset[str]]:
    """Outputs of one call, as `Workload` makes it; in training also which weights got a gradient that is not zero."""
    if work.mode == "eval":
        with torch.no_grad(), work.numbers():
            return work.module(*work.inputs), frozenset()
    with work.numbers():
        outputs = work.module(*work.inputs)
    sum_outputs(outputs).backward()
    gradients = {name: x.grad for name, x in work.module.named_parameters() if x.grad is not None}
    reached = frozenset(name for name, x in gradients.items() if x.is_sparse or bool(x.any()))
    work.module.zero_grad(set_to_none=True)
    for x in work.inputs:
        x.grad = None
    return outputs, reached


@torch.no_grad()
def change(inputs: tuple[Tensor, ...]) -> None:
    """Multiply by 1, 2, -1 or -2, drawn for each place along each side: nothing that a sum or a square would hide."""
    generator = torch.Generator().manual_seed(1)
    for x in inputs:
        if not x.is_floating_point():
            continue
        for side, length in enumerate(x.shape):
            powers = torch.randint(0, 2, (2, length), generator=generator, device="cpu")
            factors = ((1 - 2 * powers[0]) * (1 + powers[1])).to(x.device, x.dtype)
            x.mul_(factors.reshape(-1, *(1,) * (x.dim() - side - 1)))


def part_of(work: Workload) -> Workload | None:
    """The same on a quarter of each side of its maps; None where they are small, or the module is made for a size."""
    sizes = {tuple(x.shape[-2:]) for x in work.inputs if x.dim() > 2}  # images, height, width
    if len(sizes) != 1 or any(x.dim() <= 2 for x in work.inputs) or _is_compiled(work.module):
        return None
    height, width = next(iter(sizes))
    if min(height, width) < SMALLEST_SIDE:
        return None
    parts = (x[..., : height // PART, : width // PART].clone() for x in work.inputs)
    return replace(work, inputs=tuple(parts))


def _is_compiled(module: nn.Module) -> bool:
    """Whether another size would be compiled anew, or is not taken."""
    fixed = ("torch._dynamo.eval_frame", f"{workloads.__name__}.onnx_runtime")
    return any(
        getattr(part, "_compiled_call_impl", None) is not None or type(part).__module__ in fixed
        for part in module.modules()
    )


def copied(module: nn.Module) -> nn.Module | None:
    """A copy that was never called and has the very parameters; None of what can't be copied."""
    with suppress(Exception):
        return copy.deepcopy(module, {id(x): x for x in module.parameters()})
    return None
