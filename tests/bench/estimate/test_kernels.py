"""The model by hand: what follows from one coefficient at a time, and in which direction shapes move a time."""

from dataclasses import replace

import numpy as np
import pytest

from bench.analysis import ARCHITECTURES, DEVICES, Ceilings, Chip, Datasheet
from bench.estimate import kernels
from bench.estimate.kernels import Products, Windows

MODEL = {
    **kernels.kernel_model(),
    # A device without losses: what remains is tiles, waves and bytes.
    "product_share": 1.0,
    "start_depth": 0.0,
    "product_bandwidth": 1.0,
    "overlap": 50.0,
    "narrow_batched": 0.0,
    "ramp_s": 1e-30,
    "launch_s": 0.0,
    "copy_stacked": 1.0,
}
DEVICE = Datasheet(
    title="By hand",
    reported=(),
    ceilings=Ceilings(bandwidth=1e12, products={"float32": 1e13, "tf32": 8e13}, l2_bytes=2**20),
    memory_bytes=2**30,
    capability=(8, 0),
    source="by hand",
    chip=Chip(architecture=ARCHITECTURES["ampere"], multiprocessors=100, watts=None),
)
RATES = kernels.rates_of(DEVICE, "float32", MODEL)


def array(value):
    return np.array([float(value)])


def product_s(batch, rows, columns, depth, *, rates=RATES, moved=0.0, kind="batched"):
    products = Products(*map(array, (batch, rows, columns, depth)))
    return float(kernels.product_times(products, array(moved), rates, kind=kind).time_s[0])


def moved_s(moved, rates=RATES):
    return float(kernels.moved_times(array(moved), rates).time_s[0])


def test_whole_waves_of_whole_tiles_run_at_the_rate_of_products():
    assert product_s(100, 128, 128, 4096) == pytest.approx(2 * 100 * 128 * 128 * 4096 / 1e13)


def test_a_last_wave_is_as_long_as_the_others():
    rates = kernels.rates_of(DEVICE, "float32", {**MODEL, "narrow_batched": 2.0})
    one, two, still_two = (product_s(count, 128, 128, 64, rates=rates) for count in (100, 101, 200))
    assert two == still_two == pytest.approx(2 * one)


def test_a_tile_that_is_not_full_takes_as_long():
    fewer = {**MODEL, "narrow_batched": 2.0}
    rates = kernels.rates_of(DEVICE, "float32", fewer)
    assert product_s(100, 128, 97, 64, rates=rates) == pytest.approx(
        product_s(100, 128, 128, 64, rates=rates)
    )


def test_deep_products_of_few_tiles_are_split():
    assert product_s(1, 128, 128, 65536) < product_s(1, 128, 128, 65536 * 4) / 3


def test_few_operations_on_many_bytes_take_the_bytes_time():
    assert product_s(100, 128, 128, 64, moved=1e9) == pytest.approx(1e-3, rel=1e-3)


def test_a_board_without_power_keeps_no_product_at_the_peak():
    weak = replace(DEVICE, chip=replace(DEVICE.chip, watts=20.0))
    assert kernels.rates_of(weak, "float32", MODEL).sustained == pytest.approx(
        20 * 2.5 * MODEL["work_per_joule"]
    )
    assert kernels.rates_of(weak, "float32", MODEL).copied == RATES.copied


def test_a_later_process_does_more_a_joule():
    at_7_nm, at_5_nm = (ARCHITECTURES[name].work_per_joule for name in ("ampere", "ada"))
    assert 1 < at_7_nm < at_5_nm


def test_what_a_device_reached_itself_goes_before_its_datasheet():
    reached = Ceilings(bandwidth=7e11, products={"float32": 6e12})
    rates = kernels.rates_of(DEVICE, "float32", MODEL, reached)
    assert (rates.sustained, rates.copied) == (6e12, 7e11)
    assert (
        kernels.rates_of(DEVICE, "tf32", MODEL, reached).sustained == 8e13 * MODEL["tensor_share"]
    )


def test_a_copy_goes_at_its_share_of_the_bandwidth():
    assert moved_s(2e9) == pytest.approx(2e-3)
    slower = replace(DEVICE, chip=replace(DEVICE.chip, is_stacked=False))
    rates = kernels.rates_of(slower, "float32", MODEL)
    assert moved_s(2e9, rates) == pytest.approx(2e-3 / MODEL["copy_other"])


