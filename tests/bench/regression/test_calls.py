"""Changes that the gate exists to stop, each planted in a block, and what has to be told; and what is no change."""

import pytest

from bench.regression import exact, worker
from bench.regression.calls import compare_calls
from bench.regression.requests import Ask

BLOCKS = '''
import random
from dataclasses import dataclass

import numpy
import torch
from torch import nn
from torch.nn.utils import parametrizations


@dataclass
class Out:
    main: object
    aux: object = None


class Block(nn.Module):
    """Does one thing as told; `new` is how the head does it."""

    def __init__(self, channels, kind, new):
        super().__init__()
        self.kind, self.new = kind, new
        if kind == "order" and new:
            self.b, self.a = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        else:
            self.a, self.b = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.norm, self.drop, self.calls = nn.BatchNorm2d(channels), nn.Dropout(0.5), 0
        self.register_buffer("scale", torch.tensor(-5.0 if kind == "buffer" and new else 2.0))
        self.table = torch.full((1,), 3.0 if kind == "table" and new else 2.0)
        grid = torch.arange(4.0)[:, None].expand(4, 5)
        self.register_buffer("grid", grid)
        self.register_buffer("places", torch.rand(5, 1).expand(5, 5))
        self.drawn = float(numpy.random.rand())
        if kind == "renamed" and new:
            self.c = nn.Conv2d(channels, channels, 1)
            del self.a
        if kind == "tied":
            self.b = parametrizations.weight_norm(nn.Conv2d(channels, channels, 1))
            self.b.bias = self.a.bias

    def forward(self, x):
        self.calls += 1
        return getattr(self, self.kind)(x)

    def plain(self, x):
        return self.b(self.a(x)) + self.grid[:, :, None].sum() * 0 + self.places[0, 0]

    order = tied = plain

    def same(self, x):
        return self.plain(x), None, x.argmax(1)

    def aux(self, x):
        return Out(self.a(x), [self.b(x) * (1.001 if self.new else 1.0)])

    def places_moved(self, x):
        return x.argmax(1) + int(self.new)

    def buffer(self, x):
        return self.a(x) * self.scale

    def table_used(self, x):
        return self.a(x)

    def fewer(self, x):
        return (self.a(x),) if self.new else (self.a(x), self.b(x))

    def double(self, x):
        return self.a(x).double() if self.new else self.a(x)

    def in_list(self, x):
        return [self.a(x)] if self.new else (self.a(x),)

    def bad(self, x):
        y = self.a(x)
        return y / (y - y.flatten()[0]) if self.new else y

    def bad_on_both(self, x):
        y = self.a(x)
        y.view(-1)[3] = float("nan")
        return y

    def in_place(self, x):
        return x.add_(self.a(x)) if self.new else x + self.a(x)

    def tired(self, x):
        return self.a(x) * (0 if self.new and self.calls > 1 else 1)

    def cached(self, x):
        if not self.new or self.calls == 1:
            self.kept = [self.a(x)]
        return self.kept[0]

    def reused(self, x):
        y = self.a(x)
        if not self.new:
            return y
        self.kept = getattr(self, "kept", None) or [torch.empty_like(y)]
        return self.kept[0].copy_(y)

    def numpys(self, x):
        return self.a(x) * float(numpy.random.rand()) + random.random() + self.drawn

    def renamed(self, x):
        return (self.c if self.new else self.a)(x)

    def counts(self, x):
        self.scale += float(self.new)
        return self.a(x)

    def eval_alone(self, x):
        y = self.a(x)
        return y * 2 if self.new and self.training else y

    def gradient(self, x):
        y = self.a(x)
        return y + (y - y.detach()) if self.new else y

    def detached(self, x):
        return self.a(x.detach()) if self.new else self.a(x)

    def statistics(self, x):
        y = self.a(x)
        if self.new and self.training:
            self.norm.momentum = 0.2
        return self.norm(y)

    def normed(self, x):
        return self.norm(self.a(x) + (0 if not self.new else 0.0))

    def dropped(self, x):
        return self.drop(self.a(x))

    def empty(self, x):
        return self.a(x), x[:0]

    def text(self, x):
        return self.a(x), "new" if self.new else "old"

    def number(self, x):
        return self.a(x), 2.5 + self.new


def make(kind, new):
    return lambda channels: Block(channels, kind, new)


for kind in [name for name in vars(Block) if not name.startswith("_")]:
    globals()[f"base_{kind}"], globals()[f"head_{kind}"] = make(kind, False), make(kind, True)
'''


