"""What a module holds beside code: weights, buffers and tensors in plain attributes, and how one takes another's."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from bench.workloads.outputs import tensor_leaves

_USUAL = frozenset(vars(nn.Module()))


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters, buffers, persistent or not, and tensors in plain attributes, by their names; shared ones by each.

    Tensors of special classes are left out.
    """
    return {
        f"{prefix}.{name}{path}".lstrip("."): leaf
        for prefix, part in module.named_modules()
        for name, value in _held(part)
        for path, leaf in tensor_leaves(value).items()
        if type(leaf.detach()) is Tensor
    }


def _held(part: nn.Module) -> Iterator[tuple[str, object]]:
    yield from part.named_parameters(recurse=False, remove_duplicate=False)
    yield from part.named_buffers(recurse=False, remove_duplicate=False)
    for name, value in vars(part).items():
        if name not in _USUAL and isinstance(value, Tensor | list | tuple | dict):
            yield name, value


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether both have the same form and values; NaN is NaN."""
    if (one.shape, one.dtype, one.layout) != (other.shape, other.dtype, other.layout):
        return False
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    if one.is_quantized:
        one, other = one.int_repr(), other.int_repr()
    equal = one.detach().cpu() == other.detach().cpu()
    if one.is_floating_point() or one.is_complex():
        equal |= one.detach().cpu().isnan() & other.detach().cpu().isnan()
    return bool(equal.all())


def take_state(
    module: nn.Module, state: Mapping[str, Tensor], *, rebuild: Callable[[], nn.Module]
) -> tuple[str, ...]:
    """Give a module what another one of its kind holds, wherever names and forms agree; name what it keeps of its own.

    What is trained is taken, and what is drawn. A tensor that is neither belongs to what the module computes and
    is kept: it is not trained, and has the same values in a module that `rebuild` makes from another seed.

    Raises:
        ValueError: a tensor can neither be copied into nor replaced; the message has its name and the reason.
    """
    held = state_of(module)
    different = {
        name: item
        for name, item in held.items()
        if name in state and _is_like(item, state[name]) and not is_same(item, state[name])
    }
    if all(map(_is_trained, different.values())):
        redrawn: Mapping[str, Tensor] = {}
    else:
        redrawn = state_of(rebuild())
    kept = []
    for name, item in different.items():
        if not _is_trained(item) and name in redrawn and is_same(item, redrawn[name]):
            kept.append(name)
        else:
            _put(module, name, item, state[name])
    return tuple(kept)


def _is_like(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype, one.layout) == (other.shape, other.dtype, other.layout)


def _is_trained(item: Tensor) -> bool:
    return isinstance(item, nn.Parameter) and item.requires_grad


def _put(module: nn.Module, name: str, item: Tensor, value: Tensor) -> None:
    try:
        with torch.no_grad():
            item.copy_(value)
    except RuntimeError as error:  # its elements share memory, or it was made in inference mode
        prefix, _, attribute = name.rpartition(".")
        owner = module.get_submodule(prefix) if attribute.isidentifier() else None
        if owner is None or not hasattr(owner, attribute):
            msg = f"{name!r} can't take the other side's values: {error}"
            raise ValueError(msg) from error
        fresh = value.to(item.device, copy=True)
        if isinstance(item, nn.Parameter):
            fresh = nn.Parameter(fresh, requires_grad=item.requires_grad)
        setattr(owner, attribute, fresh)
