import subprocess
import sys
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ann import build, sampling
from ann.fast import optimize
from ann.fast.pooling import make_linear_sampler
from ann.samplers import SAMPLER_RULES, SamplerRule
from ann.sampling import constant, make_sampler
from ann.spec import BlockSpec
from tests.host import HostTraffic, traffic

PLAIN = ("random", "max", "average")
PYRAMIDS = ("pyramid-random", "pyramid-random-cells", "pyramid-max", "pyramid-average")
sides = st.integers(1, 40)
grids = st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple)


def sample(x, **fields):
    return make_sampler(BlockSpec(**fields))(x)


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


def take_corner(x, grid):
    return x[:, :, :grid, :grid]


@pytest.mark.parametrize("make", [make_sampler, make_linear_sampler])
def test_a_sampler_is_a_row_of_the_table(make, monkeypatch):
    monkeypatch.setitem(SAMPLER_RULES, "corners", SamplerRule(grids="many", pool=take_corner))
    spec = BlockSpec(sampler="corners", grids=(1, 3), channels=8, key_channels=4)
    x = torch.randn(1, 8, 6, 5)
    expected = torch.cat([x[:, :, :1, :1].flatten(2), x[:, :, :3, :3].flatten(2)], dim=2)
    assert torch.equal(make(spec)(x), expected)
    block = build.block(spec).eval()
    nn.init.normal_(block.out.weight)
    with torch.no_grad():
        assert_close(optimize(block)(x), block(x), rtol=1e-4, atol=1e-6)


def test_a_sampler_that_takes_nothing_is_an_error_not_every_position(monkeypatch):
    monkeypatch.setitem(SAMPLER_RULES, "lost", SamplerRule(grids="one"))
    with pytest.raises(ValueError, match="sampler 'lost' takes no anchors; give its rule"):
        make_sampler(BlockSpec(sampler="lost", grids=(2,)))


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
    take = make_sampler(BlockSpec(sampler="random", grids=(5,)))
    numbers = torch.arange(99.0).view(1, 1, 9, 11)
    assert torch.equal(take(numbers), take(-numbers).neg())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sampler", ["random", "pyramid-random", "pyramid-random-cells"])
def test_a_place_that_is_taken_often_has_all_of_its_gradient_in_half_precision(sampler, dtype):
    """`table[index]` adds in that format, where 256 + 1 is 256 (bfloat16) and 2048 + 1 is 2048 (float16)."""
    x = torch.zeros(1, 1, 1, 1, dtype=dtype, requires_grad=True)
    sample(x, sampler=sampler, grids=(48,)).sum().backward()
    assert x.grad.item() == 48**2


@pytest.mark.parametrize(
    ("sampler", "grids"),
    [("random", (5,)), ("pyramid-random", (1, 2)), ("pyramid-random-cells", (1, 3))],
)
def test_random_places_are_copied_to_the_device_once(sampler, grids):
    take = make_sampler(BlockSpec(sampler=sampler, grids=grids))
    x = torch.empty(1, 2, 9, 11, device="meta")
    assert traffic(lambda: take(x)) == []


def make_ones(length, *, device):
    return torch.ones(length, device=device)


def test_a_constant_is_made_once_for_each_device():
    here, there = torch.empty(1), torch.empty(1, device="meta")
    first = constant(make_ones, 3, like=here)
    assert constant(make_ones, 3, like=here) is first
    assert constant(make_ones, 3, like=there).is_meta
    assert constant(make_ones, 4, like=here).shape == (4,)


def test_a_constant_made_without_gradients_serves_with_them():
    x = torch.randn(7)
    with torch.inference_mode():
        constant(make_ones, 7, like=x)
    weight = torch.ones(7, requires_grad=True)
    (weight * constant(make_ones, 7, like=x)).sum().backward()
    assert torch.equal(weight.grad, torch.ones(7))


