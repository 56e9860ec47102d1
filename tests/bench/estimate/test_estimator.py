"""Estimates of ledgers: every operator by its class, its interval and what it is bound by."""

from functools import partial

import pytest
import torch
from torch import nn

from ann.spec import Size
from bench.analysis import DEVICES, IEEE, Policy, floor_total_s, floors
from bench.estimate import Estimator
from bench.predict import fake
from bench.predict.ledger import Ledger
from bench.predict.predict import predict_cell
from bench.records import Alike, Operator
from experiments.select import block_cell

H100 = DEVICES["h100"]
TF32 = Policy(convolution="tf32", product="tf32")


def ledger_of(module, *shapes):
    with fake.on("cuda"), torch.no_grad():
        made = fake.replace_tensors(module, partial(fake.as_fake, device="cuda"))
        maps = [fake.as_fake(torch.empty(shape, device="meta"), "cuda") for shape in shapes]
        with Ledger() as ledger:
            made(*maps)
    return ledger.operators


def block_ledger(name, **settings):
    usual = {"channels": 2048, "key_channels": 256, "batch": 1, "dtype": "float32", "mode": "eval"}
    cell = block_cell(name, Size(width=256, height=128), protocol="strict", **{**usual, **settings})
    return predict_cell(cell).counts.ledger


@pytest.fixture(scope="module")
def nb():
    return block_ledger("nb")


@pytest.mark.parametrize("device", ["titan-xp", "v100", "a100-80gb", "h100", "h200", "l4", "t4"])
def test_an_estimate_is_no_less_than_its_floor(nb, device):
    sheet = DEVICES[device]
    estimates = Estimator(sheet).estimates(nb)
    for estimate, floor in zip(estimates, floors(nb, sheet.ceilings), strict=True):
        assert estimate.time_s >= floor.time_s, estimate.name
        assert estimate.low_s <= estimate.time_s <= estimate.high_s


def test_the_papers_own_block_takes_what_the_paper_measured(nb):
    # Table 1: 179.4 ms on a Titan Xp.
    estimates = Estimator(DEVICES["titan-xp"]).estimates(nb)
    assert sum(part.time_s for part in estimates) == pytest.approx(0.1794, rel=0.05)
    assert floor_total_s(nb, DEVICES["titan-xp"].ceilings) < 0.1794


def test_operators_say_what_binds_them(nb):
    bounds = {part.name: part.bound for part in Estimator(H100).estimates(nb) if part.time_s}
    assert bounds["aten.bmm"] == "operations"
    assert bounds["aten._softmax"] == bounds["aten.mul"] == "memory"


def test_a_product_that_fills_half_its_tiles_is_bound_by_them():
    alike = Alike(calls=1, macs=64 * 4096**2 * 8, products=((8, 64, 64, 4096 * 4096 // 64),))
    row = Operator(name="aten.bmm", status="counted", calls=1, macs=alike.macs, alike=(alike,))
    (estimate,) = Estimator(DEVICES["a100-80gb"]).estimates([row])
    assert estimate.bound == "tiles and waves"


def test_small_calls_are_bound_by_launches():
    alike = Alike(calls=50, moved_bytes=1024)
    row = Operator(name="aten.cat", status="free", calls=50, moved_bytes=51200, alike=(alike,))
    (estimate,) = Estimator(H100).estimates([row])
    assert estimate.bound == "launches"
    assert estimate.time_s == pytest.approx(50 * 2e-6, rel=0.05)


def test_shorter_formats_are_quicker_and_not_vouched_for(nb):
    plain, short = (
        next(part for part in Estimator(H100, policy).estimates(nb) if part.name == "aten.bmm")
        for policy in (IEEE, TF32)
    )
    assert short.time_s < plain.time_s / 3
    assert (short.low_s, short.high_s) == pytest.approx((short.time_s / 2, 2 * short.time_s))


def test_a_network_has_convolutions_of_every_kind():
    module = nn.Sequential(
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, groups=64),
        nn.Conv2d(64, 8, 3, 2),
    )
    (row,) = (row for row in ledger_of(module, (2, 64, 32, 32)) if row.name == "aten.convolution")
    for alike in row.alike:
        (estimate,) = Estimator(H100).estimates([row.model_copy(update={"alike": (alike,)})])
        assert estimate.time_s > 0


def test_only_windows_of_three_by_three_have_winograds_way():
    square, long = (
        next(
            part.time_s
            for part in Estimator(H100).estimates(
                ledger_of(nn.Conv2d(512, 512, kernel), (4, 512, 72, 72))
            )
            if part.name == "aten.convolution"
        )
        for kernel in (3, (1, 9))
    )
    assert square < 0.7 * long


def test_a_depthwise_convolution_goes_by_its_bytes():
    (row,) = (
        row
        for row in ledger_of(nn.Conv2d(64, 64, 3, groups=64), (2, 64, 512, 512))
        if row.name == "aten.convolution"
    )
    (estimate,) = Estimator(H100).estimates([row])
    assert estimate.bound == "memory"
    assert estimate.time_s == pytest.approx(3.5 * row.moved_bytes / (0.895 * 3350e9), rel=0.1)


def test_a_norm_that_takes_statistics_takes_longer_than_one_that_knows_them():
    norm = nn.BatchNorm2d(64)
    known, taken = (
        next(part for part in Estimator(H100).estimates(rows) if "norm" in part.name).time_s
        for rows in (
            ledger_of(norm.eval(), (64, 64, 512, 512)),
            ledger_of(nn.BatchNorm2d(64).train(), (64, 64, 512, 512)),
        )
    )
    assert taken == pytest.approx(2.2 * known, rel=0.05)


def test_training_is_estimated_too():
    ledger = block_ledger("apnb", mode="train", channels=256, key_channels=64)
    estimates = {part.name: part.time_s for part in Estimator(H100).estimates(ledger)}
    assert estimates["aten.convolution_backward"] > estimates["aten.convolution"]


@pytest.mark.parametrize("macs", [0, 10])
def test_a_ledger_of_before_shapes_is_refused(macs):
    sums = Operator(name="aten.mm", status="counted", calls=1, macs=macs, moved_bytes=8)
    with pytest.raises(ValueError, match="before shapes of operators were written down"):
        Estimator(H100).estimates([sums])


def test_products_without_their_shapes_are_refused():
    alike = Alike(calls=1, macs=10, flops=20)
    row = Operator(name="aten.mm", status="counted", calls=1, macs=10, alike=(alike,))
    with pytest.raises(ValueError, match="predict again"):
        Estimator(H100).estimates([row])