def test_a_short_kernel_takes_up_to_twice_as_long():
    rates = kernels.rates_of(DEVICE, "float32", {**MODEL, "ramp_s": 1e-5})
    assert moved_s(1e3, rates) == pytest.approx(2e-9, rel=1e-2)
    assert moved_s(1e11, rates) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("columns", [64, 1024])
def test_short_rows_of_a_softmax_are_read_and_written_once(columns):
    (time_s,) = kernels.softmax_times(array(10**9 / columns), array(columns), RATES).time_s
    assert time_s == pytest.approx(8e9 / 1e12 / MODEL["softmax_short"])


def test_rows_that_no_cache_holds_are_read_three_times_and_written_once():
    (time_s,) = kernels.softmax_times(array(1000), array(10**6), RATES).time_s
    assert time_s == pytest.approx(4 * 4e9 / 1e12 / MODEL["softmax_long"], rel=0.02)


def test_long_rows_of_a_norm_are_read_once_more():
    short, long = (
        kernels.norm_times(array(10**9 / width), array(width), RATES).time_s[0]
        for width in (64, 65536)
    )
    assert long / short == pytest.approx(1.5, rel=0.01)


def test_half_the_bits_are_half_the_time_of_a_softmax():
    whole, half = (
        kernels.softmax_times(array(10**6), array(1000), RATES, item_bytes=size).time_s[0]
        for size in (4, 2)
    )
    assert half == pytest.approx(whole / 2)


def convolution_s(rates, channels, *, windowed):
    side = array(64)
    products = Products(array(1), array(8 * 64 * 64), array(channels), array(9 * channels))
    windows = Windows(array(8), side, side, array(channels), array(channels)) if windowed else None
    return float(kernels.convolution_times(products, windows, array(1e8), rates).time_s[0])


def test_winograds_way_is_taken_where_it_is_quicker():
    rates = kernels.rates_of(DEVICE, "float32", kernels.kernel_model())
    assert convolution_s(rates, 512, windowed=True) < 0.6 * convolution_s(
        rates, 512, windowed=False
    )


def test_tensor_cores_have_no_winograd_and_bring_maps_into_another_layout():
    rates = kernels.rates_of(DEVICE, "tf32", MODEL)
    assert convolution_s(rates, 64, windowed=True) == convolution_s(rates, 64, windowed=False)
    assert convolution_s(rates, 64, windowed=False) > 2e8 / 1e12


def test_operands_with_long_rows_are_slow_before_volta():
    old = replace(DEVICE, chip=replace(DEVICE.chip, architecture=ARCHITECTURES["pascal"]))
    rates = kernels.rates_of(old, "float32", MODEL)
    shape = (1, 8192, 4096, 32768)
    assert product_s(*shape, rates=rates, kind="shared") > 1.5 * product_s(
        *shape, rates=RATES, kind="shared"
    )


def test_a_device_of_which_no_chip_is_known_says_so():
    with pytest.raises(ValueError, match="By hand: nothing is known of its chip"):
        kernels.rates_of(replace(DEVICE, chip=None), "float32", MODEL)


def test_a_format_that_a_device_lacks_says_so():
    with pytest.raises(ValueError, match="no ceiling for products in bfloat16"):
        kernels.rates_of(DEVICE, "bfloat16", MODEL)


@pytest.mark.parametrize("item", kernels.coefficients().values(), ids=kernels.coefficients())
def test_a_coefficient_has_bounds_meaning_and_source(item):
    assert item.low <= item.value <= item.high
    assert item.meaning
    assert item.source.startswith(("fitted to 40334 kernels of A100", "not fitted"))


def test_intervals_hold_the_estimate():
    for name in ("bmm", "linear", "convolution", "softmax", "layer norm", "element-wise", "other"):
        low, high = kernels.interval_of(name, kernels.kernel_model())
        assert low < 1 < high
    assert kernels.interval_of("pooling", kernels.kernel_model()) == (0.5, 2.0)


def test_every_known_device_can_be_estimated():
    for device in DEVICES.values():
        for dtype in device.ceilings.products:
            rates = kernels.rates_of(device, dtype, kernels.kernel_model())
            assert 0 < rates.sustained <= rates.peak, (device.title, dtype)
