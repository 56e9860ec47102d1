import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ann.sampling import draw_anywhere, draw_in_cells, make_sampler
from ann.spec import BlockSpec

PLAIN = ("random", "max", "average")
PYRAMIDS = ("pyramid-random", "pyramid-random-cells", "pyramid-max", "pyramid-average")
sides = st.integers(1, 40)
grids = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)


def sample(x, **fields):
    return make_sampler(BlockSpec(**fields), height=x.shape[2], width=x.shape[3])(x)


@given(st.sampled_from(PYRAMIDS), grids, sides, sides)
def test_a_pyramid_takes_the_sum_of_squares_at_any_size(sampler, grids, height, width):
    x = torch.randn(1, 2, height, width)
    assert sample(x, sampler=sampler, grids=grids).shape == (1, 2, sum(n * n for n in grids))


@pytest.mark.parametrize("sampler", PLAIN)
def test_a_plain_sampler_of_15_takes_225(sampler):
    assert sample(torch.randn(1, 2, 31, 17), sampler=sampler, grids=(15,)).shape == (1, 2, 225)


def test_all_keeps_every_position_in_order():
    x = torch.randn(2, 3, 4, 5)
    assert_close(sample(x, sampler="all"), x.flatten(2))


def test_one_cell_of_average_pooling_is_the_mean_of_the_map():
    x = torch.randn(2, 3, 4, 5)
    assert_close(sample(x, sampler="average", grids=(1,)), x.mean((2, 3)).unsqueeze(2))


def test_one_cell_of_max_pooling_is_the_maximum_of_the_map():
    x = torch.randn(2, 3, 4, 5)
    assert_close(sample(x, sampler="max", grids=(1,)), x.amax((2, 3)).unsqueeze(2))


@pytest.mark.parametrize("pyramid", ["pyramid-average", "pyramid-max"])
def test_a_pyramid_lays_its_grids_end_to_end_in_their_order(pyramid):
    x = torch.randn(1, 2, 13, 9)
    plain = pyramid.removeprefix("pyramid-")
    parts = [sample(x, sampler=plain, grids=(n,)) for n in (3, 1)]
    assert_close(sample(x, sampler=pyramid, grids=(3, 1)), torch.cat(parts, dim=2))


def test_a_grid_as_fine_as_the_map_pools_nothing():
    x = torch.randn(1, 2, 6, 6)
    assert_close(sample(x, sampler="average", grids=(6,)), x.flatten(2))


@pytest.mark.parametrize("sampler", ["random", "pyramid-random", "pyramid-random-cells"])
def test_random_places_depend_on_the_seed_alone(sampler):
    x = torch.randn(1, 1, 20, 30)
    draws = [sample(x, sampler=sampler, grids=(7,), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_random_takes_the_same_places_from_key_and_value():
    take = make_sampler(BlockSpec(sampler="random", grids=(5,)), height=9, width=11)
    numbers = torch.arange(99.0).view(1, 1, 9, 11)
    assert torch.equal(take(numbers), take(-numbers).neg())


@given(grids, sides, sides, st.integers(0, 5))
def test_random_places_lie_in_the_map(grids, height, width, seed):
    for draw in (draw_anywhere, draw_in_cells):
        places = draw(grids, height=height, width=width, seed=seed)
        assert places.min() >= 0
        assert places.max() < height * width


@given(st.integers(1, 9), st.integers(9, 40), st.integers(9, 40))
def test_one_place_in_each_cell_of_adaptive_pooling(grid, height, width):
    places = draw_in_cells((grid,), height=height, width=width, seed=3)
    marked = torch.zeros(height * width)
    for cell, place in enumerate(places):
        mask = torch.zeros_like(marked)
        mask[place] = 1
        pooled = torch.nn.functional.adaptive_max_pool2d(mask.view(1, height, width), grid)
        assert pooled.flatten()[cell] == 1


def test_the_captions_pyramid_random_is_plain_random_of_as_many_points():
    plain = draw_anywhere((1, 2, 3, 6), height=40, width=50, seed=4)
    assert np.array_equal(plain, np.random.default_rng(4).integers(2000, size=50))
