"""Adaptive pooling by matrices and tables is torch's, values and places, whatever the size."""

import pytest
import torch
import torch.nn.functional as F

from ann import export

SIZES = [(31, 17), (97, 97), (12, 24), (5, 3), (1, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("grid", [1, 3, 8])
def test_average_pooling_by_matrices_is_adaptive_pooling(height, width, grid):
    x = torch.randn(2, 3, height, width)
    expected = F.adaptive_avg_pool2d(x, (grid, 6))
    torch.testing.assert_close(export.average_pool(x, [grid, 6]), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_max_pooling_by_rows_and_columns_is_adaptive_pooling(height, width):
    x = torch.randn(2, 3, height, width)
    maxima, places = F.adaptive_max_pool2d(x, (3, 8), return_indices=True)
    assert torch.equal(export.max_pool(x, [3, 8])[0], maxima)
    assert torch.equal(export.max_pool(x, [3, 8])[1], places)


def test_of_equal_maxima_the_first_one_is_named():
    x = torch.randint(0, 2, (2, 3, 31, 17)).float()
    places = F.adaptive_max_pool2d(x, (4, 5), return_indices=True)[1]
    assert torch.equal(export.max_pool(x, [4, 5])[1], places)
