"""Adaptive pooling as operators that ONNX has, from sizes that may be known only when the file runs.

ONNX has no adaptive pooling. PyTorch's exporter writes averages as one node where the cells divide the map, as 4 to 7
where they overlap and are of one size (12 over 8, 97 over 3), and place by place, thousands of nodes, only where their
sizes differ (7619 of 3x3 cells at 256x128; pytorch#120477); maxima only where cells divide it. Where height and width
are free, it takes the example's cells, wrong at every other size. But averaging over cells is linear in either axis: a
matrix for the rows and one for the columns, each made from the size. The maximum over cells is one over rows of one
over columns, each of them a table of the places that lie in its cell.

Axes: n images, c channels, h and w height and width of a map, y and x the grid, k places of the longest cell.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ann.fast.pooling import cell_means
from ann.samplers import cell_bounds


def average_pool(x: Float[Tensor, "*n c h w"], size: list[int]) -> Float[Tensor, "*n c y x"]:
    """Adaptive average pooling as two products, the axis first that leaves less for the other."""
    height, width = x.shape[-2:]
    rows, columns = (
        cell_means((grid,), length, x.dtype, device=x.device)
        for length, grid in zip((height, width), size, strict=True)
    )
    # Of a free size nothing may be asked: the answer would be the example's.
    if _is_free(height, width, *size) or size[0] * width <= size[1] * height:
        return rows @ x @ columns.mT
    return rows @ (x @ columns.mT)


def max_pool(
    x: Float[Tensor, "*n c h w"], size: list[int]
) -> tuple[Float[Tensor, "*n c y x"], Int64[Tensor, "*n c y x"]]:
    """Adaptive max pooling and the maxima's places, row by row; of equal maxima the first one's."""
    height, width = x.shape[-2:]
    (rows, top), (columns, left) = (
        _places_in_cells(length, grid, x.device)
        for length, grid in zip((height, width), size, strict=True)
    )
    lines = x.index_select(-2, rows.flatten()).unflatten(-2, rows.shape).amax(-2)
    maxima = lines.index_select(-1, columns.flatten()).unflatten(-1, columns.shape).amax(-1)
    # Whoever does not want the places leaves nothing of what follows in the file.
    cells = x.index_select(-2, rows.flatten()).index_select(-1, columns.flatten())
    cells = cells.unflatten(-1, columns.shape).unflatten(-3, rows.shape).transpose(-3, -2)
    place = cells.flatten(-2).argmax(-1)
    row = place // columns.shape[1]
    column = place - row * columns.shape[1]  # the exporter knows no remainder of a free size
    return maxima, (top[:, None] + row) * width + left + column


def _average_line(x: Float[Tensor, "*n c w"], size: list[int]) -> Float[Tensor, "*n c x"]:
    return average_pool(x.unsqueeze(-2), [1, *size]).squeeze(-2)


def _max_line(
    x: Float[Tensor, "*n c w"], size: list[int]
) -> tuple[Float[Tensor, "*n c x"], Int64[Tensor, "*n c x"]]:
    maxima, places = max_pool(x.unsqueeze(-2), [1, *size])
    return maxima.squeeze(-2), places.squeeze(-2)


def _places_in_cells(
    length: int, grid: int, device: torch.device
) -> tuple[Int64[Tensor, "y k"], Int64[Tensor, " y"]]:
    """Places in each cell of one axis, the last one repeated where a cell is shorter, and where each cell starts."""
    start, stop = cell_bounds(torch.arange(grid, device=device), length, grid)
    longest = (length + grid - 1) // grid + 1
    places = start[:, None] + torch.arange(longest, device=device)
    return torch.minimum(places, stop[:, None] - 1), start


def _is_free(*numbers: int | torch.SymInt) -> bool:
    return any(isinstance(number, torch.SymInt) for number in numbers)


POOLING: dict[Any, Callable[..., object]] = {
    torch.ops.aten.adaptive_avg_pool1d.default: _average_line,
    torch.ops.aten.adaptive_max_pool1d.default: _max_line,
    torch.ops.aten.adaptive_avg_pool2d.default: average_pool,
    torch.ops.aten._adaptive_avg_pool2d.default: average_pool,  # noqa: SLF001  # its name
    torch.ops.aten.adaptive_max_pool2d.default: max_pool,
}
