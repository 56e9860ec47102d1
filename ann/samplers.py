"""Table of the samplers: how many grids each has, whether it is linear, and what takes its anchors from a map.

A new sampler is a name in `Sampler`, a row of `SAMPLER_RULES` and the function of that row, all in this
file. It is read wherever specs are, so that functions import torch and numpy by themselves.

The paper says of its random samplers only that numpy's `choice` picks n * n "from all possible locations" (Table 7).
Left open are: with or without replacement (numpy's default is with; so here), whether the places are drawn anew at
every step and every image (here they depend on seed and map size alone, in training and in test, so that results
repeat), and what a pyramid of random samples is. Both readings exist: `pyramid-random` is the caption's, the union of
independent draws over the whole map, which makes it plain random sampling of 1 + 4 + 9 + ... points;
`pyramid-random-cells` draws one place in each cell of each grid.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Sampler = Literal[
    "all",
    "random",
    "max",
    "average",
    "pyramid-random",
    "pyramid-random-cells",
    "pyramid-max",
    "pyramid-average",
]
Index = TypeVar("Index", "int", "np.ndarray", "Tensor")


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerRule:
    """What is known of a sampler; one with grids has either `pool` or `draw`."""

    grids: Literal["none", "one", "many"]  # how many it has; `none` makes every position an anchor
    # Whether it commutes with a 1x1 convolution: means and single positions do, maxima don't.
    linear: bool = True
    # Brings a map (n, c, h, w) to n x n cells, called with the map and n.
    pool: "Callable[[Tensor, int], Tensor] | None" = None
    # Numbers of the places that are taken, row by row, called with the grids and by keyword with the map's height and
    # width and a seed.
    draw: "Callable[..., np.ndarray] | None" = None


def average_cells(x: "Tensor", grid: int) -> "Tensor":
    """Average a map over n x n cells."""
    from torch.nn.functional import adaptive_avg_pool2d

    return adaptive_avg_pool2d(x, grid)


def max_cells(x: "Tensor", grid: int) -> "Tensor":
    """Take the maximum of each of n x n cells."""
    from torch.nn.functional import adaptive_max_pool2d

    return adaptive_max_pool2d(x, grid)


def draw_anywhere(grids: Iterable[int], *, height: int, width: int, seed: int) -> "np.ndarray":
    """Draw n * n places for each grid n from the whole map, with replacement."""
    import numpy as np

    anchors = sum(grid * grid for grid in grids)
    return np.random.default_rng(seed).integers(height * width, size=anchors)


def draw_in_cells(grids: Iterable[int], *, height: int, width: int, seed: int) -> "np.ndarray":
    """Draw one place in each cell of each grid; the cells are those of adaptive pooling."""
    import numpy as np

    random = np.random.default_rng(seed)
    draws = []
    for grid in grids:
        rows, columns = (
            random.integers(*cell_bounds(np.arange(grid), length, grid), size=(grid, grid))
            for length in (height, width)
        )
        draws.append((rows.swapaxes(0, 1) * width + columns).ravel())
    return np.concatenate(draws)


def cell_bounds(cell: Index, length: int, grid: int) -> tuple[Index, Index]:
    """First position and last position + 1 of cells along one axis, as adaptive pooling divides it.

    Cells, one or an array, count from 0 to `grid` - 1; neighbours may overlap.
    """
    return cell * length // grid, ((cell + 1) * length + grid - 1) // grid


SAMPLER_RULES: Mapping[str, SamplerRule] = {
    "all": SamplerRule(grids="none"),
    "random": SamplerRule(grids="one", draw=draw_anywhere),
    "max": SamplerRule(grids="one", linear=False, pool=max_cells),
    "average": SamplerRule(grids="one", pool=average_cells),
    "pyramid-random": SamplerRule(grids="many", draw=draw_anywhere),
    "pyramid-random-cells": SamplerRule(grids="many", draw=draw_in_cells),
    "pyramid-max": SamplerRule(grids="many", linear=False, pool=max_cells),
    "pyramid-average": SamplerRule(grids="many", pool=average_cells),
}
