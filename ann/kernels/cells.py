"""Which cells of a pyramid the positions of a tile lie in: tables that the kernels of both passes read.

Positions of a map are numbered row by row, and a tile is so many of them in a row. It meets few of the cells of all
grids, its slots; a sum over each of them is all that pooling needs of a tile.
"""

from functools import lru_cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ann.samplers import cell_bounds
from ann.sampling import constant

# The fewest columns that a product of two tiles takes.
LEAST_SLOTS = 16


class CellTables(NamedTuple):
    """Of tiles t with up to k slots, and of anchors s."""

    anchors: Int[Tensor, "t k"]  # the anchor of each slot of a tile; -1 for none
    bounds: Int[
        Tensor, "s 4"
    ]  # of each anchor's cell: first row and last + 1, first column and last + 1
    places: Int[
        Tensor, " e"
    ]  # of all anchors one after the other: tile * k + slot of each of its sums
    starts: Int[Tensor, " s+1"]  # where each anchor's places begin, and where the last one's end

    @property
    def slots(self) -> int:
        """Number of slots k of a tile."""
        return self.anchors.shape[1]


def cell_tables(
    grids: tuple[int, ...], *, height: int, width: int, tile: int, like: Tensor
) -> CellTables:
    """Tables for a map of that size and tiles of so many positions, on the device of a tensor; made once."""
    arguments = (grids, int(height), int(width), tile)
    return CellTables(
        *(constant(partial_of(name), *arguments, like=like) for name in CellTables._fields)
    )


@lru_cache
def partial_of(name: str) -> "partial[Tensor]":
    """What makes one of the tables; always the same object, as a key of what is kept."""
    return partial(_cell_table, name)


def _cell_table(name: str, *arguments: object, device: torch.device) -> Tensor:
    return torch.from_numpy(_cell_arrays(*arguments)[name]).to(device)


@lru_cache(maxsize=64)
def _cell_arrays(
    grids: tuple[int, ...], height: int, width: int, tile: int
) -> dict[str, Int[np.ndarray, "..."]]:
    bounds = np.concatenate([_bounds(grid, height, width) for grid in grids])
    meets = _meetings(bounds, height, width, tile)
    most = int(meets.sum(axis=1).max())
    slots = max(LEAST_SLOTS, 1 << (most - 1).bit_length())
    anchors = np.full((len(meets), slots), -1)
    places: list[list[int]] = [[] for _ in bounds]
    for number, met in enumerate(meets):
        for slot, anchor in enumerate(np.flatnonzero(met)):
            anchors[number, slot] = anchor
            places[anchor].append(number * slots + slot)
    starts = np.cumsum([0, *map(len, places)])
    tables = (anchors, bounds, np.concatenate(places), starts)
    return dict(zip(CellTables._fields, (table.astype(np.int32) for table in tables), strict=True))


def _bounds(grid: int, height: int, width: int) -> Int[np.ndarray, "s 4"]:
    cells = np.arange(grid)
    (top, bottom), (left, right) = (cell_bounds(cells, side, grid) for side in (height, width))
    rows, columns = np.repeat(cells, grid), np.tile(cells, grid)
    return np.stack([top[rows], bottom[rows], left[columns], right[columns]], axis=1)


def _meetings(
    bounds: Int[np.ndarray, "s 4"], height: int, width: int, tile: int
) -> Bool[np.ndarray, "t s"]:
    """Whether a position of the tile lies in the anchor's cell."""
    starts = range(0, height * width, tile)
    meets = np.zeros((len(starts), len(bounds)), dtype=bool)
    top, bottom, left, right = bounds.T
    for number, (start, stop) in enumerate(pairwise([*starts, height * width])):
        for row in range(start // width, (stop - 1) // width + 1):
            first, last = max(start - row * width, 0), min(stop - row * width, width)
            meets[number] |= (top <= row) & (row < bottom) & (left < last) & (first < right)
    return meets
