"""Fits find the exponents, and crossings the sizes, that were planted."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.crossover.scaling import crossing, exponent, ratios, upper_half
from reports.model.table import Interval

SIZES = tuple(side * side for side in (16, 32, 64, 96, 128, 192, 256, 384, 512))
powers = st.floats(0.2, 3.0)
factors = st.floats(1e-9, 1e3)


def law(power, factor=1.0):
    return {size: factor * size**power for size in SIZES}


def curve(values, share=0.01):
    return {
        size: Interval(value, value * (1 - share), value * (1 + share))
        for size, value in values.items()
    }


@given(powers, factors)
@settings(deadline=None)
def test_a_power_law_has_its_exponent(power, factor):
    fit = exponent(law(power, factor))
    assert fit.median == pytest.approx(power, abs=1e-6)
    assert fit.high - fit.low < 1e-5


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_the_interval_holds_the_exponent_as_often_as_it_says(power, noise):
    draw = random.Random(7)
    held = 0
    for _ in range(400):
        points = {size: cost * math.exp(draw.gauss(0, noise)) for size, cost in law(power).items()}
        fit = exponent(points)
        held += fit.low <= power <= fit.high
    # 95 % of 400 is 380, with a standard deviation of 4.4.
    assert 360 <= held <= 395


def test_what_every_call_costs_biases_the_upper_half_less_than_the_whole():
    points = {size: 1e5 + size**2 for size in SIZES}
    upper, whole = exponent(points), exponent(points, SIZES)
    assert abs(upper.median - 2) < 0.005
    assert abs(whole.median - 2) > 0.05


def test_the_upper_half_is_of_the_logarithm_and_has_three_sizes_at_least():
    assert upper_half(dict.fromkeys(SIZES)) == SIZES[3:]
    assert upper_half(dict.fromkeys((1, 2, 3, 1000))) == (2, 3, 1000)
    assert upper_half(dict.fromkeys((1, 1000))) == (1, 1000)
    assert upper_half({}) == ()


def test_two_sizes_or_a_cost_of_nothing_give_no_exponent():
    assert exponent({1: 1.0, 4: 4.0}) is None
    assert exponent({1: 0.0, 4: 4.0, 9: 9.0}) is None


@given(st.floats(17**2, 511**2), powers, st.floats(0.2, 2.0))
@settings(deadline=None)
def test_a_planted_crossing_is_found(at, power, more):
    above = {size: (size / at) ** (power + more) for size in SIZES}
    below = {size: (size / at) ** power for size in SIZES}
    found = crossing(curve(above), curve(below))
    assert found.at == pytest.approx(at, rel=1e-6)
    assert found.low <= found.at <= found.high


@given(
    st.lists(st.floats(0.2, 5), min_size=len(SIZES), max_size=len(SIZES)),
    st.floats(0, 0.2),
)
@settings(deadline=None)
def test_the_earliest_is_never_after_the_latest(values, share):
    above = curve(dict(zip(SIZES, values, strict=True)), share)
    found = crossing(above, curve(law(0), share))
    assert found.low <= found.at <= found.high


def test_the_interval_grows_with_those_of_the_times():
    above, below = law(2, 1e-3), law(1)
    narrow, wide = (crossing(curve(above, share), curve(below, share)) for share in (0.01, 0.1))
    assert narrow.at == wide.at == pytest.approx(1000)
    assert wide.low < narrow.low < narrow.at < narrow.high < wide.high


def test_what_is_less_from_the_smallest_size_on_crosses_at_nothing():
    found = crossing(curve(law(2)), curve(law(1)))
    assert (found.low, found.at, found.high) == (0, 0, 0)


def test_what_is_more_at_the_largest_size_never_crosses():
    found = crossing(curve(law(1)), curve(law(2)))
    assert (found.low, found.at, found.high) == (math.inf,) * 3


def test_the_last_of_several_crossings_counts():
    above = dict(zip((1, 10, 100, 1000), (2.0, 0.5, 0.5, 2.0), strict=True))
    found = crossing(curve(above, 0), curve(dict.fromkeys(above, 1.0), 0))
    assert found.at == pytest.approx(math.sqrt(100 * 1000))


def test_only_sizes_that_both_have_count():
    found = ratios(curve({1: 2.0, 4: 8.0}), curve({4: 2.0, 9: 1.0}))
    assert list(found) == [4]
    assert found[4].low < found[4].median == 4 < found[4].high


def test_one_size_alone_decides_nothing():
    assert crossing(curve({1: 2.0, 4: 8.0}), curve({4: 2.0, 9: 1.0})) is None
