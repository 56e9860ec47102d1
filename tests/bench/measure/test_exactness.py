"""Faults planted in a module's outputs and gradients, of which each must be found beside its float64 reference."""

import math
from dataclasses import replace

import pytest
import torch

from ann import build
from ann.catalogue import BLOCKS
from ann.spec import Size
from bench import look
from bench.measure import exactness
from bench.workloads import workload
from experiments.spec import Cell
from tests.standing_in import stand_in

NB = Cell(
    experiment="test",
    axes={},
    subject=replace(BLOCKS["nb"], channels=32, key_channels=16),
    size=Size(width=23, height=17),
    probes=(),
)


def planted(monkeypatch, plant, **changes):
    """What is seen of a kind whose module has had something done to it, its reference not."""

    def make(*given, **named):
        work = made(*given, **named)
        plant(work.module)
        return work

    made = workload.make_workload
    cell = replace(NB, **changes)
    seen = look.KindResult(what="")
    with monkeypatch.context() as patch:
        stand_in(patch, workload, "make_workload", make)
        seen.error, seen.gradient_error = exactness.float64_errors(cell, "cpu")
    return look._wrong(cell, seen)


def gradients_times(factor, *, but):
    def plant(module):
        for name, weight in module.named_parameters():
            if name != but:
                weight.register_hook(lambda gradient: gradient * factor)

    return plant


DNL = replace(BLOCKS["dnl"], channels=32, key_channels=16)


@pytest.mark.parametrize("factor", [0.0, 1.01, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("subject", "but"),
    [(NB.subject, "key.conv.weight"), (DNL, "out_norm.bias")],
    ids=["nb", "dnl"],
)
def test_a_wrong_gradient_among_right_ones_is_found(monkeypatch, subject, but, factor):
    made = build.block(subject)
    assert but in dict(made.named_parameters())
    plant = gradients_times(factor, but=but)
    assert planted(monkeypatch, plant, subject=subject, mode="train").startswith("gradients differ")
    fine = planted(monkeypatch, lambda module: None, subject=subject, mode="train")
    assert fine == ""


def test_a_map_that_gets_no_gradient_is_found(monkeypatch):
    def detach(module):
        module.register_forward_pre_hook(lambda _, maps: tuple(x.detach() for x in maps))

    assert planted(monkeypatch, detach, subject=DNL, mode="train").startswith("gradients differ")


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [("float32", 1.001), ("float16", 1.01), ("bfloat16", 1.04), ("float32", float("nan"))],
)
def test_an_output_that_is_off_by_a_factor_is_found(monkeypatch, dtype, factor):
    def scale(module):
        module.register_forward_hook(lambda _, maps, output: output * factor)

    assert planted(monkeypatch, scale, dtype=dtype).startswith("outputs differ")
    assert planted(monkeypatch, lambda module: None, dtype=dtype) == ""


def test_an_output_that_is_no_number_is_found_among_others(monkeypatch):
    def spoil(module):
        module.register_forward_hook(lambda _, maps, output: (output[0], output[1] * math.nan))

    stand_in(monkeypatch, workload, "build_subject", lambda _: Twice())
    assert planted(monkeypatch, spoil).startswith("outputs differ")


class Twice(torch.nn.Module):
    """Two outputs, with dropout that training would draw."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop = torch.nn.Conv2d(32, 4, 1), torch.nn.Dropout(0.5)

    def forward(self, x):
        y = self.drop(self.layer(x))
        return y, 2 * y


def test_dropout_is_left_out_of_the_comparison(monkeypatch):
    stand_in(monkeypatch, workload, "build_subject", lambda _: Twice())
    assert planted(monkeypatch, lambda module: None, mode="train") == ""


class Several(torch.nn.Module):
    """A complex output, places, and none, in a dict."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(32, 8, 1)

    def forward(self, x):
        spectrum = torch.fft.rfft2(self.layer(x))
        return {"spectrum": spectrum, "places": spectrum.abs().argmax(1), "none": None}


def hook(change):
    return lambda module: module.register_forward_hook(lambda _, maps, output: change(output))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda out: out, ""),
        (lambda out: {**out, "spectrum": out["spectrum"].conj()}, "outputs differ"),
        (lambda out: {**out, "places": out["places"] + 1}, "outputs differ"),
        (lambda out: {**out, "further": out["spectrum"]}, "outputs differ"),
        (lambda out: {"spectrum": out["spectrum"]}, "outputs differ"),
        (lambda out: {}, "outputs differ"),
    ],
)
def test_every_tensor_of_an_output_is_compared_by_its_path(monkeypatch, change, expected):
    stand_in(monkeypatch, workload, "build_subject", lambda _: Several())
    seen = planted(monkeypatch, hook(change))
    assert seen == "" if not expected else seen.startswith(expected)
