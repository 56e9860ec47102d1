"""Floors by hand, and those of NB and APNB on an H200 that the reference on measuring derives."""

from dataclasses import replace
from pathlib import Path

import pytest

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.analysis import roofline
from bench.analysis.devices import DEVICES, Ceilings
from bench.analysis.roofline import IEEE, TF32
from bench.predict.predict import predict_cell
from bench.records import record
from bench.records.record import Alike, Ceiling, Environment, Operator, Timing
from experiments.spec import Cell

SLOW = Ceilings(bandwidth=100.0, products={"float32": 10.0, "tf32": 40.0, "bfloat16": 80.0})
# The reference knows no cache.
H200 = replace(DEVICES["h200"].ceilings, l2_bytes=0)
ROOT = Path(__file__).resolve().parents[3]
MILLI, GIBI = 1e-3, 2**30
# What PyTorch does by itself on GPUs since Ampere.
TORCH = roofline.Policy(convolution="tf32", product="float32")
# Operators that the released blocks have and the reference's sketch has not, each twice.
NORMS = ("aten.native_batch_norm", "aten.relu")


def operator(name="aten.mm", **does):
    one = Alike(calls=1, **does)
    return Operator(name=name, status="counted", calls=1, alike=(one,))


def floor(*rows, policy=IEEE):
    (found,) = roofline.floors(rows, SLOW, policy)
    return found


def test_a_product_takes_two_flops_a_mac_at_the_peak():
    assert floor(operator(macs=50, flops=100)).time_s == 10.0


def test_other_operations_run_at_the_rate_of_float32():
    found = floor(operator("aten.exp", flops=100, dtype="bfloat16"))
    assert (found.arithmetic_s, found.product_s) == (10.0, 0.0)


def test_bytes_run_at_the_bandwidth():
    found = floor(operator(moved_bytes=500))
    assert (found.time_s, found.bound) == (5.0, "memory")


def test_bytes_that_the_second_cache_may_hold_are_in_no_floor():
    cached = replace(SLOW, l2_bytes=400)
    rows = (operator(moved_bytes=500), operator(moved_bytes=300))
    assert [row.time_s for row in roofline.floors(rows, cached)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("window", "share"),
    [(None, 1), ((8, 8, 1, 1), 1), ((8, 8, 3, 3), 1 / 4), ((8, 8, 7, 7), 2 / 49)],
)
def test_what_a_quicker_way_of_a_convolution_saves_is_in_no_floor(window, share):
    row = operator("aten.convolution", macs=50, flops=100, window=window)
    assert floor(row).product_s == pytest.approx(10 * share)


def test_the_longest_of_the_three_decides():
    found = floor(operator(macs=50, flops=130, moved_bytes=500))
    assert (found.product_s, found.arithmetic_s, found.memory_s) == (10.0, 3.0, 5.0)
    assert (found.time_s, found.bound) == (10.0, "operations")


def test_calls_are_judged_one_by_one():
    heavy, wide = Alike(calls=2, macs=50, flops=100), Alike(calls=1, moved_bytes=500)
    row = Operator(name="aten.mm", status="counted", calls=3, alike=(heavy, wide))
    assert floor(row).time_s == 2 * 10.0 + 5.0


def test_an_old_record_has_its_sums_whose_floor_is_no_higher():
    row = Operator(name="aten.mm", status="counted", calls=3, macs=100, flops=200, moved_bytes=500)
    assert floor(row).time_s == 20.0


def test_what_does_nothing_takes_no_time_and_is_bound_by_nothing():
    found = floor(Operator(name="aten.view", status="free", calls=1))
    assert (found.time_s, found.bound) == (0.0, "")


def test_a_product_runs_at_the_peak_of_its_own_format():
    assert floor(operator(macs=40, flops=80, dtype="bfloat16"), policy=TF32).time_s == 1.0


@pytest.mark.parametrize("way", ["", "_backward"])
def test_memory_efficient_attention_multiplies_float32_by_three_products_of_tf32(way):
    attention = operator(f"aten._scaled_dot_product_efficient_attention{way}", macs=50, flops=100)
    assert floor(attention).time_s == pytest.approx(7.5)
    assert floor(attention, policy=TF32).time_s == pytest.approx(2.5)
    (on_volta,) = roofline.floors([attention], Ceilings(bandwidth=1.0, products={"float32": 10.0}))
    assert on_volta.time_s == 10.0


def test_memory_efficient_attention_multiplies_halves_as_they_are():
    name = "aten._scaled_dot_product_efficient_attention"
    assert floor(operator(name, macs=40, flops=80, dtype="bfloat16")).time_s == 1.0


def test_a_missing_peak_is_said():
    with pytest.raises(ValueError, match="no ceiling for products in float64; there are float32"):
        floor(operator(macs=1, flops=2, dtype="float64"))


def test_pytorch_convolves_in_tf32_and_multiplies_in_float32():
    convolution = operator("aten.convolution", macs=50, flops=100)
    assert floor(convolution, policy=TORCH).time_s == 2.5
    assert floor(operator(macs=50, flops=100), policy=TORCH).time_s == 10.0


