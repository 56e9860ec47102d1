"""Sizes of tiles by number format: the fastest of those tried on an H200.

`ann.kernels.resources` compiles them and says what each takes. One spills, in TF32 on Hopper, and is the fastest there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

ProductFormat = Literal["half", "tf32", "ieee"]

LEAST_SIDE = 16  # of the operands of a product
MOST_ANCHORS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiles:
    """How much a program of a kernel has at once, and how it is compiled."""

    tile: int  # positions
    channels: int  # of the map, at a time
    out_channels: int  # at a time
    warps: int
    stages: int
    rows_first: bool = False  # whether positions are the rows of the projection's product
    # Of `out_channels` that a program of the second pass makes, one after the other.
    parts: int = 16


TileTable = Mapping[ProductFormat, Mapping[int, Tiles]]
# By the number of a program's slots, which is 16 on large maps alone.
PROJECT: TileTable = {
    "half": {
        16: Tiles(tile=128, channels=64, out_channels=256, warps=8, stages=3),
        64: Tiles(tile=128, channels=32, out_channels=128, warps=8, stages=3),
    },
    "tf32": {
        16: Tiles(tile=128, channels=32, out_channels=256, warps=8, stages=3, rows_first=True),
        64: Tiles(tile=128, channels=32, out_channels=128, warps=8, stages=2),
    },
    "ieee": {
        16: Tiles(tile=128, channels=32, out_channels=64, warps=8, stages=2),
        32: Tiles(tile=128, channels=16, out_channels=32, warps=8, stages=1),
    },
}
MOST_SLOTS: dict[ProductFormat, int] = {"half": 64, "tf32": 64, "ieee": 32}
# By the number of anchors; `channels` are those of query and key as well.
ATTEND: TileTable = {
    "half": {
        128: Tiles(tile=128, channels=64, out_channels=64, warps=8, stages=3),
        256: Tiles(tile=64, channels=64, out_channels=64, warps=8, stages=2),
    },
    "tf32": {
        128: Tiles(tile=128, channels=32, out_channels=64, warps=8, stages=2, parts=32),
        256: Tiles(tile=64, channels=32, out_channels=64, warps=8, stages=2),
    },
    "ieee": {
        128: Tiles(tile=64, channels=16, out_channels=32, warps=8, stages=1, parts=64),
        256: Tiles(tile=32, channels=16, out_channels=32, warps=8, stages=1, parts=64),
    },
}
SCORE: TileTable = {
    "half": {
        128: Tiles(tile=64, channels=64, out_channels=64, warps=8, stages=2),
        256: Tiles(tile=32, channels=64, out_channels=64, warps=8, stages=2),
    },
    "tf32": {
        128: Tiles(tile=64, channels=32, out_channels=32, warps=8, stages=2),
        256: Tiles(tile=32, channels=32, out_channels=32, warps=8, stages=2),
    },
    "ieee": {
        128: Tiles(tile=32, channels=16, out_channels=32, warps=8, stages=1),
        256: Tiles(tile=16, channels=16, out_channels=32, warps=8, stages=1),
    },
}
SPREAD_TILES: dict[ProductFormat, Tiles] = {
    "half": Tiles(tile=128, channels=128, out_channels=32, warps=8, stages=3),
    "tf32": Tiles(tile=128, channels=32, out_channels=32, warps=8, stages=2),
    "ieee": Tiles(tile=128, channels=32, out_channels=16, warps=8, stages=1),
}
MOST_SPREAD_SLOTS = 32
COLLECT = Tiles(tile=128, channels=128, out_channels=32, warps=4, stages=1)
# In a pyramid's tables, and so the same in all formats.
TILE = 128


def number_format(dtype: torch.dtype) -> ProductFormat:
    """Format of the products of numbers of a type, by torch's switch for float32 on CUDA."""
    if dtype is torch.float32:
        matmul = torch.backends.cuda.matmul
        return "tf32" if matmul.fp32_precision == "tf32" else "ieee"
    return "half"


def choose_tiles(table: TileTable, numbers: ProductFormat, side: int, *, narrow: bool) -> Tiles:
    """The tiles of the smallest entry that holds so many slots or anchors; half as many channels where `narrow`.

    Exact float32, which waits for no tensor core, then has one stage: on Ampere two spill registers.
    """
    entries = table[numbers]
    tiles = next(
        (tiles for most, tiles in entries.items() if side <= most), [*entries.values()][-1]
    )
    if not narrow:
        return tiles
    stages = 1 if numbers == "ieee" else tiles.stages
    return replace(tiles, out_channels=tiles.out_channels // 2, stages=stages)


def filled_up(number: int) -> int:
    """Size of a tile's axis that has so many entries: the next power of 2."""
    return max(LEAST_SIDE, 1 << (number - 1).bit_length())