def test_no_mode_sees_a_constant_that_is_kept_nor_leaves_its_own_tensor():
    x = torch.empty(1)
    with HostTraffic(), FlopCounterMode(display=False), torch.device("meta"):
        found = constant(make_ones, 5, like=x)
    assert type(found) is torch.Tensor
    assert not found.is_meta


def test_a_fake_mode_a_tracer_and_a_transform_get_constants_of_their_own():
    kept = constant(make_ones, 6, like=torch.empty(1))
    with FakeTensorMode():
        fake = constant(make_ones, 6, like=torch.empty(1))
    assert type(fake) is FakeTensor
    seen = []

    def call(x):
        seen.append(constant(make_ones, 6, like=x))
        return (x * seen[-1]).sum()

    torch.func.grad(call)(torch.ones(6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that tracing is going away
        torch.jit.trace(call, torch.ones(6), check_trace=False)
    assert all(one is not kept for one in seen)
    assert constant(make_ones, 6, like=torch.empty(1)) is kept


@pytest.fixture
def capturing(monkeypatch):
    """As in the capture of a CUDA graph."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


def test_a_capture_keeps_no_constant_of_its_own(capturing):
    x = torch.empty(1)
    assert constant(make_ones, 8, like=x) is not constant(make_ones, 8, like=x)


@pytest.mark.parametrize("take", [make_sampler, make_linear_sampler])
@pytest.mark.parametrize("sampler", ["pyramid-random", "pyramid-random-cells", "pyramid-average"])
def test_a_capture_takes_what_earlier_calls_made(take, sampler, request):
    take = take(BlockSpec(sampler=sampler, grids=(1, 3)))
    x = torch.randn(1, 2, 13, 11)
    take(x)
    with Operators() as warm:
        take(x)
    request.getfixturevalue("capturing")
    with Operators() as captured:
        take(x)
    assert captured.names == warm.names


class Operators(TorchDispatchMode):
    """Names of the operators that are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


COMPILED = """
import torch
from ann.fast.pooling import pool_once
from ann import sampling
from ann.fast.pooling import make_linear_sampler
from ann.sampling import constant, make_sampler
from ann.spec import BlockSpec

x = torch.randn(1, 2, 9, 11)
samplers = [
    make_sampler(BlockSpec(sampler="pyramid-random-cells", grids=(1, 3))),
    lambda x: pool_once(x, grids=(1, 3)),
]
for take in samplers:
    graphs = []
    def keep(graph, inputs):
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return graph
    found = torch.compile(take, backend=keep, fullgraph=True, dynamic=False)(x)
    assert torch.equal(found, take(x))
    assert not any(word in name for name in graphs[0] for word in ("arange", "numpy")), graphs
"""
SIZES = """
import torch
from ann.fast.pooling import pool_once

def take(x):
    return pool_once(x, grids=(1, 3))

maps = [torch.randn(1, 2, *size) for size in ((9, 11), (12, 7), (8, 13))]
for dynamic in (None, True):
    torch._dynamo.reset()
    call = torch.compile(take, backend="eager", fullgraph=True, dynamic=dynamic)
    assert all(torch.equal(call(x), take(x)) for x in maps)
sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}

class Pool(torch.nn.Module):
    def forward(self, x):
        return take(x)

call = torch.export.export(Pool(), (maps[0],), dynamic_shapes=(sizes,), strict=True).module()
assert all(torch.equal(call(x), take(x)) for x in maps)
"""


@pytest.mark.slow
def test_the_compiler_and_the_exporter_pool_maps_of_any_size():
    # The checks of shapes, which are on in this process, can't be compiled.
    subprocess.run([sys.executable, "-c", SIZES], check=True)


@pytest.mark.slow
@pytest.mark.skipif(
    not sampling._GRAPHS_KEEP_CONSTANTS, reason="this torch keeps one constant in a graph"
)
def test_the_compiler_takes_constants_as_they_are():
    # The checks of shapes, which are on in this process, can't be compiled.
    subprocess.run([sys.executable, "-W", "error", "-c", COMPILED], check=True)
