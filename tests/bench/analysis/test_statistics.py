"""The interval of a median against scipy and against its own definition."""

import random
import statistics
import subprocess
import sys

import pytest
from scipy.stats import quantile_test

from bench.analysis.statistics import (
    below_share,
    coverage,
    is_conclusive,
    median_interval,
    without_rejected,
)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 12, 13, 40, 101, 500])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_interval_is_the_one_of_scipy(count, confidence):
    draw = random.Random(count)
    samples = [draw.lognormvariate(0, 1) for _ in range(count)]
    expected = quantile_test(samples, q=statistics.median(samples)).confidence_interval(confidence)
    interval = median_interval(samples, confidence=confidence, blocks=None)
    ends = [float("nan") if end is None else end for end in (interval.low, interval.high)]
    assert ends == pytest.approx([expected.low, expected.high], nan_ok=True)


def test_seven_samples_have_no_interval_at_99_percent():
    interval = median_interval([1.0, 2, 3, 4, 5, 6, 7])
    assert (interval.median, interval.low, interval.high) == (4, None, None)
    assert interval.half_width is None


def test_eight_samples_have_their_extremes_as_interval():
    interval = median_interval([8.0, 7, 6, 5, 4, 3, 2, 1])
    assert (interval.low, interval.high) == (1, 8)


def test_the_extremes_of_eight_samples_leave_the_median_out_when_all_lie_on_one_side():
    assert coverage(8, 1) == pytest.approx(1 - 2 / 2**8)


def test_two_samples_enclose_the_median_half_of_the_time():
    interval = median_interval([1.0, 3.0], confidence=0.5)
    assert (interval.low, interval.high) == (1, 3)


def test_interval_holds_the_true_median_as_often_as_it_says():
    draw = random.Random(0)
    runs = [
        median_interval([draw.expovariate(1) for _ in range(25)], blocks=None) for _ in range(2000)
    ]
    share = sum(run.low <= 0.6931471805599453 <= run.high for run in runs) / len(runs)
    assert share == pytest.approx(coverage(25, 6), abs=0.006)
    assert share > 0.98


def test_interval_over_blocks_of_independent_samples_holds_it_as_often():
    draw = random.Random(3)
    runs = [median_interval([draw.gauss(5, 1) for _ in range(36)]) for _ in range(1000)]
    assert sum(run.low <= 5 <= run.high for run in runs) >= 985


def regimes(count):
    """Speeds that last for a while, as on a machine shared with others, and little noise beside."""
    draw = random.Random(7)
    levels = [draw.choice((1.0, 1.0, 1.0, 0.75)) for _ in range(count)]
    return [level * draw.gauss(1, 0.005) for level in levels for _ in range(100)]


def test_speeds_that_last_make_the_interval_wide_and_the_run_inconclusive():
    samples = regimes(8)
    assert median_interval(samples, blocks=None).half_width < 0.01
    assert median_interval(samples).half_width > 0.1
    assert not is_conclusive(samples)


def test_the_median_is_that_of_all_samples_and_inside_its_interval():
    samples = regimes(5)
    interval = median_interval(samples)
    assert interval.median == statistics.median(samples)
    assert interval.low <= interval.median <= interval.high


def test_few_samples_make_no_blocks():
    samples = [float(value) for value in range(23)]
    assert median_interval(samples) == median_interval(samples, blocks=None)


def test_two_samples_for_each_of_twelve_blocks_are_enough():
    samples = [float(block) for block in range(1, 13) for _ in range(2)]
    interval = median_interval(samples)
    # Rank 2 of 12 medians; of 24 samples it would be rank 6, the value 3.
    assert (interval.low, interval.high) == (2, 11)


def test_one_outlier_does_not_move_the_median():
    assert median_interval([1.0] * 20 + [1000.0]).high == 1.0


def test_half_width_is_a_share_of_the_median():
    assert median_interval([90.0, *[100.0] * 6, 110.0]).half_width == pytest.approx(0.1)


def test_half_width_of_a_negative_median_is_positive():
    assert median_interval([-90.0, *[-100.0] * 6, -110.0]).half_width == pytest.approx(0.1)


def test_nothing_is_not_conclusive():
    assert not is_conclusive([])


def test_half_width_of_zeros_is_zero():
    assert median_interval([0.0] * 12).half_width == 0


def test_half_width_about_a_median_of_zero_is_no_share():
    assert median_interval([-1.0] * 4 + [0.0] * 4 + [1.0] * 4).half_width is None


def test_half_width_is_that_of_the_confidence_asked_for():
    samples = [90.0, 99.0, *[100.0] * 4, 101.0, 110.0]
    assert median_interval(samples, confidence=0.9).half_width == pytest.approx(0.01)


def test_a_run_is_conclusive_at_the_confidence_asked_for():
    samples = [90.0, 90.0, *[100.0] * 8, 110.0, 110.0]
    assert not is_conclusive(samples)
    assert is_conclusive(samples, confidence=0.9)


def test_eleven_equal_samples_are_not_yet_conclusive():
    assert not is_conclusive([1.0] * 11)
    assert is_conclusive([1.0] * 12)


def test_noise_of_ten_percent_is_inconclusive_at_one_percent():
    draw = random.Random(1)
    samples = [draw.gauss(1, 0.1) for _ in range(60)]
    assert not is_conclusive(samples)
    assert is_conclusive(samples, relative=0.1)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="measure at least once"):
        median_interval([])


@pytest.mark.parametrize("confidence", [0, 1])
def test_a_confidence_of_nought_or_one_is_refused(confidence):
    with pytest.raises(ValueError, match=f"confidence={confidence} is not between 0 and 1"):
        median_interval([1.0], confidence=confidence)


def test_without_leaves_out_by_index():
    assert without_rejected([5.0, 6.0, 7.0], (1,)) == (5.0, 7.0)


def test_below_share_finds_the_dropped_clock():
    assert below_share([1980, 1980, 1500, 1980, 1890], share=0.95) == (2,)
    assert below_share([], share=0.95) == ()


def test_below_share_is_a_share_of_the_median_which_one_low_reading_does_not_move():
    assert below_share([100, 100, 100, 10, 94], share=0.95) == (3, 4)


def test_importing_statistics_loads_neither_torch_nor_scipy():
    heavy = "{'torch', 'scipy', 'numpy'}"
    code = f"import sys, bench.analysis.statistics; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
