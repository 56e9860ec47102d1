"""What fits: the search, and its limits by hand where they can be worked out."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ann.spec import Size
from bench.analysis import CONTEXT_BYTES, DEVICES, usable_bytes
from bench.predict import fits
from bench.predict.allocator import replay
from bench.predict.fits import Call, Calls, find_fits, largest, scaled
from experiments import select

GIB = 2**30
PAPERS = Size(width=256, height=128)
USUAL = {"channels": 2048, "key_channels": 256, "batch": 1}


def cell_of(name, mode="eval", dtype="float32", size=PAPERS, **settings):
    given = {**USUAL, **settings, "mode": mode, "dtype": dtype}
    return select.arm_cell(name, size, experiment="fits", **given)


def call_of(size_bytes):
    return Call(((1, size_bytes),), 0, size_bytes, size_bytes, ())


@given(
    limit=st.integers(1, 5000),
    start=st.integers(1, 300),
    power=st.sampled_from([0.7, 1, 2, 4]),
    standing=st.integers(0, 10**9),
)
def test_the_largest_that_fits_is_found_with_few_looks(limit, start, power, standing):
    looks = []

    def call_at(at):
        looks.append(at)
        return call_of(standing + int(1000 * at**power) + at)

    capacity = call_at(limit).peak_bytes
    looks.clear()
    assert largest(call_at, capacity, start=start, most=10**6) == limit
    assert {limit, limit + 1} <= set(looks)
    assert len(looks) == len(set(looks)) <= 40


def test_no_more_is_looked_for_than_is_asked():
    assert largest(call_of, 10**9, start=3, most=50) == 50


def test_where_not_even_one_fits_it_is_none():
    assert largest(lambda at: call_of(at * 100), 99, start=16, most=50) == 0


@pytest.mark.parametrize(
    ("size", "steps", "expected"),
    [("256x128", 3, "48x24"), ("97x97", 2, "16x16"), ("100x300", 3, "8x24"), ("10x300", 2, "8x16")],
)
def test_a_size_keeps_its_aspect_ratio_in_steps_of_8(size, steps, expected):
    assert str(scaled(Size.parse(size), steps)) == expected


def test_a_call_that_reserves_too_much_may_fit_with_what_is_cached_given_back():
    events = ((1, 30 * 2**20), (1, 0), (2, 40 * 2**20))
    call = Call(events, 3, 40 * 2**20, 70 * 2**20, ())
    assert call.fits(50 * 2**20)
    assert not call.fits(39 * 2**20)


def test_nbs_largest_map_is_that_of_two_maps_of_weights():
    (fit,) = find_fits(cell_of("nb"), {"h100": DEVICES["h100"]})
    width, height = 448, 224
    assert fit.largest_size == f"{width}x{height}"
    assert 2 * 4 * (width * height) ** 2 < fit.usable_bytes < 2 * 4 * (464 * 232) ** 2
    assert fit.parts[0].shape == (1, width * height, width * height)
    assert (fit.parts[0].count, fit.parts[0].operators) == (2, ("aten.bmm", "aten.mul"))
    assert fit.parts[0].size_bytes / fit.peak_bytes > 0.98


def test_nbs_largest_batch_is_that_of_two_maps_each():
    (fit,) = find_fits(cell_of("nb"), {"h100": DEVICES["h100"]})
    need = (
        2 * 4 * 32768**2
    )  # of two maps of weights; input, query, key, value, and their outputs are less
    assert fit.largest_batch == 9 == fit.usable_bytes // need


def test_what_is_usable_is_memory_less_context_and_workspace():
    (fit,) = find_fits(cell_of("nb"), {"h100": DEVICES["h100"]})
    assert fit.usable_bytes == 79 * GIB - CONTEXT_BYTES - fit.workspace_bytes
    assert fit.torch == torch.__version__


@pytest.mark.parametrize(("name", "mode"), [("nb", "train"), ("apnb", "eval"), ("apnb", "train")])
def test_all_below_the_limit_fits_and_nothing_just_above(name, mode):
    calls, capacity = Calls(cell_of(name, mode)), 16 * GIB
    limit = largest(calls.of_steps, capacity, start=16, most=fits.MOST_STEPS)
    around = range(max(1, limit - 3), limit + 4)
    assert [calls.of_steps(at).fits(capacity) for at in around] == [at <= limit for at in around]


def test_more_devices_predict_again_only_what_is_new(monkeypatch):
    sizes = []
    trace = fits._trace
    monkeypatch.setattr(
        fits, "_trace", lambda cell: sizes.append((cell.size, cell.batch)) or trace(cell)
    )
    found = list(
        find_fits(cell_of("apnb"), {name: DEVICES[name] for name in ("v100", "a100-80gb", "h100")})
    )
    assert [fit.device for fit in found] == ["v100", "a100-80gb", "h100"]
    assert len(sizes) == len(set(sizes))


def test_where_nothing_fits_it_says_what_the_smallest_needs():
    device = replace(DEVICES["titan-xp"], memory_bytes=CONTEXT_BYTES + 40 * 2**20)
    (fit,) = find_fits(cell_of("apnb"), {"titan-xp": device})
    assert (fit.largest_size, fit.largest_batch) == (None, 0)
    assert "a map of 16x8 needs" in fit.reason


def test_what_can_not_be_predicted_says_why(monkeypatch):
    def broken(_):
        msg = "no such shape\nat all"
        raise TypeError(msg)

    monkeypatch.setattr(fits, "_trace", broken)
    (fit,) = find_fits(cell_of("apnb"), {"h100": DEVICES["h100"]})
    assert (fit.largest_size, fit.largest_batch) == (None, None)
    assert "no such shape" in fit.reason


def test_a_block_of_one_size_still_has_a_batch(monkeypatch):
    def trace(cell):
        if cell.size != PAPERS:
            msg = "another size"
            raise RuntimeError(msg)
        return call_of(cell.batch * 2**30)

    monkeypatch.setattr(fits, "_trace", trace)
    (fit,) = find_fits(cell_of("nb"), {"v100": DEVICES["v100"]})
    assert (fit.largest_size, fit.largest_batch) == (None, fit.usable_bytes // 2**30)
    assert "another size" in fit.reason


def test_an_arm_keeps_its_implementation():
    (fit,) = find_fits(
        cell_of("apnb:fast", channels=64, key_channels=16), {"v100": DEVICES["v100"]}
    )
    assert fit.arm == "apnb:fast"


def test_each_block_is_asked_in_both_modes_and_three_formats():
    cells = select.fitted_cells(
        ["nb", "mmseg/ann-r50"], [PAPERS], **USUAL, mode="eval", dtype="float32"
    )
    assert len({(cell.subject, cell.mode, cell.dtype) for cell in cells}) == len(cells) == 12


def test_what_is_cut_up_does_not_fit_though_there_is_room():
    call = Calls(cell_of("nb", "train")).call(Size(width=368, height=184), 1)
    capacity = usable_bytes(DEVICES["h100"], 2**25)
    assert replay(call.events, call.call_at).allocated_bytes + GIB < capacity
    assert not call.fits(capacity)
    replay(call.events, call.call_at, expandable=True, capacity_bytes=capacity)
