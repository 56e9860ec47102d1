"""The comparison before a rewritten module is returned: it sees what is wrong, and nothing else."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ann import build
from ann.fast import optimize
from ann.fast.blocks import FastNonLocal
from ann.fast.check import can_be_called
from ann.fast.folded import FoldedNonLocal
from tests.ann.fast.test_fast import made
from tests.ann.fast.test_preconditions import NormAhead, tiny

MODES = ("inference", "training")


def plant(monkeypatch, kind, name, change):
    """Have a method's result changed in the rewritten block."""
    plain = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda *given, **named: change(plain(*given, **named)))


@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_result_is_refused_with_how_far_it_is_off(monkeypatch, mode):
    plant(monkeypatch, FastNonLocal, "finish", lambda out: 1.01 * out)
    with pytest.raises(
        ValueError, match=r"NonLocal is not equal .*\(off by 1\.0e-02 of the result"
    ):
        optimize(made("apnb", dtype=torch.float32), mode)


def test_without_the_check_it_is_returned(monkeypatch):
    plant(monkeypatch, FastNonLocal, "finish", lambda out: 1.01 * out)
    assert isinstance(optimize(made("apnb"), check=False), FoldedNonLocal)


def test_weights_at_zero_hide_no_error_of_a_training_form(monkeypatch):
    plant(monkeypatch, FastNonLocal, "attend", lambda found: tuple(2 * each for each in found))
    with pytest.raises(ValueError, match="NonLocal is not equal"):
        optimize(build.block("apnb", channels=8, key_channels=4, grids=(1, 2)), "training")


def test_a_wrong_gradient_is_refused(monkeypatch):
    plant(monkeypatch, FastNonLocal, "answers", lambda value: value.detach())
    plain = made("apnb")
    assert optimize(plain)
    with pytest.raises(ValueError, match="NonLocal is not equal"):
        optimize(plain, "training")


def test_a_wrong_statistic_is_refused(monkeypatch):
    monkeypatch.setattr("ann.fast.blocks.project_twice", lambda module, x, **_: module(x))
    with pytest.raises(ValueError, match="NonLocal is not equal"):
        optimize(made("apnb"), "training")


def test_a_wrong_network_is_refused(monkeypatch):
    monkeypatch.setattr("ann.fast.folded._behind", lambda kernel, weight: kernel[:, : len(weight)])
    with pytest.raises(ValueError, match="SegmentationNetwork fails where the given one runs"):
        optimize(tiny())


def test_a_block_in_a_network_that_takes_no_small_image_is_compared_by_itself(monkeypatch):
    class Picky(NormAhead):
        def forward(self, x):
            assert x.shape[2] > 300, "large images only"
            return super().forward(x)

    plain = tiny()
    plain.backbone = Picky().double().eval()
    assert optimize(plain)
    plant(monkeypatch, FastNonLocal, "attend", lambda found: 2 * found)
    with pytest.raises(ValueError, match="NonLocal is not equal"):
        optimize(plain)


@pytest.mark.parametrize("mode", MODES)
def test_neither_the_module_nor_random_numbers_are_changed(mode):
    plain = made("apnb-bottleneck", dropout=0.5).train()
    state, seed = copy.deepcopy(plain.state_dict()), torch.get_rng_state()
    optimize(plain, mode)
    assert plain.training
    assert all(part.training for part in plain.modules())
    assert_close(plain.state_dict(), state, rtol=0, atol=0)
    assert_close(torch.get_rng_state(), seed, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in plain.parameters())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_rounding_in_sharp_attention_is_no_difference(dtype, mode):
    plain = made("nl", dtype=torch.float32).to(dtype)
    with torch.no_grad():
        for conv in (plain.query, plain.key):
            conv.weight.mul_(40)
    assert optimize(plain, mode)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_a_number_is_not_compared(mode):
    plain = made("apnb")
    with torch.no_grad():
        plain.value.weight[0, 0] = float("nan")
    assert optimize(plain, mode)


@pytest.mark.parametrize("mode", MODES)
def test_it_is_made_under_whatever_is_in_force(mode):
    plain = made("apnb", dtype=torch.float32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        assert optimize(plain, mode)


def test_tensors_without_values_can_not_be_called():
    assert can_be_called(made("apnb"))
    assert not can_be_called(made("apnb").to("meta"))
    assert not can_be_called(nn.ReLU())


@pytest.mark.parametrize("mode", MODES)
def test_what_has_no_values_is_returned_without_a_check(monkeypatch, mode):
    monkeypatch.setattr("ann.fast._compare", lambda *_: 1 / 0)
    assert optimize(made("apnb").to("meta"), mode)


def test_a_network_is_compared_whole(monkeypatch):
    seen = []
    plain = tiny()
    monkeypatch.setattr("ann.fast.check_network", lambda *given: seen.append(given[0]))
    optimize(plain)
    assert seen == [plain]
