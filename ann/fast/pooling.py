"""Pyramid pooling that reads its map once: cells are linear, so height and width are a matrix each.

Axes: n images, c channels, h height, w width, s anchors; i cells of all grids along one side.
"""

from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ann.sampling import POOLS, Sample, make_sampler
from ann.spec import BlockSpec


def make_linear_sampler(spec: BlockSpec, *, height: int, width: int) -> Sample:
    """Return a sampler equal to the plain one; averages go through matrices, the rest is the plain one."""
    if spec.sampler in POOLS and is_linear(spec):
        return partial(pool_once, grids=spec.grids)
    return make_sampler(spec, height=height, width=width)


def is_linear(spec: BlockSpec) -> bool:
    """Whether sampling commutes with a 1x1 convolution: means and single positions do, maxima don't."""
    return not spec.sampler.endswith("max")


def pool_once(x: Float[Tensor, "n c h w"], *, grids: Iterable[int]) -> Float[Tensor, "n c s"]:
    """Average the map over n x n cells for each grid n, as `ann.sampling.pool` does, in one pass.

    All grids' rows of cells come out of one product with the map; what is left is small.
    """
    grids = tuple(grids)
    images, channels, height, width = x.shape
    # The compiler sees through the cache and would warn of it.
    means = cell_means.__wrapped__ if torch.compiler.is_compiling() else cell_means
    rows, columns = (
        torch.from_numpy(means(grids, int(length))).to(x) for length in (height, width)
    )
    by_rows = torch.bmm(rows.expand(images * channels, -1, -1), x.flatten(0, 1))
    cells = (by_rows.flatten(0, 1) @ columns.mT).view(images, channels, len(rows), len(rows))
    # Row cells of one grid with column cells of another are left out.
    kept = (
        cells[:, :, end - grid : end, end - grid : end].flatten(2)
        for grid, end in zip(grids, accumulate(grids), strict=True)
    )
    return torch.cat(list(kept), dim=2)


@lru_cache(maxsize=64)
def cell_means(grids: tuple[int, ...], length: int) -> Float[np.ndarray, "i length"]:
    """Matrix that averages a line over the cells of all grids, divided as adaptive pooling divides it."""
    position = np.arange(length)
    lines = []
    for grid in grids:
        cell = np.arange(grid)[:, None]
        start, stop = cell * length // grid, -(-(cell + 1) * length // grid)
        inside = (start <= position) & (position < stop)
        # Said twice, since a compiler of numpy code would divide in float32.
        lines.append(inside.astype(np.float64) / (stop - start).astype(np.float64))
    return np.concatenate(lines)
