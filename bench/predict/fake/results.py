"""Layouts of results, known from an earlier call that was alike.

Of meta tensors a kernel has but the description to go by, so that it returns the same for each call that has the
same. Many of these kernels are Python that takes a millisecond, and a network repeats its layers.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.predict.fake.autocast import META

# Beyond so many kinds of calls all are forgotten; those of the paper's experiments are 3461.
MOST = 20_000
_NUMBERS = (int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor that the call was given, by its number in the call's description."""

    place: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor's type and places, in a storage of its own or in that of a tensor that was given."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    base: int | None

    def made(self, base: Tensor | None) -> Tensor:
        """Make such a meta tensor, a view of its base or a new one."""
        if base is None:
            return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device=META)
        return base.as_strided(self.shape, self.strides, self.offset)


# A number is itself; several parts come in a tuple or a list.
Part = Given | Layout | int | float | None
Plan = Part | tuple[Any, ...] | list[Any]
_plans: dict[Hashable, tuple[Plan, torch.device]] = {}


def recall(key: Hashable) -> tuple[Plan, torch.device] | None:
    """What calls with this key return, and on which device; None if that is not known."""
    return _plans.get(key)


def remember(key: Hashable, result: object, given: Sequence[Tensor], device: torch.device) -> None:
    """Remember what a call returned that was given these meta tensors, if it can be made again."""
    places: dict[int, int | None] = {_storage(tensor): n for n, tensor in enumerate(given)}
    if len(places) < len(given):  # then nobody knows of which of them a view is
        return
    try:
        plan = _plan(result, given, places)
    except _UnplannedError:
        return
    if len(_plans) >= MOST:
        _plans.clear()
    _plans[key] = (plan, device)


class _UnplannedError(Exception):
    """A result that no plan describes."""


def _plan(result: Any, given: Sequence[Tensor], places: dict[int, int | None]) -> Plan:  # noqa: ANN401
    if isinstance(result, Tensor):
        return _plan_tensor(result, given, places)
    if type(result) in (tuple, list):
        return type(result)(_plan(part, given, places) for part in result)
    if type(result) in _NUMBERS:
        return result
    raise _UnplannedError


def _plan_tensor(
    tensor: Tensor, given: Sequence[Tensor], places: dict[int, int | None]
) -> Given | Layout:
    for place, other in enumerate(given):
        if tensor is other:
            return Given(place)
    if tensor.layout != torch.strided or tensor.is_conj() or tensor.is_neg():
        raise _UnplannedError
    is_new = _storage(tensor) not in places
    base = places.setdefault(_storage(tensor), None)
    layout = Layout(tensor.dtype, tensor.shape, tensor.stride(), int(tensor.storage_offset()), base)
    # A new one has all of a storage that no other part of the result shares.
    same = given[base] if base is not None else layout.made(None) if is_new else None
    if same is None or same.dtype != tensor.dtype:
        raise _UnplannedError
    if is_new and same.untyped_storage().nbytes() != tensor.untyped_storage().nbytes():
        raise _UnplannedError
    return layout


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # noqa: SLF001  # the storage itself
