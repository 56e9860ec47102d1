"""A rewritten module against the given one, on small random maps: what is not equal is not returned.

Both are called as copies, so that no statistic moves, and by random numbers of their own.

Axes: n images, c channels, h height, w width.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, distributed, nn
from torch.utils._python_dispatch import _disable_current_modes

from ann.blocks import AS_IT_IS
from ann.layers import draw_zeros
from ann.spec import BlockSpec

# Images of the first side are enough for all our networks; a backbone of somebody's may want more.
IMAGE_SIDES = (33, 224)
MAP_SIZE = (5, 4)

Rewrite = Callable[[nn.Module], nn.Module]
# Groups of tensors: results, gradients, statistics.
Outcome = Sequence[Sequence[Tensor]]
Call = Callable[[nn.Module], Outcome]


class GivenFailsError(Exception):
    """The given module can't be called with small random maps."""


def can_be_called(module: nn.Module) -> bool:
    """Whether a module has values to compute with: there is a tensor in it, and none is a meta or a fake one."""
    tensors = [*module.parameters(), *module.buffers()]
    real = all(type(x) in (Tensor, nn.Parameter) and not x.is_meta for x in tensors)
    return bool(tensors) and real


def check_network(network: nn.Module, fast: nn.Module, rewrite: Rewrite) -> None:
    """Compare the logits of a small image in evaluation.

    Raises:
        GivenFailsError: the given network takes none.
        ValueError: they differ.
    """
    for side in IMAGE_SIDES:
        call = partial(_eval_outcome, shapes=[(1, 3, side, side)])
        try:
            _compare_calls(network, fast, rewrite, call=call)
        except GivenFailsError:
            if side == IMAGE_SIDES[-1]:
                raise
        else:
            return


def check_block(block: nn.Module, fast: nn.Module, rewrite: Rewrite, *, trains: bool) -> None:
    """Compare results in evaluation; where it `trains`, those of a step as well, with gradients and statistics.

    A block begins with weights at zero, which hide all others, and its training form follows what they become: there
    others are drawn first. Norms that would wait for other processes are compared in evaluation alone.

    Raises:
        GivenFailsError: the given block can't be called on maps of its spec.
        ValueError: they differ.
    """
    spec = block.spec
    assert isinstance(spec, BlockSpec), "a block has one"
    widths = [width for width in (spec.channels, spec.low_channels) if width]
    shapes = [(2 if trains else 1, width, *MAP_SIZE) for width in widths]
    if trains:
        block, fast = copy.deepcopy((block, fast))  # together: they share their tensors
        with _undisturbed(block):
            torch.manual_seed(1)
            draw_zeros(block)
        if not _waits_for_others(block):
            _compare_calls(block, fast, rewrite, call=partial(_training_outcome, shapes=shapes))
    _compare_calls(block, fast, rewrite, call=partial(_eval_outcome, shapes=shapes))


def _compare_calls(given: nn.Module, fast: nn.Module, rewrite: Rewrite, *, call: Call) -> None:
    name, dtype = type(given).__name__, next(given.parameters()).dtype
    with _undisturbed(given):
        apart = _outcome_distance(given, fast, call)
        allowed = _rounding(dtype)
        if math.isfinite(apart) and apart > allowed and dtype != torch.float64:
            # Rounding may be large, of sharp attention in a short format: decided where there is little.
            allowed = _rounding(torch.float64)
            exact = copy.deepcopy(given).double()
            apart = _outcome_distance(exact, rewrite(exact), call)
    if apart > allowed:
        difference = f"off by {apart:.1e} of the result, where {allowed:.0e} is rounding"
        msg = f"the rewritten {name} is not equal to the given one ({difference}); {AS_IT_IS}"
        raise ValueError(msg)


def _rounding(dtype: torch.dtype) -> float:
    """Relative error of a whole tensor up to which two ways to compute it are equal: 7e-5 in float32."""
    return float(torch.finfo(dtype).eps ** 0.6)


