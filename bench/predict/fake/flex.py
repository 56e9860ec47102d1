"""What flex_attention computes by its mask: the pairs of a query and a key in the blocks that hold anything."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from bench.predict.fake.autocast import Arguments

NO_BLOCKS = 1 << 30  # the side of the only block of a mask that masks nothing
Blocks = tuple[Any, ...]  # torch's BlockMask.as_tuple


def masked_pairs(name: str, args: Arguments) -> int | None:
    """Pairs of a query and a key in all images and heads; None of another operator, and where there is no mask.

    A mask that is made inside the call has no values on fake tensors: its function is asked again, a row of blocks at
    a time. None too if that can't be.
    """
    blocks = next((each for each in args if isinstance(each, tuple) and len(each) > 10), None)
    if not name.startswith("flex_attention") or blocks is None or blocks[-2] >= NO_BLOCKS:
        return None
    query: Tensor = args[0]
    maps, side = query.shape[0] * query.shape[1], blocks[-3] * blocks[-2]
    counts = [each for each in (blocks[2], blocks[4]) if each is not None]
    with _disable_current_modes():
        held = sum(map(_total, counts)) if all(map(_has_values, counts)) else _count(blocks)
    masks = counts[0].shape[0] * counts[0].shape[1]
    return None if held is None else maps * held * side // masks


def _has_values(tensor: Tensor) -> bool:
    return type(tensor) in (Tensor, torch.nn.Parameter) and not tensor.is_meta


def _total(tensor: Tensor) -> int:
    return int(tensor.sum())


def _count(blocks: Blocks) -> int | None:
    """Blocks in which the mask's function lets any pair through."""
    queries, keys, shape, mask = blocks[0], blocks[1], blocks[2].shape, blocks[-1]
    rows, columns = blocks[-3:-1]
    places = [
        (image, head, first)
        for image in range(shape[0])
        for head in range(shape[1])
        for first in range(0, queries, rows)
    ]
    try:
        return sum(
            _blocks_in_row(mask, *place, sides=(queries, keys), block=(rows, columns))
            for place in places
        )
    except Exception:  # noqa: BLE001  # somebody's function, which may look into what is fake
        return None


def _blocks_in_row(
    mask: Callable[..., Tensor],
    image: int,
    head: int,
    first: int,
    *,
    sides: tuple[int, int],
    block: tuple[int, int],
) -> int:
    """Blocks of one row that hold anything."""
    queries = torch.arange(first, min(first + block[0], sides[0]))[:, None]
    keys = torch.arange(sides[1])[None]
    passes = mask(torch.tensor(image), torch.tensor(head), queries, keys)
    any_query = passes.expand(len(queries), sides[1]).any(dim=0)
    padded = torch.nn.functional.pad(any_query, (0, -sides[1] % block[1]))
    return int(padded.unflatten(0, (-1, block[1])).any(dim=1).sum())
