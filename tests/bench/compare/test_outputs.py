"""Outputs of two arms, kept in files: whatever is in them is compared, and what differs has its path."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn

from bench.compare import compare_outputs, compare_tensors
from bench.compare.outputs import save_outputs
from bench.workloads import Workload


@dataclass
class Data:
    out: object
    aux: object = None


class Pair(NamedTuple):
    out: object
    aux: object


class Gives(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        return self.outputs


def agreement(folder, first, second):
    """What is said of two modules that return so."""
    for name, outputs in {"a": first, "b": second}.items():
        work = Workload(module=Gives(outputs), inputs=(torch.ones(1),), mode="eval")
        save_outputs(work, folder / name)
    return compare_outputs(folder / "a", folder / "b")


def apart(folder, first, second):
    """Largest difference, or the reason why there is none, by the path of each tensor."""
    return {
        item.name: item.reason if item.max_relative_error is None else item.max_relative_error
        for item in agreement(folder, first, second).tensors
    }


ONE, OTHER = torch.tensor([1.0, -8.0]), torch.tensor([1.0, -6.0])


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda x: x, ""),
        (lambda x: {"out": x}, "['out']"),
        (lambda x: (ONE, [ONE, x]), "[1][1]"),
        (lambda x: Data(ONE, {"k": x}), ".aux['k']"),
        (lambda x: Pair(x, None), ".out"),
        (lambda x: (ONE, torch.complex(x, ONE)), "[1]"),
        (lambda x: torch.complex(ONE, x), ""),
        (lambda x: torch.complex(ONE, -x).conj(), ""),
        (lambda x: x.diag().to_sparse(), ""),
        (lambda x: x.diag().to_sparse_csr(), ""),
        (lambda x: [x.numpy()], "[0]"),
        (lambda x: [float(x[-1])], "[0]"),
    ],
)
def test_a_tensor_that_differs_is_found_wherever_it_lies(tmp_path, wrap, path):
    differences = apart(tmp_path, wrap(ONE), wrap(OTHER))
    assert differences.pop(path) == 0.25
    assert set(differences.values()) <= {0.0}
    assert set(apart(tmp_path, wrap(ONE), wrap(ONE)).values()) == {0.0}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_parts_of_a_nested_tensor_are_compared(tmp_path, layout):
    sides = [torch.nested.as_nested_tensor([ONE[:1], part], layout=layout) for part in (ONE, OTHER)]
    assert apart(tmp_path, *sides) == {"": 0.25}


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (
            torch.zeros(2),
            torch.zeros(3),
            "is float32 (2,) in the first and float32 (3,) in the second",
        ),
        (ONE, ONE.double(), "is float32 (2,) in the first and float64 (2,) in the second"),
        (
            ONE,
            ONE.diag().to_sparse(),
            "is float32 (2,) in the first and float32 (2, 2) sparse_coo in the second",
        ),
        (torch.tensor([3, 4]), torch.tensor([3, 5]), "has 1 other whole numbers"),
        (torch.tensor([2**53]), torch.tensor([2**53 + 1]), "has 1 other whole numbers"),
        (ONE > 0, ONE > 9, "has 1 other whole numbers"),
        (
            ONE / torch.tensor([1, 0]),
            ONE / torch.tensor([1, -0.0]),
            "is not finite at 1 and 1 places, or in other ways",
        ),
        (ONE, ONE * math.nan, "is not finite at 0 and 2 places, or in other ways"),
        (ONE * math.nan, ONE, "is not finite at 2 and 0 places, or in other ways"),
        (
            ONE.diag().to_sparse(),
            (ONE - 1).diag().to_sparse(),
            "has other places that are not zero",
        ),
    ],
)
def test_what_is_another_tensor_says_how(tmp_path, first, second, reason):
    found = agreement(tmp_path, first, second)
    assert found.tensors[0].reason == reason
    assert (found.max_relative_error, found.reason) == (None, f"output {reason}")


@pytest.mark.parametrize(
    ("first", "second", "path", "reason"),
    [
        (
            {"out": ONE},
            {"out": ONE, "aux": ONE},
            "['aux']",
            "is nothing in the first and float32 (2,) in the second",
        ),
        ((ONE, ONE), ONE, "[0]", "is float32 (2,) in the first and nothing in the second"),
        ((ONE, ONE), (ONE, None), "[1]", "is float32 (2,) in the first and nothing in the second"),
        (ONE, None, "", "is float32 (2,) in the first and nothing in the second"),
    ],
)
def test_what_one_side_alone_returns_is_a_difference(tmp_path, first, second, path, reason):
    assert apart(tmp_path, first, second)[path] == reason


@pytest.mark.parametrize(
    ("first", "second", "structures"),
    [
        ((ONE, None), (ONE, "x"), ("tuple([0]: *, [1]: None)", "tuple([0]: *, [1]: 'x')")),
        ([ONE], (ONE,), ("list([0]: *)", "tuple([0]: *)")),
        (ONE, ONE, ("*", "*")),
    ],
)
def test_what_the_outputs_are_in_is_kept(tmp_path, first, second, structures):
    found = agreement(tmp_path, first, second)
    assert found.structures == structures
    assert found.max_relative_error == 0.0


def test_what_is_not_finite_on_both_sides_is_said_beside_the_number(tmp_path):
    strange = torch.tensor([math.nan, math.inf, -4.0])
    found = agreement(tmp_path, strange, strange + 1)
    assert found.tensors[0].max_relative_error == 0.25
    note = "is not finite at 2 of 3 places, the same ones on both sides"
    assert found.tensors[0].reason == note
    assert (found.max_relative_error, found.reason) == (None, f"output {note}")


def test_every_output_is_divided_by_its_own_largest_value_of_the_first(tmp_path):
    far = [torch.tensor([4.0, 0.0]), torch.tensor([1000.0])]
    near = [torch.tensor([16.0, 0.0]), torch.tensor([1001.0])]
    assert apart(tmp_path, far, near) == {"[0]": 3.0, "[1]": 1e-3}
    assert agreement(tmp_path, far, near).max_relative_error == 3.0


def test_where_the_first_is_zero_the_seconds_largest_value_counts(tmp_path):
    assert apart(tmp_path, torch.zeros(2), ONE) == {"": 1.0}


def test_the_end_of_a_large_output_is_compared_as_well(tmp_path):
    one = torch.ones(2**22 + 1)
    other = one.clone()
    other[-1] = 0.5
    assert apart(tmp_path, one, other) == {"": 0.5}


def test_a_difference_larger_than_the_format_holds_is_a_number(tmp_path):
    one = torch.tensor([60000.0], dtype=torch.float16)
    assert apart(tmp_path, one, -one) == {"": 2.0}


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ([torch.zeros(2), torch.zeros(1)], "all outputs are zero"),
        ([ONE, torch.ones(0, 2)], "output [1] is empty"),
        ([], "no output is a tensor"),
        (["text", None], "no output is a tensor"),
    ],
)
def test_outputs_that_agree_about_nothing_have_no_number(tmp_path, outputs, reason):
    found = agreement(tmp_path, outputs, outputs)
    assert (found.max_relative_error, found.reason) == (None, reason)


def test_zeros_beside_others_do_not_hide_them(tmp_path):
    assert (
        agreement(tmp_path, [torch.zeros(2), ONE], [torch.zeros(2), OTHER]).max_relative_error
        == 0.25
    )


def test_outputs_are_left_in_evaluation_and_the_mode_is_put_back(tmp_path):
    module = nn.Dropout(0.5)
    work = Workload(module=module.train(), inputs=(torch.ones(4, 4),), mode="train")
    save_outputs(work, tmp_path / "out.pt")
    left = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(left["outputs"][""][1][0], torch.ones(4, 4))
    assert module.training


def test_what_is_kept_does_not_change_when_the_module_writes_into_it(tmp_path):
    outputs = torch.ones(2)
    work = Workload(module=Gives(outputs), inputs=(torch.ones(1),), mode="eval")
    save_outputs(work, tmp_path / "a")
    kept = torch.load(tmp_path / "a", weights_only=True)["outputs"][""][1][0]
    outputs.zero_()
    assert torch.equal(kept, torch.ones(2))


def test_what_is_zero_but_for_rounding_is_held_against_the_largest_of_all():
    sides = [{"w": ("", [ONE]), "b": ("", [ONE * tiny])} for tiny in (1e-9, -1e-9)]
    found = compare_tensors(*sides, negligible=1e-2)
    assert [item.max_relative_error for item in found] == pytest.approx([0.0, 2e-7], rel=1e-3)
    assert compare_tensors(*sides)[1].max_relative_error == pytest.approx(2.0)
