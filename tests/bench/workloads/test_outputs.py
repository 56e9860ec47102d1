"""What a module may return, and the names of the tensors in it."""

from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from bench.workloads import leaves, tensor_leaves

ONE, TWO = torch.ones(1), torch.ones(2)
Named = namedtuple("Named", ["out", "aux"])  # noqa: PYI024  # as people write it


@dataclass
class Data:
    out: object
    aux: object = None


class SlotsOnly:
    __slots__ = ("out",)

    def __init__(self):
        self.out = ONE


class Registered:
    def __init__(self, *parts):
        self.parts = parts


pytree.register_pytree_node(
    Registered, lambda item: (list(item.parts), None), lambda parts, _: Registered(*parts)
)


def sizes(outputs):
    return {path: leaf.numel() for path, leaf in tensor_leaves(outputs).items()}


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (ONE, {"": 1}),
        (nn.Parameter(TWO), {"": 2}),
        ((ONE, [TWO]), {"[0]": 1, "[1][0]": 2}),
        ({"out": ONE, 3: {"k": TWO}}, {"['out']": 1, "[3]['k']": 2}),
        (OrderedDict(out=ONE), {"['out']": 1}),
        (UserDict(out=ONE), {"['out']": 1}),
        (deque([ONE, TWO]), {"[0]": 1, "[1]": 2}),
        (Named(ONE, (TWO,)), {".out": 1, ".aux[0]": 2}),
        (Data(ONE, [TWO]), {".out": 1, ".aux[0]": 2}),
        (Registered(ONE, Registered(TWO)), {"[0]": 1, "[1][0]": 2}),
        (SimpleNamespace(out=ONE, further={"k": TWO}), {".out": 1, ".further['k']": 2}),
        (SlotsOnly(), {".out": 1}),
        (torch.max(torch.eye(2), 0), {"[0]": 2, "[1]": 2}),
        (type("Own", (list,), {})([ONE]), {"[0]": 1}),
        (type("Own", (tuple,), {})([ONE]), {"[0]": 1}),
        ((None, ONE, 3, "text"), {"[1]": 1}),
        (nn.Linear(1, 1), {}),
        (None, {}),
        ([], {}),
    ],
)
def test_every_tensor_is_named_by_its_path(outputs, expected):
    assert sizes(outputs) == expected


def test_what_holds_itself_is_entered_once():
    loop = [ONE]
    loop.append(loop)
    thing = SimpleNamespace(out=ONE)
    thing.me = thing
    assert sizes((loop, thing)) == {"[0][0]": 1, "[1].out": 1}


def test_what_is_no_tensor_is_a_leaf_too():
    assert leaves((None, {"k": 2.5}, "text")) == {"[0]": None, "[1]['k']": 2.5, "[2]": "text"}


def test_of_a_strange_object_nothing_but_tensors_counts():
    thing = SimpleNamespace(out=ONE, made_at=12.5)
    assert list(leaves([thing])) == ["[0].out"]


def test_objects_that_hold_each_other_in_many_ways_are_entered_once():
    things = [SimpleNamespace() for _ in range(40)]
    for thing in things:
        thing.others = things
    things[7].out = ONE
    assert list(tensor_leaves(things[0]).values()) == [ONE]
