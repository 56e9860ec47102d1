import subprocess
import sys
from typing import get_args

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ann.samplers import SAMPLER_RULES, Sampler, draw_anywhere, draw_in_cells

sides = st.integers(1, 40)
grids = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)


def test_the_names_of_samplers_are_those_of_the_table():
    assert get_args(Sampler) == tuple(SAMPLER_RULES)


def test_specs_are_read_without_torch_and_numpy():
    probe = "import sys, ann.spec; assert not {'torch', 'numpy', 'jaxtyping'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", probe], check=True)


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
