"""Operators that are no matrix work: each through torch's own functions, against a count by hand."""

import pytest
import torch
import torch.nn.functional as F

from bench.predict.formulas import Call, work_of
from tests.bench.predict.counting import counted, entered, own_count

X = torch.rand(2, 3, 8, 6)
FLAGS = torch.ones(2, 3, dtype=torch.int64)
ELEMENTS = X.numel()

UNARY = (
    "neg abs sign sgn reciprocal square sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan"
    " atan tanh erf erfinv floor ceil round trunc frac isnan isinf"
).split()
BINARY = (
    "add sub rsub mul div pow atan2 remainder fmod floor_divide maximum minimum fmax fmin eq ne lt"
    " le gt ge"
).split()
BITS = (
    "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift logical_and"
    " logical_or logical_xor __and__ __or__"
).split()
REDUCTIONS = "sum mean prod amax amin max min argmax argmin any all nansum cumsum cumprod".split()


@pytest.mark.parametrize("name", UNARY)
def test_a_function_of_one_element_is_one(name):
    assert own_count(name, X) == ELEMENTS


@pytest.mark.parametrize("name", BINARY)
def test_a_function_of_two_elements_is_one(name):
    assert own_count(name, X, X) == ELEMENTS


@pytest.mark.parametrize("name", BITS)
def test_a_function_of_bits_is_one(name):
    assert own_count(name, FLAGS, FLAGS) == 6


@pytest.mark.parametrize("name", ["bitwise_not", "logical_not"])
def test_a_negated_bit_is_one(name):
    assert own_count(name, FLAGS) == 6


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_is_one_for_each_element_read(name):
    dimension = 1 if name != "nansum" else [1]
    assert own_count(name, X, dimension) == ELEMENTS


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (lambda x: F.threshold(x, 0.5, 0.0), 1),
        (lambda x: x.clamp_min(0.5), 1),
        (lambda x: x.clamp_max(0.5), 1),
        (lambda x: x.clamp(0.2, 0.8), 2),
        (lambda x: x.clamp(min=0.2), 1),
        (lambda x: x.clamp(max=0.8), 1),
        (lambda x: x.argmax(), 1),
        (F.hardtanh, 2),
        (F.leaky_relu, 2),
        (lambda x: F.prelu(x, torch.ones(3)), 2),
        (lambda x: x.addcmul(x, x), 2),
        (lambda x: x.addcdiv(x, x), 2),
        (lambda x: x.lerp(x, 0.5), 3),  # difference, product, sum
        (lambda x: torch.native_dropout(x, 0.5, True), 2),  # mask and factor
        (F.elu, 3),  # exp, difference, product
        (F.softplus, 3),  # exp, sum, log
        (F.hardsigmoid, 4),  # sum, two bounds, division
        (F.hardswish, 5),  # times the input
        (F.gelu, 5),  # division, erf, sum, two products
        (F.mish, 5),  # softplus, tanh, product
        (lambda x: x.aminmax(), 2),
        (lambda x: x.var(1), 4),
        (lambda x: x.std(1), 4),
        (lambda x: torch.var_mean(x, 1), 4),
        (lambda x: torch.std_mean(x, 1), 4),
        (lambda x: torch.ops.aten.norm(x, 2.0), 2),
        (torch.linalg.vector_norm, 2),
        (lambda x: x.logsumexp(1), 4),
        (lambda x: F.interpolate(x[0], scale_factor=2, mode="linear"), 3),
        (lambda x: F.interpolate(x[None], scale_factor=2, mode="trilinear"), 8 * 15),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), 4 * 31),
    ],
)
def test_a_composite_function_is_the_sum_of_its_parts(function, parts):
    # The slice that a linear interpolation takes is half of the elements, doubled.
    assert counted(function, X.clone()) == parts * ELEMENTS


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (F.hardtanh, 3),  # two comparisons, and both of them
        (F.leaky_relu, 2),  # comparison, product
        (torch.tanh, 3),  # square, difference, product
        (torch.sigmoid, 3),  # difference, two products
        (F.silu, 9),  # sigmoid 4, two differences or sums, three products
        (F.gelu, 11),  # its two functions 4 each, two products, a sum
        (lambda x: torch.native_dropout(x, 0.5, True)[0], 2),
        (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), 4),
        (lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"), 4),
        (lambda x: F.group_norm(x, 3), 9),
        (lambda x: F.layer_norm(x, (6,)), 9),
        (lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3)), 6),
    ],
)
def test_going_back_through_a_composite_function_is_the_sum_of_its_parts(function, parts):
    assert counted(function, X, grad=True) == parts * ELEMENTS


