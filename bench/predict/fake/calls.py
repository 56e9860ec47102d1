"""Calls of an operator: the tensors in them, and which calls are alike."""

from collections.abc import Hashable, Iterable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.predict.fake.autocast import Overload

_NESTED = (list, tuple)
_CONTAINERS = (list, tuple, dict)
_PLAIN = frozenset(
    (int, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
)
# True, 1 and 1.0 are equal, and not the same to an operator.
_TOLD_APART = frozenset((bool, float, complex))


class Description(NamedTuple):
    """The tensors of a call, each once, and a key that is equal for calls that are alike."""

    key: Hashable | None  # None if something of the call has no description
    tensors: tuple[Tensor, ...]


@cache
def operator_name(func: Overload) -> str:
    """Name of an operator without its overload, as aten.add."""
    return str(func.overloadpacket)


def tensors(values: Iterable[object]) -> list[Tensor]:
    """Tensors among values, in the order in which they stand, containers looked through."""
    inside: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            inside.append(value)
        elif isinstance(value, _NESTED):
            inside += tensors(value)
        elif isinstance(value, dict):
            inside += tensors(value.values())
    return inside


def describe(func: Hashable, *values: object) -> Description:
    """Describe a call by what its cost and the layout of its result depend on.

    That is all but the values of tensors: numbers, types, shapes, strides, devices, which tensors are the
    same one, and the default type that numbers become. FakeTensorMode of torch takes calls for alike by
    much the same.
    """
    places: dict[int, int] = {}
    inside: list[Tensor] = []
    with torch._C.DisableTorchFunction():  # noqa: SLF001  # else asking for a shape is a call
        parts = _parts(values, places, inside)
        key = None if parts is None else (func, torch.get_default_dtype(), parts)
    return Description(key, tuple(inside))


def _parts(
    values: Iterable[Any], places: dict[int, int], inside: list[Tensor]
) -> tuple[Hashable, ...] | None:
    parts: list[Hashable] = []
    for value in values:
        kind = type(value)
        if isinstance(value, Tensor):
            if value.layout is not torch.strided:
                return None
            if id(value) not in places:
                places[id(value)] = len(inside)
                inside.append(value)
            layout = (value.shape, value.stride(), value.storage_offset())
            parts.append(
                (
                    places[id(value)],
                    value.dtype,
                    value.device,
                    *layout,
                    value.is_neg(),
                    value.is_conj(),
                )
            )
        elif kind in _PLAIN:
            parts.append(value)
        elif kind in _TOLD_APART:
            parts.append((kind, value))
        elif isinstance(value, _CONTAINERS):
            items = value.items() if isinstance(value, dict) else value
            nested = _parts(items, places, inside)
            if nested is None:
                return None
            parts.append(nested)
        else:
            return None
    return tuple(parts)
