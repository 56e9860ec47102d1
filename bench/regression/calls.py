"""Calls of a cell as the gate looks at them: what two calls give and leave behind, and in training the gradients.

Both revisions have the same weights, inputs and random numbers, so that all that is kept of them has to agree.
"""

import gc
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.compare import OUTPUTS, STRUCTURE, Plain, compare_tensors, plain, plain_outputs
from bench.records import CallsAgreement, Checksum
from bench.regression.exact import AGAIN, GRADIENTS, LEFT, OTHER, TRAINING
from bench.workloads import (
    TrainingStep,
    Workload,
    is_same,
    random_factors,
    seed_all,
    state_of,
    tensor_leaves,
)

KEPT, UNLIKE = "kept", "unlike"
# What is said of a side that has no entry.
ABSENT = {AGAIN: "what the first call gave", LEFT: "as it was before"}
# Gradients below this share of the largest of all may be zero but for rounding, as of a bias before a norm.
NEGLIGIBLE = 1e-2
Kept = dict[str, Any]
Inputs = tuple[Tensor, ...]


def save_calls(
    work: Workload,
    path: Path,
    *,
    seed: int,
    tolerance: float,
    kept: Sequence[str] = (),
    unlike: Sequence[str] = (),
) -> tuple[Checksum, ...]:
    """Call the module, and keep all that it gives in a file; return the checksums of its outputs.

    In evaluation it is called with its inputs, with others, and with its own again. What the last call gives is kept
    where it is something else than at first, by more than the tolerance; so is what calls have changed of weights,
    buffers, inputs and earlier outputs. In training there is a step more, of which outputs, gradients of weights and
    inputs, and changes are kept. `kept` names constants that the module has of its own, `unlike` what of the other
    side it has no place for.
    """
    module, inputs = _bare_module(work)
    saved = _eval_calls(work, module.eval(), inputs, seed=seed, tolerance=tolerance)
    if work.mode == "train":
        saved |= _training_calls(work, module.train(), inputs, seed=seed, left=saved[LEFT])
    torch.save({**saved, KEPT: list(kept), UNLIKE: list(unlike)}, path)
    sums = tuple(checksum(name, leaf) for name, leaf in saved[OUTPUTS].items())
    del saved
    gc.collect()
    return sums


def compare_calls(base: Path, head: Path) -> CallsAgreement:
    """Compare what both sides have kept."""
    left, right = (torch.load(path, mmap=True, weights_only=True) for path in (base, head))
    return CallsAgreement(
        groups={
            group: compare_tensors(
                left.get(group, {}),
                right.get(group, {}),
                sides=("base", "head"),
                absent=ABSENT.get(group, "nothing"),
                negligible=NEGLIGIBLE if group == GRADIENTS else 0.0,
            )
            for group in (OUTPUTS, OTHER, AGAIN, TRAINING, GRADIENTS, LEFT)
        },
        structures=(left[STRUCTURE], right[STRUCTURE]),
        kept=tuple(right[KEPT]),
        unlike=tuple(right[UNLIKE]),
    )


def _bare_module(work: Workload) -> tuple[nn.Module, Inputs]:
    """The module without its loss, and the inputs without labels."""
    if isinstance(work.module, TrainingStep):
        return work.module.network, work.inputs[:1]
    return work.module, work.inputs


def _eval_calls(
    work: Workload, module: nn.Module, inputs: Inputs, *, seed: int, tolerance: float
) -> Kept:
    before = _copy(state_of(module))
    given = [_fresh(inputs), _fresh(map(_another, inputs)), _fresh(inputs)]
    returned = []

    def call(at: int) -> Kept:
        seed_all(seed)
        with torch.no_grad(), work.numbers():
            outputs = module(*given[at])
        returned.append(outputs)
        return plain_outputs(outputs)

    saved = call(0)
    left = _changed_tensors(_by_number(inputs), _by_number(given[0]))
    left |= _changed_tensors(before, state_of(module))
    other = call(1)[OUTPUTS]
    # A result has to stay what it was when the module is called again.
    later = plain_outputs(returned[0])[OUTPUTS]
    left |= {
        f"output {name} of an earlier call".replace("  ", " "): later[name]
        for name in _different(saved[OUTPUTS], later, tolerance=0.0)
    }
    returned.clear()
    again = call(2)[OUTPUTS]
    different = _different(saved[OUTPUTS], again, tolerance=tolerance)
    saved[AGAIN] = {name: again.get(name, ("nothing", [])) for name in different}
    return {**saved, OTHER: other, LEFT: left}


