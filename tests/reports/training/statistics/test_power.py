"""Power against the textbook's numbers of samples and against simulation."""

import numpy as np
import pytest
from scipy import stats

from reports.training.statistics import seeds_needed, smallest_difference


@pytest.mark.parametrize(
    ("effect", "paired", "seeds"),
    # Cohen (1988) and G*Power: two-sided 5 %, power 80 %.
    [(0.5, True, 34), (0.2, True, 199), (0.8, False, 26), (0.5, False, 64), (0.2, False, 394)],
)
def test_seeds_are_those_of_the_textbook(effect, paired, seeds):
    assert seeds_needed(effect, 1.0, paired=paired) == seeds


def test_a_loss_takes_as_many_seeds_as_a_gain():
    assert seeds_needed(-0.5, 1.0) == seeds_needed(0.5, 1.0)


def test_no_step_is_never_told():
    assert seeds_needed(0.0, 1.0) is None


def test_more_than_ten_million_seeds_are_not_counted():
    assert seeds_needed(1e-6, 1.0) is None


def test_a_large_step_takes_two_seeds():
    assert seeds_needed(1000.0, 1.0) == 2


def test_a_single_seed_tells_nothing():
    assert smallest_difference(1.0, 1) is None
    assert smallest_difference(1.0, 1, paired=False) is None


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seeds", [3, 20])
def test_the_smallest_difference_is_found_four_times_in_five(seeds, paired):
    rng, deviation = np.random.default_rng(seeds), 0.35
    step = smallest_difference(deviation, seeds, paired=paired)
    above = rng.normal(step, deviation, size=(seeds, 20_000))
    if paired:
        p_values = stats.ttest_1samp(above, 0).pvalue
    else:
        p_values = stats.ttest_ind(above, rng.normal(0, deviation, size=above.shape)).pvalue
    # Four standard errors of 20,000 draws.
    assert np.mean(p_values <= 0.05) == pytest.approx(0.8, abs=0.0115)
