"""Operators that move or name data: each through torch's own functions, free of FLOPs."""

import functools

import pytest
import torch
import torch.nn.functional as F

from bench.predict import formulas
from bench.predict import ledger as flops
from bench.predict.formulas import plain_name

INDEX = torch.tensor([0, 1])
MASK = torch.tensor([True, False, False, True, True, False])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(2, -1).unbind(0),
        lambda x: (x.split(1), x.split([1, 1]), x.chunk(2), x.unsafe_split(1), x.unsafe_chunk(2)),
        lambda x: (x.unfold(0, 2, 1), x.diagonal(), x.as_strided((2,), (1,)), x.narrow(0, 0, 1)),
        lambda x: (x.movedim(0, 1), x.mT, x[0, 0].T, x.view_as(x), torch.ops.aten.alias(x)),
        lambda x: (x[0, 0, 0, 0].item(), torch.tensor(1.0), x.clone().set_(x)),
        lambda x: torch.view_as_real(torch.view_as_complex(x.view(-1, 2))),
        lambda x: (x.index_select(0, INDEX), x[INDEX], x.gather(0, x.long())),
        lambda x: (x.masked_select(MASK), x.masked_fill(MASK, 1.0), x.masked_scatter(MASK, x)),
        lambda x: (x.flip(0), x.roll(1), x.repeat(2, 1, 1, 1), x.repeat_interleave(INDEX, 0)),
        lambda x: (torch.stack([x, x]), torch.full((2,), 1.0), torch.full_like(x, 2.0)),
        lambda x: (x.new_full((2,), 1.0), x.new_ones(2), x.new_zeros(2), torch.zeros_like(x)),
        lambda x: (torch.arange(3), torch.eye(2), torch.linspace(0, 1, 3), x.clone().fill_(1)),
        lambda x: (torch.ops.aten.lift(x), torch.ops.aten.is_same_size(x, x), x.new_empty(2)),
        lambda x: torch.ops.aten._reshape_alias(x, [6], [1]),
        lambda x: (torch.empty_strided((2,), (1,)), torch.empty_permuted((2, 1), (0, 1))),
        lambda x: (x.clone().resize_(3), x.triu(), x.tril(), x.sort(), x.topk(1), x.nonzero()),
        lambda x: (x.scatter(0, x.long(), x), x.index_fill(0, INDEX, 1), x.index_copy(0, INDEX, x)),
        lambda x: (F.pad(x, (1, 1, 1, 1), "reflect"), F.pad(x, (1, 1, 1, 1), "replicate")),
        lambda x: (F.pixel_unshuffle(x, 2), F.pixel_shuffle(x.view(1, 4, -1, 2), 2)),
        lambda x: (F.unfold(x, 2), F.channel_shuffle(x, 3), F.pad(x, (1, 1))),
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
        lambda x: F.interpolate(x[0], scale_factor=2, mode="nearest-exact"),
        lambda x: F.interpolate(x[0], scale_factor=2, mode="nearest"),
        lambda x: F.interpolate(x[None], scale_factor=2, mode="nearest"),
        lambda x: (torch.rand(2), torch.randn(2), torch.rand_like(x), torch.randn_like(x)),
        lambda x: (torch.randint(3, (2,)), torch.randperm(3), x.clone().normal_().uniform_()),
        lambda x: (x.clone().exponential_(), x.clone().random_(), x.clone().bernoulli_()),
        lambda x: F.embedding(INDEX, x.view(-1, 2)),
        lambda x: F.embedding(INDEX, x.view(-1, 2).clone(), max_norm=1.0),
        lambda x: (torch.slice_scatter(x, x[:1], 0, 0, 1), torch.select_scatter(x, x[0], 0, 0)),
        lambda x: (torch.as_strided_scatter(x, x[0, 0, 0], (6,), (1,)), torch.diagonal_copy(x)),
    ],
)
def test_what_moves_or_names_data_computes_nothing(function):
    x = torch.zeros(2, 3, 8, 6)
    with flops.Ledger() as ledger, torch.no_grad():
        function(x)
    assert [row for row in ledger.operators if row.status != "free" or row.flops] == []


@pytest.mark.parametrize(
    "function", [lambda x: x[0], lambda x: x[:1], lambda x: x.unfold(0, 2, 2), lambda x: x.mT]
)
def test_going_back_through_a_view_computes_nothing(function):
    made = function(torch.ones(4, 6, requires_grad=True))
    start = torch.ones_like(made)
    with flops.Ledger() as ledger:
        made.backward(start)
    assert [row for row in ledger.operators if row.status != "free" or row.flops] == []


def test_each_declared_name_is_an_operators_of_torch_without_the_mark_of_its_in_place_form():
    names = {*formulas.COUNTS, *formulas.VIEWS, *formulas.MOVES}
    assert [name for name in names if plain_name(f"aten.{name}") != f"aten.{name}"] == []
    has = functools.partial(hasattr, torch.ops.aten)
    assert [name for name in names if not has(name) and not has(f"{name}_")] == []