@pytest.fixture
def changes(tmp_path, monkeypatch):
    """What is told of a block whose head does something in a new way: findings that are not SAME."""
    (tmp_path / "planted_blocks.py").write_text(BLOCKS)
    monkeypatch.syspath_prepend(tmp_path)

    def examine(kind, mode):
        records = [
            worker.examine_cell(
                Ask(
                    arm=f"planted_blocks:{side}_{kind}", size="6x4", channels=3, batch=2, mode=mode
                ),
                "cpu",
                weights=tmp_path / "weights",
                outputs=tmp_path / side,
            )
            for side in ("base", "head")
        ]
        assert [record.failure for record in records] == [None, None]
        agreement = compare_calls(tmp_path / "base", tmp_path / "head")
        findings = exact.compare_records(*records, agreement=agreement)
        ours = [each for each in findings if each.unit not in ("MAC", "calls", "bytes")]
        return {each.quantity: each.reason for each in ours if each.verdict != "SAME"}

    return examine


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    "kind", ["plain", "order", "tied", "same", "bad_on_both", "dropped", "empty", "numpys"]
)
def test_what_did_not_change_is_the_same(changes, kind, mode):
    assert changes(kind, mode) == {}


@pytest.mark.parametrize(
    ("kind", "quantity", "reason"),
    [
        ("aux", "outputs .aux[0]", "differs by "),
        ("places_moved", "outputs", "has 48 other whole numbers"),
        ("buffer", "outputs", "differs by 3.5e+00"),
        ("fewer", "outputs [1]", "is float32 (2, 3, 4, 6) in the base and nothing in the head"),
        ("double", "outputs", "is float32 (2, 3, 4, 6) in the base and float64 (2, 3, 4, 6) in"),
        ("in_list", "structure of outputs", "what the outputs are returned in"),
        ("bad", "outputs", "is not finite at 0 and 1 places, or in other ways"),
        (
            "in_place",
            "what a call leaves changed",
            "input 0 is as it was before in the base and float32 (2, 3, 4, 6) in",
        ),
        (
            "tired",
            "outputs of a later call",
            "output is what the first call gave in the base and float32 ",
        ),
        ("cached", "outputs of other inputs", "output differs by "),
        (
            "reused",
            "what a call leaves changed",
            "output of an earlier call is as it was before in the base and ",
        ),
        (
            "counts",
            "what a call leaves changed",
            "scale is as it was before in the base and float32 () in the head",
        ),
        ("text", "structure of outputs", "what the outputs are returned in"),
        ("number", "outputs [1]", "differs by 4.0e-01"),
    ],
)
def test_a_planted_change_is_told_with_its_place(changes, kind, quantity, reason):
    found = changes(kind, "eval")
    assert quantity in found
    assert reason in found[quantity]


def test_weights_that_the_head_does_not_have_are_named(changes):
    found = changes("renamed", "eval")
    assert found["outputs"].endswith(
        "; without the base's values of a.weight, a.bias, which the head does not have so"
    )


def test_a_constant_of_the_heads_own_is_named(changes):
    assert changes("buffer", "eval")["outputs"].endswith(
        "; with the head's own values of scale, which are neither trained nor drawn"
    )


@pytest.mark.parametrize(
    ("kind", "quantities"),
    [
        ("eval_alone", {"outputs in training", "gradients"}),
        ("gradient", {"gradients"}),
        ("detached", {"gradients"}),
        ("statistics", {"what a call leaves changed"}),
        ("normed", set()),
    ],
)
def test_what_changes_in_training_alone_is_told(changes, kind, quantities):
    assert changes(kind, "eval") == {}
    assert changes(kind, "train").keys() == quantities
