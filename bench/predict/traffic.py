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
from bench.predict.formulas import Call, short_name

# The tensor that these pick from or put into is touched at those places alone.
PICKS = frozenset(("index", "index_select", "gather", "embedding", "masked_select"))
PUTS = frozenset(("index_put", "_index_put_impl", "index_add", "scatter_add", "index_copy"))


def moved_bytes(call: Call) -> int:
    """Bytes that a call reads and writes."""
    name = short_name(call.name)
    if name in elementwise.VIEWS or "empty" in name:
        return 0
    operands, results = _tensors(call.arguments.values()), _tensors((call.result,))
    target = call.arguments.get("self", call.arguments.get("weight"))
    others = [item for item in operands if item is not target]
    if name in PICKS:
        return sum(map(_bytes, others)) + 2 * sum(map(_bytes, results))
    in_place = any(item is target for item in results)
    if name in PUTS and in_place:
        # Read what is put, read and write where it goes.
        return sum(map(_bytes, others)) + 2 * max(map(_bytes, others), default=0)
    each = {id(item): item for item in (*operands, *results)}.values()
    is_read_too = in_place and name not in elementwise.MOVES
    return sum(map(_bytes, each)) + (_bytes(target) if is_read_too else 0)


def operand_format(call: Call) -> str:
    """Number format of the first operand that has one; float32 where none has."""
    operands = _tensors(call.arguments.values())
    formats = (str(item.dtype) for item in operands if item.is_floating_point())
    return next(formats, "float32").removeprefix("torch.")


def _tensors(values: Iterable[object]) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tuple(values)) if isinstance(leaf, Tensor)]


def _bytes(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        return tensor.numel() * tensor.element_size()
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return prod(size for size, stride in sides if stride or not size) * tensor.element_size()