def _outcome_distance(given: nn.Module, fast: nn.Module, call: Call) -> float:
    try:
        expected = call(_with_own_buffers(given))
    except Exception as error:
        raise GivenFailsError from error
    try:
        outcome = call(_with_own_buffers(fast))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        msg = f"the rewritten {type(given).__name__} fails where the given one runs ({reason})"
        raise ValueError(msg) from error
    return max(_largest_error(*pair) for pair in zip(outcome, expected, strict=True))


def _largest_error(outcome: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest relative error of a tensor; one that is zero but for rounding is held against the largest one.

    What is not finite in the expected one is not compared.
    """
    pairs = list(zip(outcome, expected, strict=True))
    if any((mine.shape, mine.dtype) != (theirs.shape, theirs.dtype) for mine, theirs in pairs):
        return math.inf
    norms = [_float_norm(theirs) for _, theirs in pairs]
    if not all(map(math.isfinite, norms)):
        pairs = [(mine[x.isfinite()], x[x.isfinite()]) for mine, x in pairs]
        norms = [_float_norm(theirs) for _, theirs in pairs]
    largest = max(norms, default=0.0)
    scales = [norm if norm > 1e-4 * largest else largest for norm in norms]
    errors = [_float_norm(mine - theirs) for mine, theirs in pairs]
    shares = [
        error / scale if scale else error for error, scale in zip(errors, scales, strict=True)
    ]
    return max((share if math.isfinite(share) else math.inf for share in shares), default=0.0)


def _float_norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


@torch.no_grad()
def _eval_outcome(module: nn.Module, shapes: Iterable[tuple[int, ...]]) -> Outcome:
    if module.training:
        module.eval()
    torch.manual_seed(0)  # of what draws in evaluation as well
    return [[module(*_drawn_maps(shapes, module))]]


@torch.enable_grad()
def _training_outcome(module: nn.Module, shapes: Iterable[tuple[int, ...]]) -> Outcome:
    module.train()
    torch.manual_seed(0)  # of dropout
    leaves = [x.requires_grad_() for x in _drawn_maps(shapes, module)]
    result = module(*leaves)
    leaves += [x for x in module.parameters() if x.requires_grad]
    (output,) = _drawn_maps([tuple(result.shape)], module)
    gradients = torch.autograd.grad(result, leaves, output, allow_unused=True)
    pairs = zip(gradients, leaves, strict=True)
    filled = [torch.zeros_like(x) if gradient is None else gradient for gradient, x in pairs]
    return [[result.detach()], filled, [x for x in module.buffers() if x.is_floating_point()]]


def _with_own_buffers(module: nn.Module) -> nn.Module:
    """Copy a module, but for its parameters."""
    return copy.deepcopy(module, {id(x): x for x in module.parameters()})


def _drawn_maps(shapes: Iterable[tuple[int, ...]], module: nn.Module) -> list[Tensor]:
    """Maps for a module, always the same."""
    weight = next(module.parameters())
    generator = torch.Generator().manual_seed(0)
    maps = (torch.randn(shape, generator=generator, device="cpu") for shape in shapes)
    return [x.to(weight.device, weight.dtype) for x in maps]


def _waits_for_others(module: nn.Module) -> bool:
    others = distributed.is_available() and distributed.is_initialized()
    return others and any(isinstance(part, nn.SyncBatchNorm) for part in module.modules())


@contextmanager
def _undisturbed(module: nn.Module) -> Iterator[None]:
    """Neither be changed by what is in force around it, nor change torch's random numbers."""
    device = next(module.parameters()).device
    indexes = [device.index] if device.type == "cuda" else []
    with (
        _disable_current_modes(),
        torch.inference_mode(mode=False),
        torch.random.fork_rng(devices=indexes),
        torch.autocast(device.type, enabled=False),
    ):
        yield