def _different(
    one: Mapping[str, Plain], other: Mapping[str, Plain], *, tolerance: float
) -> list[str]:
    return [
        item.name
        for item in compare_tensors(one, other)
        if item.max_relative_error is None or item.max_relative_error > tolerance
    ]


def _fresh(inputs: Iterable[Tensor]) -> Inputs:
    return tuple(item.detach().clone() for item in inputs)


def _another(item: Tensor) -> Tensor:
    """Other values of the same kind."""
    moved = item.detach().roll(1, -1) if item.dim() else item.detach()
    return moved.neg() if item.is_floating_point() or item.is_complex() else moved


def _training_calls(
    work: Workload, module: nn.Module, inputs: Inputs, *, seed: int, left: Mapping[str, Plain]
) -> Kept:
    takes_gradient = (item.is_floating_point() or item.is_complex() for item in inputs)
    given = tuple(
        item.detach().clone().requires_grad_(wanted)
        for item, wanted in zip(inputs, takes_gradient, strict=True)
    )
    # A leaf that requires a gradient can't be changed in place, as maps in a network can.
    maps = tuple(item.clone() for item in given)
    before = _copy(state_of(module))
    seed_all(seed)
    with work.numbers():
        outputs = module(*maps)
    kept = {TRAINING: plain_outputs(outputs)[OUTPUTS]}
    ends = [leaf for leaf in tensor_leaves(outputs).values() if _goes_back(leaf)]
    if ends:  # behind a norm the plain sum has no gradient
        torch.autograd.backward(ends, list(map(random_factors, ends)))
    del outputs, ends
    gradients = {
        name: item.grad
        for name, item in (*_by_number(given).items(), *module.named_parameters())
        if item.grad is not None
    }
    kept[GRADIENTS] = {name: plain(gradient) for name, gradient in gradients.items()}
    module.zero_grad(set_to_none=True)
    changed = _changed_tensors(before, state_of(module))
    return {
        **kept,
        LEFT: {**left, **{f"{name} in training": item for name, item in changed.items()}},
    }


def _goes_back(leaf: Tensor) -> bool:
    return leaf.requires_grad and leaf.layout == torch.strided and not leaf.is_nested


def _by_number(inputs: Inputs) -> dict[str, Tensor]:
    return {f"input {at}": item for at, item in enumerate(inputs)}


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: item.detach().clone() for name, item in state.items()}


def _changed_tensors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Plain]:
    """What is there or another one by now."""
    return {
        name: plain(item)
        for name, item in after.items()
        if name not in before or not is_same(before[name], item)
    }


def checksum(name: str, leaf: Plain) -> Checksum:
    """Sum an output up in three numbers, of its values that are finite."""
    form, parts = leaf
    values = torch.cat([part.flatten().double() for part in parts] or [torch.zeros(0).double()])
    finite = values.isfinite()
    count = max(1, int(finite.sum()))
    values = values.where(finite, 0.0)
    # Signs from the golden ratio's multiples: equally many of both, and no period.
    places = torch.arange(values.numel(), dtype=torch.float64)
    signs = torch.where((places * 0.6180339887498949).frac() < 0.5, 1.0, -1.0)
    return Checksum(
        name=name,
        form=form,
        shape=tuple(parts[0].shape) if parts else (),
        mean=float(values.sum() / count),
        spread=float((values.square().sum() / count).sqrt()),
        mix=float((values * signs).sum() / count),
        largest=float(values.abs().max()) if values.numel() else 0.0,
        not_finite=int((~finite).sum()),
    )