CHANNEL = torch.ones(3)
STATISTICS = (CHANNEL, CHANNEL, CHANNEL, CHANNEL)


@pytest.mark.parametrize(
    ("name", "rest", "flops_per_element"),
    [
        ("native_batch_norm", (*STATISTICS, False, 0.1, 1e-5), 2),
        ("_native_batch_norm_legit", (*STATISTICS, True, 0.1, 1e-5), 6),
        ("_native_batch_norm_legit", (*STATISTICS, False, 0.1, 1e-5), 2),
        ("_native_batch_norm_legit_functional", (*STATISTICS, True, 0.1, 1e-5), 6),
        ("_native_batch_norm_legit_no_training", (*STATISTICS, 0.1, 1e-5), 2),
        ("_batch_norm_with_update", (*STATISTICS, 0.1, 1e-5), 6),
        ("_batch_norm_no_update", (*STATISTICS, 0.1, 1e-5), 2),
    ],
)
def test_a_batch_norm_counts_alike_whatever_carries_it_out(name, rest, flops_per_element):
    assert own_count(name, X, *rest) == flops_per_element * ELEMENTS


def test_a_relu6_that_inference_mode_leaves_whole_counts_as_its_bounds():
    assert own_count("relu6", X) == 2 * ELEMENTS


def test_a_batch_norm_that_inference_mode_leaves_whole_knows_its_statistics():
    with torch.inference_mode():
        rows = entered(lambda x: F.batch_norm(x, CHANNEL, CHANNEL), X)
    assert [(row.name, row.flops) for row in rows if row.flops] == [
        ("aten.batch_norm", 2 * ELEMENTS)
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "flops_per_element"),
    [
        ("cudnn_batch_norm", {"training": True}, 6),
        ("cudnn_batch_norm", {"training": False}, 2),
        ("miopen_batch_norm", {"training": True}, 6),
        ("cudnn_batch_norm_backward", {"grad_output": X}, 9),
        ("miopen_batch_norm_backward", {"grad_output": X}, 9),
        ("batch_norm_backward", {"grad_out": X, "update": True}, 9),
        ("batch_norm_backward", {"grad_out": X, "update": False}, 6),
    ],
)
def test_a_batch_norm_that_only_a_gpu_runs_counts_by_its_flag(name, arguments, flops_per_element):
    work = work_of(Call(f"aten.{name}", arguments, (X,)))
    assert work.flops == flops_per_element * ELEMENTS


@pytest.mark.parametrize(
    ("put", "names"),
    [
        (lambda x, i, v: x.index_add(0, i, v), {"index_add"}),
        (lambda x, i, v: x.scatter_add(0, i[:, None].expand(2, 4), v), {"scatter_add"}),
        (lambda x, i, v: x.index_put((i,), v, accumulate=True), {"index_put"}),
        (lambda x, i, v: torch._index_put_impl_(x, [i], v), {"_index_put_impl_"}),
    ],
)
def test_what_is_put_counts_once_not_what_it_is_put_into(put, names):
    rows = entered(put, torch.zeros(9, 4), torch.tensor([1, 1]), torch.ones(2, 4))
    counts = {row.name.removeprefix("aten."): row.flops for row in rows if row.flops}
    assert counts == dict.fromkeys(names, 8)


def test_an_embeddings_gradient_adds_each_row_that_was_looked_up():
    look_up = lambda table: F.embedding(torch.tensor([1, 1, 4]), table)
    assert counted(look_up, torch.ones(9, 4), grad=True) == 3 * 4


@pytest.mark.parametrize(("shape", "targets"), [((5, 7), 5), ((2, 7, 3, 3), 18)])
def test_a_cross_entropy_picks_and_sums_one_logarithm_a_target(shape, targets):
    labels = torch.zeros(shape[0], *shape[2:], dtype=torch.int64)
    loss = lambda x: F.nll_loss(x, labels, reduction="sum")
    assert counted(loss, torch.rand(shape)) == 2 * targets
    assert counted(loss, torch.rand(shape), grad=True) == targets
