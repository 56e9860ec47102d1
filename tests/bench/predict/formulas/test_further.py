"""Element-wise operators that blocks seldom have, and their ways back, against counts by hand."""

import pytest
import torch
import torch.nn.functional as F

from bench.predict.formulas import Call, work_of
from tests.bench.predict.counting import counted, entered

X = torch.rand(2, 4, 8, 6) * 0.5 + 0.25
ELEMENTS = X.numel()


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (torch.special.i0, 1),
        (torch.lgamma, 1),
        (torch.asin, 1),
        (torch.cosh, 1),
        (lambda x: x.heaviside(x), 1),
        (lambda x: x.hypot(x), 4),  # two squares, sum, root
        (lambda x: x.logaddexp(x), 6),  # maximum, difference, size, exp, log1p, sum
        (lambda x: torch.xlogy(x, x), 2),
        (torch.logit, 3),  # difference, division, log
        (torch.sinc, 3),
        (lambda x: x.cummax(0), 1),
        (lambda x: x.logcumsumexp(0), 6),
        (F.celu, 4),
        (F.hardshrink, 2),
        (F.softshrink, 3),
        (F.logsigmoid, 6),
        (lambda x: F.glu(x, 1), 2.5),  # half the outputs, sigmoid and product
        (lambda x: F.rrelu(x, training=True), 2),
        (lambda x: torch.linalg.cross(x[..., :3], x[..., :3]), 1.5),
        (lambda x: F.fold(F.unfold(x, 1), (8, 6), 1), 1),
        (lambda x: x.histc(4), 3),
        (lambda x: (x > 0).count_nonzero(), 2),
        (lambda x: x.renorm(2, 0, 1.0), 3),
        (lambda x: torch.dist(x, x), 3),
        (lambda x: F.mse_loss(x, x), 3),
        (lambda x: F.mse_loss(x, x, reduction="none"), 2),
        (lambda x: F.smooth_l1_loss(x, x), 6),
        (lambda x: F.binary_cross_entropy(x, x), 8),
        (lambda x: torch.bucketize(x, torch.arange(7.0)), 3),  # of seven bounds three halvings
        (lambda x: torch.zeros_like(x).scatter_reduce(0, torch.zeros_like(x).long(), x, "amax"), 1),
        (lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), 9),
        (lambda x: F.grid_sample(x, torch.zeros(2, 8, 6, 2), align_corners=False), 7),
        (lambda x: F.grid_sample(x, torch.zeros(2, 8, 6, 2), "nearest", align_corners=False), 0),
        (lambda x: F.grid_sample(x, torch.zeros(2, 8, 6, 2), "bicubic", align_corners=False), 31),
        (lambda x: F.grid_sample(x[None], torch.zeros(1, 4, 8, 6, 3), align_corners=False), 15),
        # To twice the size: of a filter of two taps each output has two but at the ends, so 3.
        (
            lambda x: F.interpolate(x[..., :1, :1], size=(8, 6), mode="bilinear", antialias=True),
            1 / 48 * (6 + 48),
        ),
    ],
)
def test_a_composite_function_is_the_sum_of_its_parts(function, parts):
    assert counted(function, X.clone()) == round(parts * ELEMENTS)


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (F.elu, 3),
        (F.softplus, 4),
        (F.hardsigmoid, 4),
        (F.hardswish, 5),
        (F.logsigmoid, 5),
        (F.softshrink, 2),
        (lambda x: F.prelu(x, torch.ones(1)), 3),
        (lambda x: F.glu(x, 1), 4.5),
        (lambda x: F.pad(x[0], (1, 1), "reflect"), 8 / 6 / 2),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), 4 * 32),
        (lambda x: F.interpolate(x[0], scale_factor=2, mode="linear"), 4),
        (lambda x: F.interpolate(x[0], scale_factor=2, mode="nearest"), 1),
    ],
)
def test_going_back_is_the_sum_of_its_parts(function, parts):
    assert counted(function, X, grad=True) == pytest.approx(parts * ELEMENTS)


def test_a_sample_goes_back_to_the_map_and_to_its_place():
    # The map 8 for each gradient; the place a difference along either axis, its product and sum.
    grid = torch.zeros(2, 3, 3, 2)
    back = lambda x, g: F.grid_sample(x, g, align_corners=False)
    assert counted(back, X, grid, grad=True) == 2 * 4 * 9 * (8 + 2 * (7 + 2))


def test_a_smaller_map_without_aliases_is_two_filters_as_long_as_the_step():
    shrink = lambda x: F.interpolate(x, size=(4, 3), mode="bilinear", antialias=True)
    # Along rows of 6 to 3 the filters have 3, 4 and 3 taps; of 8 to 4: 3, 4, 4, 3.
    rows, columns = 8 * (2 * 10 - 3), 3 * (2 * 14 - 4)
    assert counted(shrink, X) == 8 * (rows + columns)


def test_a_bag_of_rows_sums_those_that_were_looked_up():
    bag = lambda table: F.embedding_bag(torch.tensor([0, 1, 1, 3]), table, torch.tensor([0, 2]))
    rows = entered(bag, torch.ones(5, 7))
    assert {row.name: row.flops for row in rows}["aten._embedding_bag_forward_only"] == 4 * 7


@pytest.mark.parametrize("lengths", [(6, 4), "tensor"])
def test_an_alignment_meets_each_step_with_each_place(lengths):
    scores = torch.rand(6, 2, 5).log_softmax(-1)
    steps, places = (torch.tensor([6, 4]), torch.tensor([2, 1]))
    given = (steps, places) if lengths == "tensor" else ((6, 4), (2, 1))
    rows = entered(lambda: F.ctc_loss(scores, torch.ones(2, 2).long(), *given, reduction="none"))
    (loss,) = [row for row in rows if "ctc" in row.name]
    assert loss.flops == 13 * (6 * 5 + 4 * 3)


def test_lengths_that_have_no_values_are_no_count():
    lengths = torch.empty(2, device="meta")
    arguments = {"input_lengths": lengths, "target_lengths": lengths, "log_probs": X}
    assert work_of(Call("aten._ctc_loss", arguments, X)) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.kthvalue(1), x.median(), x.mode(), x.unique(), torch.unique_consecutive(x)),
        lambda x: (
            torch.diag_embed(x),
            x.diagonal_scatter(x.diagonal()),
            x.rot90(),
            x.nan_to_num(),
        ),
        lambda x: (
            torch.block_diag(x[0, 0], x[0, 0]),
            x.take(torch.tensor([1])),
            torch.tril_indices(3, 3),
        ),
        lambda x: (F.pad(x[0], (1, 1), "reflect"), F.pad(x[None], (1, 1, 1, 1, 1, 1), "replicate")),
        lambda x: (
            torch.view_as_complex(x[..., :2]).conj(),
            x.resolve_neg(),
            x.split_with_sizes([1, 1]),
        ),
        lambda x: (x.clone().geometric_(0.5), x.clone().cauchy_(), torch.poisson(x)),
        lambda x: (torch.ops.aten.view_copy(x, [-1]), torch.ops.aten.t_copy(x[0, 0])),
        lambda x: torch.profiler.record_function("part").__enter__(),
    ],
)
def test_what_moves_or_names_data_computes_nothing(function):
    rows = entered(function, X.clone())
    assert [row for row in rows if row.status != "free" or row.flops] == []
