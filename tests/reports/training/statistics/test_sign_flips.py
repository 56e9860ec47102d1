"""The exact test against scipy's enumeration and Hartigan's typical values."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from reports.training.statistics import sign_flip_interval, sign_flip_p


@pytest.mark.parametrize("count", [3, 4, 9, 12])
@pytest.mark.parametrize("centre", [0.0, -0.5])
def test_the_p_value_is_that_of_every_choice_of_signs(count, centre):
    gaps = np.random.default_rng(count).normal(0.4, 1, size=count)
    shifted = gaps - centre
    sums = [abs(np.dot(signs, shifted)) for signs in product((-1, 1), repeat=count)]
    expected = np.mean(np.array(sums) >= abs(shifted.sum()) - 1e-12)
    assert sign_flip_p(gaps, centre) == expected


def test_the_p_value_is_that_of_scipy():
    above, below = np.random.default_rng(1).normal((0.5,), 1, size=(2, 10))
    test = stats.permutation_test(
        (above, below),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert sign_flip_p(above - below) == pytest.approx(test.pvalue)


def test_differences_of_one_sign_have_the_least_p_value_there_is():
    assert sign_flip_p(range(1, 21)) == 2 / 2**20


def test_differences_alike_to_both_sides_have_a_p_value_of_one():
    assert sign_flip_p([1.0, -1.0, 2.0, -2.0]) == 1.0


def test_differences_in_ties_count_as_far_as_the_one_seen():
    # Of 8 sums only 0.3 and -0.3 are as far as 0.1 + 0.1 + 0.1, whatever their last digits.
    assert sign_flip_p([0.1, 0.1, 0.1]) == 2 / 8


@pytest.mark.parametrize("count", [8, 11])
def test_the_interval_goes_from_one_typical_value_to_another(count):
    gaps = np.random.default_rng(count).normal(size=count)
    means = sorted(
        np.dot(part, gaps) / sum(part) for part in product((0, 1), repeat=count) if any(part)
    )
    rank = int(0.025 * 2**count)
    expected = means[rank - 1], means[-rank]
    assert sign_flip_interval(gaps) == pytest.approx(expected, abs=1e-6)


def test_twenty_seeds_have_about_the_interval_of_student():
    gaps = np.random.default_rng(2).normal(size=20)
    expected = tuple(stats.ttest_1samp(gaps, 0).confidence_interval())
    assert sign_flip_interval(gaps) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("gaps", [[0] * 8 + [1, 2, 3, 4], [0] * 7 + [0.1] * 5])
def test_an_end_at_many_equal_differences_is_not_beyond_them(gaps):
    low, _ = sign_flip_interval(gaps)
    assert sign_flip_p(gaps) > 0.05
    assert low <= 0
