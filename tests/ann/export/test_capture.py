"""What is recorded of a module: free axes, pooling from sizes, and the paths of what it returns."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann.export.capture import FREE_BATCH, FREE_MAPS, capture, input_shapes, output_names


class Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


MAPS = (torch.randn(1, 2, 31, 17),)


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda x: x + 1, ["output"]),
        (lambda x: (x + 1, x * 2), ["0", "1"]),
        (lambda x: {"out": x + 1, "aux": [x * 2, (x * 3, None)]}, ["out", "aux.0", "aux.1.0"]),
        (lambda x: {"x": x + 1}, ["x_"]),  # the input has that name
        (lambda x: {"a": {"b": x + 1}, "a.b": x * 2}, ["a.b", "a.b_"]),
    ],
)
def test_outputs_are_named_by_their_paths(function, names):
    assert output_names(capture(Module(function), MAPS)) == names


def test_a_size_as_an_output_is_named():
    program = capture(Module(lambda x: (x + 1, x.shape[2])), MAPS, free=FREE_MAPS)
    with pytest.raises(ValueError, match=r"output '1' is a free size, and .*; return a tensor"):
        output_names(program)


@pytest.mark.parametrize("value", [3.0, "text"])
def test_an_output_that_is_no_tensor_is_named(value):
    program = capture(Module(lambda x: {"out": x + 1, "scale": value}), MAPS)
    with pytest.raises(ValueError, match=r"output 'scale' is .*; return a tensor there"):
        output_names(program)


def test_pooling_with_free_sizes_is_pooling_at_every_size():
    pools = Module(lambda x: F.adaptive_avg_pool2d(x, (3, 8)) + F.adaptive_max_pool2d(x, (3, 8)))
    program = capture(pools, MAPS, free=FREE_BATCH).module()
    for height, width in ((37, 53), (5, 7), (16, 24)):
        x = torch.randn(2, 2, height, width)
        torch.testing.assert_close(program(x), pools(x))


@pytest.mark.parametrize(("free", "number"), [(FREE_BATCH, 3), (FREE_MAPS, 2), (None, 0)])
def test_axes_are_as_free_as_asked(free, number):
    (shape,) = input_shapes(capture(Module(lambda x: x + 1), MAPS, free=free))
    assert sum(isinstance(side, torch.SymInt) for side in shape) == number


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x + int(x.shape[2]), "makes a number, 31, of the height of 'x'"),
        (lambda x: x + torch.ones(31, 17), "makes a number, 31, of the height of 'x'"),
        (lambda x: x.view(1, 2, -1, 17), "makes a number, 17, of the width of 'x'"),
    ],
)
def test_a_size_that_became_a_number_is_told(function, reason):
    with pytest.raises(ValueError, match=rf"{reason}; export it for one size"):
        capture(Module(function), MAPS, free=FREE_MAPS)


@pytest.mark.parametrize("scale", [0.29, 0.3, 1.1])
def test_a_size_by_a_factor_that_is_rounded_otherwise_is_refused(scale):
    resize = Module(lambda x: F.interpolate(x, scale_factor=scale))
    with pytest.raises(ValueError, match=rf"a size by the factor {scale}, .*pass .*size=.* 0\.5"):
        capture(resize, MAPS, free=FREE_MAPS)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x, scale_factor=0.125),
        lambda x: F.interpolate(x, scale_factor=1.5),
        lambda x: x * (0.29 * x.shape[2]) / x.shape[3] ** 0.3,  # numbers, not sizes
    ],
)
def test_a_size_by_a_factor_that_is_exact_is_recorded(function):
    module = Module(function)
    program = capture(module, MAPS, free=FREE_MAPS).module()
    x = torch.randn(1, 2, 100, 37)
    torch.testing.assert_close(program(x), module(x))


def test_inputs_of_the_caller_are_not_marked():
    inputs = (torch.ones(1, 2, 31, 17),)
    with pytest.raises(ValueError, match="makes a number, 31"):
        capture(Module(lambda x: x + torch.ones(31, 17)), inputs, free=FREE_MAPS)
    assert not vars(inputs[0])
    capture(Module(lambda x: x + torch.ones(31, 17)), inputs)


class Counts(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.last = forward

    def forward(self, x):
        self.calls.add_(1)
        return self.last(x, self.calls)


def test_an_output_that_depends_on_earlier_calls_is_refused():
    with pytest.raises(ValueError, match=r"changes its buffer 'calls' in inference, .*in eval"):
        capture(Counts(lambda x, calls: x * calls), MAPS)


def test_a_buffer_that_no_output_depends_on_may_change():
    capture(Counts(lambda x, _: x * 2), MAPS)


def test_tokens_have_no_height_and_width():
    with pytest.raises(ValueError, match=r"of maps \(n, c, h, w\), Module gets \(1, 5, 8\)"):
        capture(Module(lambda x: x), (torch.ones(1, 5, 8),), free=FREE_MAPS)


def test_inputs_behind_a_star_are_free_as_well():
    module = Module(lambda x, *rest: x + rest[0] + rest[1])
    shapes = input_shapes(capture(module, MAPS * 3, free=FREE_MAPS))
    assert [str(shape[2]) for shape in shapes] == [str(shapes[0][2])] * 3


def test_what_cannot_be_recorded_is_told():
    module = Module(lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(ValueError, match=r"^Module can't be exported: .*data-dependent"):
        capture(module, MAPS)
