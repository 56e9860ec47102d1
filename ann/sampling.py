"""How anchors are chosen from a feature map: every position, random ones, a pooled grid, or a pyramid of grids.

A pooled sampler treats each map by itself. A random one draws places, and a block uses the same
places for key and value, so that both describe one position.

The paper says of its random samplers only that numpy's `choice` picks n * n "from all possible
locations" (Table 7). Left open are: with or without replacement (numpy's default is with; so here),
whether the places are drawn anew at every step and every image (here they depend on seed and map
size alone, in training and in test, so that results repeat), and what a pyramid of random samples
is. Both readings exist: `pyramid-random` is the caption's, the union of independent draws over the
whole map, which makes it plain random sampling of 1 + 4 + 9 + ... points; `pyramid-random-cells`
draws one place in each cell of each grid.

Axes: n images, c channels, h height, w width, s anchors.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float, Int64
from torch import Tensor

from ann.spec import BlockSpec

Sample = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n c s"]]
Places = Int64[np.ndarray, " s"]


def keep_all(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c s"]:
    """Keep every position."""
    return x.flatten(2)


def pool(
    x: Float[Tensor, "n c h w"], *, grids: Iterable[int], kind: Callable[..., Tensor]
) -> Float[Tensor, "n c s"]:
    """Pool the map to n x n cells for each grid n, flattened row by row and laid end to end (Eq. 8, Fig. 4)."""
    return torch.cat([kind(x, grid).flatten(2) for grid in grids], dim=2)


def gather(x: Float[Tensor, "n c h w"], *, places: Places) -> Float[Tensor, "n c s"]:
    """Take the given positions, numbered row by row."""
    return x.flatten(2).index_select(2, torch.from_numpy(places).to(x.device))


def draw_anywhere(grids: Iterable[int], *, height: int, width: int, seed: int) -> Places:
    """Draw n * n places for each grid n from the whole map, with replacement."""
    anchors = sum(grid * grid for grid in grids)
    return np.random.default_rng(seed).integers(height * width, size=anchors)


def draw_in_cells(grids: Iterable[int], *, height: int, width: int, seed: int) -> Places:
    """Draw one place in each cell of each grid; the cells are those of adaptive pooling."""
    random = np.random.default_rng(seed)
    draws = []
    for grid in grids:
        rows = random.integers(*_cells(height, grid), size=(grid, grid))
        columns = random.integers(*_cells(width, grid), size=(grid, grid))
        draws.append((rows.swapaxes(0, 1) * width + columns).ravel())
    return np.concatenate(draws)


def _cells(length: int, grid: int) -> tuple[Int64[np.ndarray, " g"], Int64[np.ndarray, " g"]]:
    """First position and last position + 1 of each cell, as adaptive pooling divides them."""
    cell = np.arange(grid)
    return cell * length // grid, -(-(cell + 1) * length // grid)


DRAWS = {
    "random": draw_anywhere,
    "pyramid-random": draw_anywhere,
    "pyramid-random-cells": draw_in_cells,
}
POOLS: dict[str, Callable[..., Tensor]] = {
    "average": F.adaptive_avg_pool2d,
    "pyramid-average": F.adaptive_avg_pool2d,
    "max": F.adaptive_max_pool2d,
    "pyramid-max": F.adaptive_max_pool2d,
}


def make_sampler(spec: BlockSpec, *, height: int, width: int) -> Sample:
    """Return the function that takes anchors from maps of that size.

    Random places are drawn here, once, so that key and value pass through the same function.
    """
    if spec.sampler in DRAWS:
        draw = DRAWS[spec.sampler]
        # A tracer hands sizes over as tensors.
        places = draw(spec.grids, height=int(height), width=int(width), seed=spec.seed)
        return partial(gather, places=places)
    if spec.sampler in POOLS:
        return partial(pool, grids=spec.grids, kind=POOLS[spec.sampler])
    return keep_all
