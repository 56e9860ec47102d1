"""A module takes another one's weights, whatever they are held in, and keeps what is part of its function."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from bench.workloads import is_same, state_of, take_state


class Holds(nn.Module):
    """One tensor, held in some way, which its output shows."""

    def __init__(self, put):
        super().__init__()
        put(self)

    def forward(self):
        (value,) = state_of(self).values()
        return value


def attribute(value):
    return lambda self: setattr(self, "table", value())


def buffer(value, **options):
    return lambda self: self.register_buffer("table", value(), **options)


def parameter(value, **options):
    return lambda self: self.register_parameter("table", nn.Parameter(value(), **options))


def inference():
    with torch.inference_mode():
        return torch.randn(2, 2)


def overlapping():
    return torch.randn(3).as_strided((2, 2), (1, 1))


def expanded():
    return torch.randn(2, 1).expand(2, 2)


def drawn():
    return torch.randn(2, 2)


@pytest.mark.parametrize(
    "put",
    [
        *(buffer(value) for value in (drawn, expanded, overlapping, inference)),
        *(attribute(value) for value in (drawn, expanded, overlapping, inference)),
        attribute(lambda: {"x": [drawn()]}),
        buffer(drawn, persistent=False),
        buffer(lambda: drawn().to_sparse()),
        buffer(lambda: torch.complex(drawn(), drawn())),
        parameter(drawn),
        parameter(expanded),
        parameter(drawn, requires_grad=False),
    ],
)
def test_what_is_drawn_or_trained_is_taken_wherever_it_is_held(put):
    base, head = Holds(put), Holds(put)
    assert not is_same(base(), head())
    kept = take_state(head, state_of(base), rebuild=lambda: Holds(put))
    assert kept == ()
    assert is_same(base(), head())
    assert base() is not head()


@pytest.mark.parametrize("hold", [buffer, attribute])
def test_a_constant_is_part_of_the_function_and_is_kept(hold):
    base, head = (Holds(hold(lambda value=value: torch.full((2,), value))) for value in (2.0, -5.0))
    kept = take_state(head, state_of(base), rebuild=lambda: head)
    assert kept == ("table",)
    assert head().tolist() == [-5.0, -5.0]


def test_the_first_value_of_what_is_trained_is_no_part_of_the_function():
    base, head = (
        Holds(parameter(lambda value=value: torch.full((2,), value))) for value in (2.0, -5.0)
    )
    assert take_state(head, state_of(base), rebuild=lambda: head) == ()
    assert head().tolist() == [2.0, 2.0]


def test_nothing_is_built_again_where_all_is_equal_or_trained():
    base, head = (nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)) for _ in "ab")

    def refuse():
        pytest.fail("built again")

    assert take_state(head, state_of(base), rebuild=refuse) == ()
    assert is_same(head[0].weight, base[0].weight)


def test_tied_and_parametrized_weights_are_taken():
    def build():
        module = nn.Sequential(nn.Linear(2, 2), parametrizations.weight_norm(nn.Linear(2, 2)))
        module[0].bias = module[1].bias
        return module

    base, head = build(), build()
    take_state(head, state_of(base), rebuild=build)
    assert head[0].bias is head[1].bias
    x = torch.randn(1, 2)
    assert torch.equal(base(x), head(x))


def test_what_has_another_name_or_shape_is_left():
    base, head = nn.Linear(2, 2), nn.Linear(2, 3)
    before = head.weight.clone()
    take_state(head, state_of(base), rebuild=lambda: head)
    assert torch.equal(head.weight, before)


def test_what_can_neither_be_copied_into_nor_replaced_has_its_name_and_the_reason():
    base, head = (Holds(attribute(lambda: [expanded()])) for _ in "ab")
    with pytest.raises(ValueError, match=r"'table\[0\]' can't take .*: unsupported operation"):
        take_state(head, state_of(base), rebuild=lambda: Holds(attribute(lambda: [expanded()])))


def test_not_a_number_is_itself_and_nothing_else():
    strange = torch.tensor([torch.nan, 1.0])
    assert is_same(strange, strange.clone())
    assert not is_same(strange, torch.zeros(2))
