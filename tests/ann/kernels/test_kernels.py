"""Every kernel, followed step by step by Triton's interpreter, against the plain block in float64.

With `-m slow` all blocks at sizes from 1x1 to 33x47; the default ones are small, and stand for them.
"""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from ann import build
from ann.catalogue import BLOCKS
from ann.kernels import rewrite

pytestmark = pytest.mark.usefixtures("interpreter")
ERRORS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
CHANNELS, LOW_CHANNELS = 40, 24
FORMS = ("apnb", "apnb-residual", "apnb-concat", "apnb-bottleneck", "afnb", "afnb-bottleneck")
SIZES = [(1, 1), (1, 7), (5, 4), (16, 16), (33, 47)]
FEW = (1, 3)  # grids of which the interpreter makes 16 anchors, and not 128


@torch.no_grad()
def make(name, **changes):
    torch.manual_seed(0)
    spec = BLOCKS[name]
    low = LOW_CHANNELS if spec.low_channels else None
    changes = {"grids": FEW, "key_channels": 16, "dropout": 0.0} | changes
    block = build.block(replace(spec, channels=CHANNELS, low_channels=low, **changes))
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.normal_(part.bias)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1)
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.8, 1.2)
    return block.double().eval()


def maps(block, height, width, images=1):
    widths = filter(None, (block.spec.channels, block.spec.low_channels))
    return [torch.randn(images, channels, height, width, dtype=torch.double) for channels in widths]


def error(result, expected):
    return ((result.double() - expected).norm() / expected.norm()).item()


@torch.no_grad()
def check(block, inputs, guarded, dtype=torch.float32):
    fast = rewrite(copy.deepcopy(block).to(dtype), "inference")
    for parameter in fast.parameters():
        parameter.data = guarded.copy(parameter)
    result = fast(*inputs) if inputs[0].dtype == dtype else fast(*(x.to(dtype) for x in inputs))
    assert result.dtype == dtype
    assert error(result, block(*(x.double() for x in inputs))) < ERRORS[dtype]


@pytest.mark.parametrize("name", FORMS)
def test_blocks_are_equal(name, guarded):
    block = make(name)
    check(block, [guarded.copy(x.float()) for x in maps(block, 5, 4)], guarded)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_blocks_of_all_anchors_are_equal_at_all_sizes(height, width, name, guarded):
    """Sizes that no grid divides, and grids that are larger than the map."""
    block = make(name, grids=(1, 3, 6, 8), key_channels=32)
    check(block, [guarded.copy(x.float()) for x in maps(block, height, width, images=2)], guarded)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "apnb-bottleneck",
        pytest.param("apnb", marks=pytest.mark.slow),
        pytest.param("apnb-concat", marks=pytest.mark.slow),
        pytest.param("afnb-bottleneck", marks=pytest.mark.slow),
    ],
)
def test_short_formats_are_as_near_as_they_can(name, dtype, guarded):
    block = make(name)
    check(block, [guarded.copy(x.to(dtype)) for x in maps(block, 7, 9)], guarded, dtype)


def strided(x, how):
    match how:
        case "channels last":
            return x.to(memory_format=torch.channels_last)
        case "a part of a map":
            whole = torch.full((len(x), x.shape[1], x.shape[2] + 3, 2 * x.shape[3]), float("nan"))
            part = whole[:, :, 2:-1, ::2]
            return part.copy_(x)
        case "turned":
            return x.mT.contiguous().mT
        case "expanded":
            return x[:, :1].expand_as(x)
    raise AssertionError


