"""Sampling of anchors from a feature map: every position, random ones, a pooled grid, or a pyramid of grids.

The samplers themselves are the rows of `ann.samplers`. A pooled one treats each map by itself. A random one draws
places, and a block uses the same places for key and value, so that both describe one position.

Axes: n images, c channels, h height, w width, s anchors.
"""

from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from ann.samplers import SAMPLER_RULES
from ann.spec import BlockSpec

TakeAnchors = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n c s"]]
Places = Int64[np.ndarray, " s"]
HashableArguments = tuple[Hashable, ...]


def keep_all(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c s"]:
    """Keep every position."""
    return x.flatten(2)


def pool(
    x: Float[Tensor, "n c h w"], *, grids: Iterable[int], kind: Callable[..., Tensor]
) -> Float[Tensor, "n c s"]:
    """Pool the map to n x n cells for each grid n, flattened row by row and laid end to end (Eq. 8, Fig. 4)."""
    return torch.cat([kind(x, grid).flatten(2) for grid in grids], dim=2)


def gather(
    x: Float[Tensor, "n c h w"], *, draw: Callable[..., Places], grids: tuple[int, ...], seed: int
) -> Float[Tensor, "n c s"]:
    """Take the positions that `draw` gives for maps of that size, numbered row by row."""
    # A tracer hands sizes over as tensors.
    height, width = (int(length) for length in x.shape[2:])
    index = constant(_index, draw, *grids, height, width, seed, like=x)
    return x.flatten(2).index_select(2, index)


def _index(draw: Callable[..., Places], *numbers: int, device: torch.device) -> Int64[Tensor, " s"]:
    *grids, height, width, seed = numbers
    return torch.from_numpy(draw(grids, height=height, width=width, seed=seed)).to(device)


def constant(make: Callable[..., Tensor], *arguments: Hashable, like: Tensor) -> Tensor:
    """`make(*arguments, device=...)` on the device of a map, made by the first call and kept for later ones.

    A constant that each call copies from the host makes a GPU wait for it, and no CUDA graph of the call can be
    captured ("Cannot copy between CPU and CUDA tensors during CUDA graph capture unless the CPU tensor is pinned",
    torch 2.11 and 2.15): a capture takes what earlier calls have kept. Kept by the compiler too, as a constant of its
    graph, where one may have several (not in torch 2.11) and all numbers are known.

    What is made while something else looks on than a counter is not kept: an exporter or a tracer, whose tensors
    are not those of later calls, or the capture of a graph, in which nothing runs.
    """
    keep = getattr(like, "keep", None)
    if keep is not None:  # a tensor without values, which keeps others of its kind
        return keep(make, arguments)
    if torch.compiler.is_dynamo_compiling():
        if _GRAPHS_KEEP_CONSTANTS and _is_known(arguments):
            return _kept(make, arguments, like.device)
    elif _is_executed(like):
        try:
            return _memorised(make, arguments, like.device)
        except _CapturingError:
            pass
    return make(*arguments, device=like.device)


def _is_known(arguments: HashableArguments) -> bool:
    """Whether the compiler takes no number among them for one that changes from call to call."""
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return all(has_static_value(number) for number in arguments if isinstance(number, int))


def _is_executed(x: Tensor) -> bool:
    """Whether a call with that map is executed, by no transform, or captured to be."""
    return (
        type(x) in (Tensor, nn.Parameter)  # no fake one
        and not torch._C._is_tracing()  # noqa: SLF001  # torch.jit's, untyped
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)  # noqa: SLF001  # no public way
    )


class _CapturingError(Exception):
    """Nothing may be kept now, since nothing is executed."""


@lru_cache(maxsize=256)
def _memorised(
    make: Callable[..., Tensor], arguments: HashableArguments, device: torch.device
) -> Tensor:
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise _CapturingError
    # By no mode's rules, and fit for gradients: it outlives whatever is in force now.
    with _disable_current_modes(), torch.inference_mode(mode=False), torch.no_grad():
        return make(*arguments, device=device)


def _kept(
    make: Callable[..., Tensor], arguments: HashableArguments, device: torch.device
) -> Tensor:
    return _memorised(make, arguments, device)


# In torch 2.11 a second call in one graph ends as "source ConstantSource(...) already in seen_sources".
_GRAPHS_KEEP_CONSTANTS = torch.torch_version.TorchVersion(torch.__version__) >= "2.15"
# What torch.compiler.assume_constant_result does, less the import of the compiler, which takes seconds.
_kept._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


def make_sampler(spec: BlockSpec) -> TakeAnchors:
    """Return the function that takes anchors from maps.

    Random places follow from seed and size, so that key and value are taken from the same ones. A sampler whose rule
    has nothing that takes anchors is a ValueError.
    """
    rule = SAMPLER_RULES[spec.sampler]
    if rule.draw is not None:
        return partial(gather, draw=rule.draw, grids=spec.grids, seed=spec.seed)
    if rule.pool is not None:
        return partial(pool, grids=spec.grids, kind=rule.pool)
    if spec.keeps_all:
        return keep_all
    msg = (
        f"sampler {spec.sampler!r} takes no anchors; give its rule in ann.samplers `pool` or `draw`"
    )
    raise ValueError(msg)
