"""Tables of tiles and cells: against the cells of adaptive pooling, position by position."""

import pytest
import torch

from ann.kernels.cells import LEAST_SLOTS, cell_tables
from ann.samplers import cell_bounds

SIZES = [(1, 1), (5, 4), (33, 47), (3, 200)]
GRIDS = [(1,), (1, 3, 6, 8), (7,), (2, 9)]


def tables(grids, height, width, tile):
    return cell_tables(grids, height=height, width=width, tile=tile, like=torch.zeros(1))


def members(grids, height, width):
    """(anchors, positions): whether a position lies in an anchor's cell."""
    rows = []
    for grid in grids:
        for top, bottom in (cell_bounds(cell, height, grid) for cell in range(grid)):
            for left, right in (cell_bounds(cell, width, grid) for cell in range(grid)):
                inside = torch.zeros(height, width, dtype=torch.bool)
                inside[top:bottom, left:right] = True
                rows.append(inside.flatten())
    return torch.stack(rows)


@pytest.mark.parametrize("grids", GRIDS, ids=str)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_tile_has_a_slot_for_each_cell_that_one_of_its_positions_lies_in(height, width, grids):
    tile = 16
    found = tables(grids, height, width, tile)
    for number, inside in enumerate(members(grids, height, width).split(tile, dim=1)):
        expected = inside.any(dim=1).nonzero().flatten().tolist()
        anchors = found.anchors[number]
        assert anchors[anchors >= 0].tolist() == expected


@pytest.mark.parametrize("grids", GRIDS, ids=str)
def test_bounds_are_those_of_adaptive_pooling(grids):
    height, width = 11, 7
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    for bounds, inside in zip(
        tables(grids, height, width, 16).bounds, members(grids, height, width), strict=True
    ):
        top, bottom, left, right = bounds.tolist()
        again = (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
        assert again.flatten().tolist() == inside.tolist()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_anchor_s_places_are_its_slots_in_all_tiles(height, width):
    found = tables((1, 3, 6, 8), height, width, 16)
    for anchor in range(len(found.bounds)):
        start, stop = found.starts[anchor : anchor + 2].tolist()
        places = found.places[start:stop]
        assert (found.anchors.flatten()[places] == anchor).all()
        assert len(places) == (found.anchors == anchor).sum()


def test_slots_are_a_power_of_two_that_a_product_takes():
    assert tables((1,), 8, 8, 16).slots == LEAST_SLOTS
    assert tables((1, 3, 6, 8), 5, 4, 128).slots == 128
    assert tables((1, 3, 6, 8), 128, 256, 128).slots == 16


def test_tables_are_made_once_for_a_size_and_device():
    first, again = (tables((1, 3), 9, 9, 16) for _ in range(2))
    assert all(one is other for one, other in zip(first, again, strict=True))
