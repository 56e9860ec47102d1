"""Pyramid pooling that reads its map once: cells are linear, so height and width are a matrix each.

Axes: n images, c channels, h height, w width, s anchors; i cells of all grids along one side.
"""

from collections.abc import Iterable
from functools import partial
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from ann.samplers import SAMPLER_RULES, average_cells, cell_bounds
from ann.sampling import TakeAnchors, constant, make_sampler
from ann.spec import BlockSpec


def make_linear_sampler(spec: BlockSpec) -> TakeAnchors:
    """Return a sampler equal to the plain one; averages go through matrices, the rest is the plain one."""
    if SAMPLER_RULES[spec.sampler].pool is average_cells:
        return partial(pool_once, grids=spec.grids)
    return make_sampler(spec)


def pool_once(x: Float[Tensor, "n c h w"], *, grids: Iterable[int]) -> Float[Tensor, "n c s"]:
    """Average the map over n x n cells for each grid n, as `ann.sampling.pool` does, in one pass.

    All grids' rows of cells come out of one product with the map; what is left is small.
    """
    grids = tuple(grids)
    images, channels, height, width = x.shape
    rows, columns = (
        constant(cell_means, grids, int(length), x.dtype, like=x) for length in (height, width)
    )
    by_rows = torch.bmm(rows.expand(images * channels, -1, -1), x.flatten(0, 1))
    cells = (by_rows.flatten(0, 1) @ columns.mT).view(images, channels, len(rows), len(rows))
    # Row cells of one grid with column cells of another are left out.
    kept = (
        cells[:, :, end - grid : end, end - grid : end].flatten(2)
        for grid, end in zip(grids, accumulate(grids), strict=True)
    )
    return torch.cat(list(kept), dim=2)


def cell_means(
    grids: Iterable[int | torch.SymInt],
    length: int | torch.SymInt,
    dtype: torch.dtype,
    *,
    device: torch.device | None = None,
) -> Float[Tensor, "i length"]:
    """Matrix that averages a line over the cells of all grids, divided as adaptive pooling divides it.

    By operators alone: torch 2.11's exporter loses other tensors that are born in a decomposition.
    """
    position = torch.arange(length, device=device)
    wide = torch.promote_types(dtype, torch.float32)  # halves of a number hold no long length
    lines = []
    for grid in grids:
        cell = torch.arange(grid, device=device)[:, None]
        start, stop = cell_bounds(cell, length, grid)  # type: ignore[arg-type]  # torch's numbers, too
        inside = (start <= position) & (position < stop)
        lines.append(inside.to(wide) / (stop - start))
    return torch.cat(lines).to(dtype)
