"""What one dispatched operator reads from memory and writes to it, had it no cache.

Each tensor counts once, and twice what is changed in place. Views and tensors that are only made
room for cost nothing; what picks places counts what it picks, and an expanded tensor counts what
lies under it.
"""

from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from bench.predict import elementwise
from bench.predict.formulas import Call, plain_name

# The tensor that these pick from or put into is touched at those places alone.
PICKS = frozenset(("index", "index_select", "gather", "embedding", "masked_select"))
PUTS = frozenset(("index_put", "_index_put_impl", "index_add", "scatter_add", "index_copy"))


def moved_bytes(call: Call) -> int:
    """Bytes that a call reads and writes."""
    name = plain_name(call.name).removeprefix("aten.")
    if name in elementwise.VIEWS or "empty" in name:
        return 0
    given = _tensors(call.arguments.values())
    made = _tensors((call.result,))
    target = call.arguments.get("self", call.arguments.get("weight"))
    if name in PICKS:
        return _sum(item for item in given if item is not target) + 2 * _sum(made)
    in_place = any(item is target for item in made)
    if name in PUTS and in_place:
        # Read what is put, read and write where it goes.
        placed = [item for item in given if item is not target]
        return _sum(placed) + 2 * max(map(_bytes, placed), default=0)
    return _sum({id(item): item for item in (*given, *made)}.values()) + (
        _bytes(target) if in_place and name not in elementwise.MOVES else 0
    )


def operands(call: Call) -> str:
    """Number format of the first operand that has one; float32 where none has."""
    for item in _tensors(call.arguments.values()):
        if item.is_floating_point():
            return str(item.dtype).removeprefix("torch.")
    return "float32"


def _tensors(values: Iterable[object]) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tuple(values)) if isinstance(leaf, Tensor)]


def _sum(tensors: Iterable[Tensor]) -> int:
    return sum(map(_bytes, tensors))


def _bytes(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        return tensor.numel() * tensor.element_size()
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return prod(size for size, stride in sides if stride or not size) * tensor.element_size()