ENVIRONMENT = Environment(
    device="cuda",
    device_name="NVIDIA H200",
    cores=1,
    threads=1,
    memory_bytes=1,
    os="Linux",
    python="3.12",
    torch="2.15.0",
    flags={"conv_precision": "tf32", "matmul_precision": "ieee"},
)


def test_what_was_set_where_it_ran_is_the_policy():
    assert roofline.policy_of("float32", ENVIRONMENT) == TORCH


def test_tf32_is_asked_for_by_its_name():
    assert roofline.policy_of("tf32") == TF32


@pytest.mark.parametrize("where", [None, ENVIRONMENT.model_copy(update={"device": "cpu"})])
def test_float32_is_whole_elsewhere(where):
    assert roofline.policy_of("float32", where) == IEEE


def ledger(block):
    cell = Cell(
        experiment="e",
        axes={"block": block},
        subject=BLOCKS[block],
        size=Size(width=256, height=128),
        device="cuda",
    )
    return predict_cell(cell).counts.ledger


@pytest.fixture(scope="module", params=["nb", "apnb"])
def block(request):
    return request.param, ledger(request.param)


# measuring.md, section 5: NB moves 25.32 GiB and takes 20.3 ms (products in float32, convolutions in
# TF32) or 6.1 ms (all in TF32), APNB 1.59 GiB, 0.42 and 0.38 ms. All are derived, none was measured.
SKETCH = {"nb": (25.32, 20.3, 6.1), "apnb": (1.59, 0.42, 0.38)}
DIGITS = {"nb": 1, "apnb": 2}


def test_without_norm_and_relu_the_floors_are_those_of_the_reference(block):
    name, rows = block
    sketch = [row for row in rows if row.name not in NORMS]
    gibibytes, usual_ms, tf32_ms = SKETCH[name]
    assert round(sum(row.moved_bytes for row in sketch) / GIBI, 2) == gibibytes
    assert round(roofline.floor_total_s(sketch, H200, TORCH) / MILLI, DIGITS[name]) == usual_ms
    assert round(roofline.floor_total_s(sketch, H200, TF32) / MILLI, DIGITS[name]) == tf32_ms


def test_norm_and_relu_of_the_shared_projection_are_what_we_add(block):
    added = [row for row in block[1] if row.name in NORMS]
    assert [row.calls for row in added] == [2, 2]
    assert sum(row.moved_bytes for row in added) / 2**20 == pytest.approx(256, abs=0.02)
    assert roofline.floor_total_s(added, H200) / MILLI == pytest.approx(0.056, abs=1e-4)


def test_in_whole_float32_convolutions_take_longer():
    rows = ledger("apnb")
    assert roofline.floor_total_s(rows, H200) / MILLI == pytest.approx(2.244, abs=1e-3)


def test_no_device_is_faster_than_its_floor_of_the_published_blocks():
    found = {
        item.axes["block"]: item.measures.printed["time_ms"] * MILLI
        for item in record.read_records(ROOT / "reports/published/table1.jsonl")
        if item.axes["size"] == "256x128"
    }
    titan = DEVICES["titan-xp"].ceilings
    for name, time_s in found.items():
        assert roofline.floor_total_s(ledger(name), titan) < time_s


def ceiling(kind, amount=100, samples=(2.0, 1.0, 4.0), **fields):
    return Ceiling(
        kind=kind, amount=amount, timing=Timing(clock="wall", samples_s=samples), **fields
    )


def test_a_ceiling_is_what_was_reached_at_best():
    assert roofline.ceiling_rate(ceiling("copy")) == 100.0


def test_a_rejected_sample_is_no_ceiling():
    found = ceiling("copy")
    timing = found.timing.model_copy(update={"rejected": (1,)})
    assert roofline.ceiling_rate(found.model_copy(update={"timing": timing})) == 50.0


def test_measured_ceilings_are_a_machines():
    found = roofline.measured_ceilings([ceiling("copy"), ceiling("product", 300, dtype="bfloat16")])
    assert found == Ceilings(bandwidth=100.0, products={"bfloat16": 300.0})


def test_a_format_without_a_reading_has_no_ceiling():
    missing = Ceiling(kind="product", dtype="tf32", reason="a processor does not have it")
    found = roofline.measured_ceilings([ceiling("copy"), ceiling("product"), missing])
    assert set(found.products) == {"float32"}


@pytest.mark.parametrize("found", [[], [ceiling("copy")], [ceiling("product")]])
def test_without_a_copy_or_any_product_there_is_no_roofline(found):
    assert roofline.measured_ceilings(found) is None


def test_a_floor_adds_up_to_the_total():
    rows = ledger("nb")
    parts = roofline.floors(rows, H200)
    assert roofline.floor_total_s(rows, H200) == pytest.approx(sum(one.time_s for one in parts))
    assert all(one.time_s >= one.memory_s for one in parts)
