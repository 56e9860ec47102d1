"""Agreement in order, held against scipy, closed cases and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from reports.training.statistics import Tau, tau

TABLE6 = (75.8, 78.4, 78.6, 76.5, 77.3, 77.1, 79.0, 79.7, 79.9)
TABLE7 = (78.2, 78.1, 78.4, 78.8, 79.1, 79.3, 79.9, 80.1)


def scores(values):
    return dict(enumerate(values))


def many(values):
    return [scores([value]) for value in values]


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_that_of_scipy_ties_included(seed):
    rng = np.random.default_rng(seed)
    printed, ours = rng.integers(0, 6, size=(2, 9)).astype(float)
    expected = stats.kendalltau(printed, ours).statistic
    assert tau(printed.tolist(), many(ours.tolist())).value == pytest.approx(expected)


def test_tau_of_the_same_order_is_one_and_of_the_reverse_minus_one():
    assert tau([1, 2, 3], many([10, 20, 30])).value == 1
    assert tau([1, 2, 3], many([30, 20, 10])).value == -1


def test_tau_needs_three_arms_and_a_difference():
    assert tau([1, 2], many([1, 2])) is None
    assert tau([1, 2, 3], [*many([1, 2]), {}]) is None
    assert tau([1, 2, 3], many([5, 5, 5])) is None


def test_tau_refuses_numbers_without_an_arm():
    with pytest.raises(ValueError, match="zip"):
        tau([1, 2, 3, 4], many([1, 2, 3]))


def test_an_arm_without_scores_is_left_out():
    found = tau([1, 9, 2, 3], [scores([1.0]), {}, scores([2.0]), scores([3.0])])
    assert (found.value, found.arms) == (1, 3)


def spread_about(*means):
    """Six seeds of each mean, whose differences scatter a little."""
    rng = np.random.default_rng(0)
    return [scores((mean + rng.normal(0, 0.1, 6)).tolist()) for mean in means]


def test_where_every_pair_is_told_apart_the_order_is_known():
    found = tau([1, 2, 3], spread_about(10, 20, 30))
    assert (found.low, found.high, found.told) == (1, 1, 3)


def test_a_pair_that_is_not_told_apart_may_stand_either_way():
    found = tau([1, 2, 3], spread_about(10, 10, 30))
    assert found.told == 2
    assert (found.low, found.high) == pytest.approx((1 / 3, 1))


def test_where_no_pair_is_told_apart_there_is_no_interval():
    found = tau([1, 2, 3], spread_about(10, 10, 10))
    assert (found.low, found.high, found.told) == (None, None, 0)


def test_single_seeds_have_no_interval():
    found = tau([1, 2, 3], many([1, 3, 2]))
    assert (found.low, str(found)) == (None, "0.33")


def test_arms_are_compared_on_the_seeds_that_both_have():
    ours = spread_about(10, 20, 30)
    del ours[1][0], ours[2][5]
    assert (tau([1, 2, 3], ours).told, tau([1, 2, 3], ours).seeds) == (3, 6)


def test_tau_is_written_with_its_interval():
    assert str(Tau(value=0.5, low=0.254, high=1.0, arms=3, seeds=3)) == "0.50 [0.25, 1.00]"


TRUTHS = {
    "the paper's": lambda rng, printed, spread: stats.zscore(printed) * spread,
    "another": lambda rng, printed, spread: rng.normal(size=len(printed)) * spread,
}
SCATTERS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "heavy": lambda rng, size: rng.standard_t(3, size=size),
    "unequal": lambda rng, size: rng.normal(size=size) * np.linspace(0.3, 2, size[0])[:, None],
    "skew": lambda rng, size: rng.exponential(size=size),
}


@pytest.mark.parametrize("seeds", [3, 5, 20])
@pytest.mark.parametrize("printed", [TABLE6, TABLE7], ids=["nine rows", "eight rows"])
def test_the_interval_has_the_true_tau_in_it(printed, seeds):
    rng, kept = np.random.default_rng(seeds), []
    for truth in TRUTHS.values():
        for scatter in SCATTERS.values():
            for spread in (0.5, 2.0):
                for _ in range(8):
                    means = truth(rng, np.array(printed), spread)
                    ours = means[:, None] + 0.7 * scatter(rng, (len(printed), seeds))
                    ours += rng.normal(size=seeds)
                    found = tau(printed, [scores(row) for row in ours.tolist()])
                    true = stats.kendalltau(printed, means).statistic
                    if found.low is not None:
                        kept.append(found.low - 1e-9 <= true <= found.high + 1e-9)
    assert len(kept) > 30
    assert np.mean(kept) >= 0.93
