"""Pooling: one for each element that a window reads, or that a gradient is added to."""

import pytest
import torch
import torch.nn.functional as F

from tests.bench.predict.counting import counted, own_count

MEAN = (("avg_pool2d", 2), ("avg_pool3d", 3))
MAXIMUM = (("max_pool2d_with_indices", 2), ("max_pool3d_with_indices", 3))


@pytest.mark.parametrize(("name", "dimensions"), [*MEAN, *MAXIMUM])
def test_one_side_of_a_window_stands_for_all(name, dimensions):
    # 3 windows of 3 that lie 2 apart fit along each side of 8.
    given = torch.rand(2, *[8] * dimensions)
    assert own_count(name, given, [3], [2]) == 2 * 3**dimensions * 3**dimensions


@pytest.mark.parametrize(("name", "dimensions"), MEAN)
def test_one_side_of_a_window_stands_for_all_going_back(name, dimensions):
    pool = lambda x: getattr(torch.ops.aten, name)(x, [3], [2])
    given = torch.rand(2, *[8] * dimensions)
    assert counted(pool, given, grad=True) == 2 * 3**dimensions * 3**dimensions


CUBE = torch.rand(1, 2, 5, 4, 4)


@pytest.mark.parametrize(
    ("function", "read"),
    [
        (lambda x: F.avg_pool3d(x, (1, 2, 4)), 1),
        (lambda x: F.max_pool3d(x, (5, 2, 2)), 1),
        (lambda x: F.avg_pool3d(x, 2, (1, 2, 2)), 8 / 5),  # 4 overlapping pairs of 5
        (lambda x: F.max_pool3d(x, 2, (1, 2, 2)), 8 / 5),
        (lambda x: F.adaptive_avg_pool3d(x, (3, 1, 2)), 7 / 5),
        (lambda x: F.adaptive_max_pool3d(x, (3, 1, 2)), 7 / 5),
    ],
)
def test_pooling_of_volumes_counts_what_it_reads(function, read):
    assert counted(function, CUBE) == read * CUBE.numel()


@pytest.mark.parametrize(
    ("function", "written"),
    [
        (lambda x: F.avg_pool3d(x, 2, (1, 2, 2)), 8 / 5),
        (lambda x: F.adaptive_avg_pool3d(x, (3, 1, 2)), 7 / 5),
    ],
)
@pytest.mark.parametrize("batched", [True, False])
def test_mean_pooling_of_volumes_goes_back_to_what_it_read(function, written, batched):
    given = CUBE if batched else CUBE[0]
    assert counted(function, given, grad=True) == written * CUBE.numel()


@pytest.mark.parametrize("batched", [True, False])
def test_adaptive_pooling_of_maps_goes_back_to_what_it_read(batched):
    # 5 positions to 3 cells are read as 7, 4 to 2 as 4.
    given = torch.rand(3, 2, 5, 4) if batched else torch.rand(6, 5, 4)
    pool = lambda x: F.adaptive_avg_pool2d(x, (3, 2))
    assert counted(pool, given, grad=True) == 6 * 7 * 4


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: F.max_pool3d(x, (5, 2, 2)),
        lambda x: F.adaptive_max_pool3d(x, (1, 2, 2)),
        lambda x: F.adaptive_max_pool2d(x[0], (1, 2)),
    ],
)
def test_maximum_pooling_goes_back_to_one_place_an_output(pool):
    assert counted(pool, CUBE, grad=True) == pool(CUBE).numel()