@pytest.mark.parametrize("how", ["channels last", "a part of a map", "turned", "expanded"])
def test_maps_may_lie_in_memory_as_they_like(how, guarded):
    block = make("apnb-bottleneck")
    inputs = [strided(x.float(), how) for x in maps(block, 6, 5, images=2)]
    assert not inputs[0].is_contiguous()
    check(block, inputs, guarded)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_weights_may_lie_in_memory_as_they_like(mode):
    block = make("apnb", projection="plain")
    weight = block.key.weight.detach().flatten(1).mT.contiguous().mT
    block.key.weight = nn.Parameter(weight[:, :, None, None])
    block.key.bias = nn.Parameter(torch.full((1,), 0.5, dtype=torch.double).expand(16))
    inputs = maps(block, 5, 4)
    fast = rewrite(copy.deepcopy(block).float(), mode)
    with torch.no_grad():
        assert error(fast(*(x.float() for x in inputs)), block(*inputs)) < 1e-5


def test_a_fusion_reads_a_low_level_map_of_another_size(guarded):
    block = make("afnb")
    high, low = maps(block, 4, 5)
    check(block, [high.float(), low[..., :3, :4].float()], guarded)


@pytest.mark.parametrize("changes", [{"projection": "plain"}, {"projection": "separate"}], ids=str)
def test_projections_may_be_separate_and_bare(changes, guarded):
    block = make("apnb-residual", **changes)
    check(block, [x.float() for x in maps(block, 5, 4)], guarded)


@pytest.mark.slow
def test_keys_wider_than_a_program_s_channels_are_equal(guarded):
    block = make("apnb", key_channels=272)
    check(block, [x.float() for x in maps(block, 5, 4)], guarded)


def test_a_tile_of_which_every_slot_is_used_is_equal(guarded):
    block = make("apnb-residual", grids=(4,), sampler="average")
    check(block, [x.float() for x in maps(block, 5, 4)], guarded)


def test_a_whole_image_of_one_number_gives_that_number_s_means(guarded):
    block = make("apnb-residual")
    check(block, [torch.full((1, CHANNELS, 6, 5), 3.0)], guarded)


def train(block, inputs, gradient):
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    result = block(*leaves)
    result.backward(gradient.to(result.dtype))
    gradients = {name: each.grad for name, each in block.named_parameters()}
    return result.detach(), [x.grad for x in leaves], gradients, dict(block.named_buffers())


@pytest.mark.parametrize(
    "name",
    [
        "apnb-bottleneck",
        "afnb",
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in FORMS
            if each not in ("apnb-bottleneck", "afnb")
        ),
    ],
)
def test_gradients_and_statistics_are_equal(name, guarded):
    plain = make(name).train()
    given = copy.deepcopy(plain).float()
    fast = rewrite(given, "training")
    inputs = maps(plain, 5, 4, images=2)
    gradient = torch.randn_like(plain(*inputs))
    plain.load_state_dict(given.double().state_dict())
    given.float()
    expected = train(plain, inputs, gradient)
    found = train(fast, [x.float() for x in inputs], gradient)
    assert error(found[0], expected[0]) < 1e-5
    assert all(error(*pair) < 1e-5 for pair in zip(found[1], expected[1], strict=True))
    largest = max(each.norm() for each in expected[2].values())
    for weight, each in found[2].items():
        # A bias ahead of a norm in training has a gradient of zero but for rounding.
        apart = (each.double() - expected[2][weight]).norm()
        assert apart < 1e-5 * max(expected[2][weight].norm(), 1e-2 * largest), weight
    for statistic, each in found[3].items():
        assert torch.allclose(each.double(), expected[3][statistic].double(), atol=1e-6)


def test_gradients_are_the_same_bits_in_every_call():
    fast = rewrite(make("apnb").float().train(), "training")
    inputs = [x.float() for x in maps(fast, 5, 4)]
    gradient = torch.randn(1, CHANNELS, 5, 4)
    first, again = (train(fast, inputs, gradient)[1][0] for _ in range(2))
    assert torch.equal(first, again)


def test_eval_without_folding_is_equal(guarded):
    """A block for training is evaluated between its epochs."""
    plain = make("apnb-bottleneck")
    fast = rewrite(copy.deepcopy(plain).float(), "training").eval()
    inputs = maps(plain, 5, 4)
    with torch.no_grad():
        assert error(fast(*(x.float() for x in inputs)), plain(*inputs)) < 1e-5
