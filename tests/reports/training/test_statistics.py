"""Statistics over seeds, held against scipy, hand-made cases and simulated truth."""

import itertools

import numpy as np
import pytest
from scipy import stats

from reports.model import frame
from reports.training import statistics
from reports.training.claims import COMPARISONS, MARGIN_POINTS, PAPER_TABLES
from reports.training.statistics import (
    Difference,
    Tau,
    holm,
    paired,
    seed_verdict,
    tau,
)


def scores(values, start=0):
    return dict(enumerate(values, start))


def test_differences_are_taken_on_the_seeds_that_both_have():
    found = paired({0: 5.0, 1: 7.0, 3: 9.0}, {1: 4.0, 2: 1.0, 3: 7.0})
    assert (found.seeds, found.mean) == ((1, 3), 2.5)
    assert paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize("threshold", [0.0, -0.5])
def test_interval_and_p_value_are_those_of_the_paired_t_test(threshold):
    above, below = [61.0, 63.5, 62.0, 64.0], [60.2, 61.0, 61.7, 62.1]
    found = paired(scores(above), scores(below))
    test = stats.ttest_1samp(np.subtract(above, below), threshold)
    assert found.interval() == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.p_value(threshold) == pytest.approx(test.pvalue)


def test_a_loss_is_as_probable_by_chance_as_a_gain_of_its_size():
    loss, gain = (Difference(mean, 1.0, (0, 1, 2)) for mean in (-2.0, 2.0))
    assert loss.p_value() == pytest.approx(gain.p_value())
    assert loss.p_value() == pytest.approx(stats.ttest_1samp([-3.0, -2.0, -1.0], 0).pvalue)


def test_a_single_seed_has_a_difference_without_a_deviation():
    assert paired({0: 3.0}, {0: 1.0}) == Difference(2.0, None, (0,))


def test_two_seeds_have_a_deviation():
    found = paired({0: 3.0, 1: 7.0}, {0: 1.0, 1: 1.0})
    assert found.deviation == pytest.approx(8**0.5)


@pytest.mark.parametrize(
    ("mean", "threshold", "verdict"),
    [
        (3.0, 0.0, "supported"),
        (-3.0, 0.0, "not supported"),
        (2.0, 0.0, "undecided"),
        (-2.0, 0.0, "undecided"),
        (2.2, -0.5, "supported"),
        (-2.8, -0.5, "undecided"),
        (-3.2, -0.5, "not supported"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(mean, threshold, verdict):
    # Three seeds and a deviation of 1: the interval reaches 2.48 each way.
    assert seed_verdict(Difference(mean, 1.0, (0, 1, 2)), threshold=threshold) == verdict


@pytest.mark.parametrize(("mean", "verdict"), [(3.0, "supported"), (2.0, "undecided")])
def test_unless_said_otherwise_the_question_is_whether_there_is_a_gain(mean, verdict):
    assert seed_verdict(Difference(mean, 1.0, (0, 1, 2))) == verdict


@pytest.mark.parametrize("end", [0, 1])
def test_an_interval_that_ends_at_the_threshold_decides_nothing(end):
    found = Difference(2.0, 1.0, (0, 1, 2))
    assert seed_verdict(found, threshold=found.interval()[end]) == "undecided"


def test_two_seeds_decide_nothing_however_far_apart():
    found = Difference(50.0, 0.1, (0, 1))
    assert (seed_verdict(found), found.interval(), found.p_value()) == ("undecided", None, None)


def test_seeds_without_a_spread_decide_nothing():
    assert seed_verdict(paired(scores([2.0] * 3), scores([1.0] * 3))) == "undecided"


def test_without_a_seed_in_common_nothing_is_decided():
    assert seed_verdict(None) == "undecided"


def verdicts(true_difference, *, seeds, threshold=0.0, times=4000):
    """Shares of the verdicts where seeds have noise in common and noise of their own (deviation 1 of a difference)."""
    rng = np.random.default_rng(11)
    common = rng.normal(0, 3, size=(times, 1, seeds))
    own = rng.normal(0, 0.5**0.5, size=(times, 2, seeds))
    runs = 50 + common + own
    runs[:, 0] += true_difference
    found = [
        seed_verdict(paired(scores(above), scores(below)), threshold=threshold)
        for above, below in runs
    ]
    return {verdict: found.count(verdict) / times for verdict in statistics.VERDICTS}


@pytest.mark.parametrize("seeds", [3, 5])
def test_no_difference_is_seldom_called_one(seeds):
    found = verdicts(0.0, seeds=seeds)
    # 2.5 % each, and three standard errors of 4000 draws.
    assert found["supported"] <= 0.0325
    assert found["not supported"] <= 0.0325
    assert found["undecided"] == pytest.approx(0.95, abs=0.011)


def test_a_loss_of_the_margin_is_seldom_called_no_loss():
    found = verdicts(-MARGIN_POINTS, seeds=3, threshold=-MARGIN_POINTS)
    assert found["supported"] <= 0.0325


@pytest.mark.parametrize(("difference", "seeds"), [(8.0, 3), (3.0, 5)])
def test_a_clear_difference_is_found_in_either_direction(difference, seeds):
    assert verdicts(difference, seeds=seeds, times=500)["supported"] > 0.9
    assert verdicts(-difference, seeds=seeds, times=500)["not supported"] > 0.9


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == (True, False, False, True)
    assert holm([0.01, 0.02, 0.03, 0.04]) == (True, False, False, False)
    assert holm([0.001, 0.01, 0.02, 0.04]) == (True, True, True, True)


def test_a_p_value_at_holms_limit_stands():
    assert holm([0.25, 0.5], level=0.5) == (True, True)


def test_holm_leaves_out_what_was_not_tested():
    assert holm([None, 0.04, None]) == (False, True, False)
    assert holm([None]) == (False,)


def test_holm_keeps_the_chance_of_any_false_call_at_the_level():
    rng = np.random.default_rng(5)
    wrong = [any(holm(p)) for p in rng.uniform(size=(4000, 10)).tolist()]
    assert np.mean(wrong) <= 0.05 + 3 * 0.0035


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


def test_the_interval_of_tau_spans_every_resample_of_three_seeds():
    rng = np.random.default_rng(2)
    printed, ours = [1.0, 2.0, 3.0, 4.0, 5.0], rng.normal(size=(5, 3)) + np.arange(5)[:, None] / 2
    drawn = sorted(
        stats.kendalltau(printed, ours[:, list(pick)].mean(axis=1)).statistic
        for pick in itertools.product(range(3), repeat=3)
    )
    found = tau(printed, [scores(row) for row in ours.tolist()])
    # Of 27 resamples the ends at 2.5 % are the outermost.
    assert (found.low, found.high) == pytest.approx((drawn[0], drawn[-1]))
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("seed", [52, 204, 315])
def test_the_interval_of_tau_leaves_out_a_fortieth_of_the_resamples_at_each_end(seed):
    # Scores for which the value at either end is another than its neighbour's.
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(6, 4)) * rng.choice([0.3, 3], size=4)
    ours = spread + np.arange(6)[:, None] / 3
    drawn = sorted(
        stats.kendalltau(range(6), ours[:, list(pick)].mean(axis=1)).statistic
        for pick in itertools.product(range(4), repeat=4)
    )
    found = tau(list(range(6)), [scores(row) for row in ours.tolist()])
    # Of 256 values an end lies between the seventh and the eighth; the outer one is taken.
    assert (found.low, found.high) == pytest.approx((drawn[6], drawn[-7]))


def test_a_resample_in_which_all_arms_tie_has_no_part_in_the_interval_of_tau():
    found = tau([1, 2, 3], [scores([5, one, one + 1]) for one in (1, 2, 4)])
    assert (found.low, found.high) == (1, 1)


@pytest.mark.parametrize(("seeds", "count"), [(5, 5**5), (6, 10_000)])
def test_up_to_five_seeds_every_resample_is_taken(seeds, count):
    drawn = statistics._resamples(seeds)
    assert drawn.shape == (count, seeds)
    assert set(drawn.flat) == set(range(seeds))


def test_the_interval_of_tau_is_the_same_twice():
    rng = np.random.default_rng(4)
    ours = [scores(row) for row in rng.normal(size=(6, 8)).tolist()]
    assert tau([1, 2, 3, 4, 5, 6], ours) == tau([1, 2, 3, 4, 5, 6], ours)


def test_tau_lets_an_arm_lack_a_seed():
    ours = [scores([1, 2, 3]), scores([2, 3, 4]), {0: 5.0, 1: 6.0}]
    found = tau([1, 2, 3], ours)
    assert (found.value, found.arms, found.seeds) == (1, 3, 3)
    assert found.low == found.high == 1


def test_a_seed_that_the_middle_arm_lacks_does_not_move_it():
    found = tau([1, 2, 3], [scores([10.0] * 3), scores([11.0] * 2), scores([12.0] * 3)])
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_tau_of_two_seeds_has_no_interval():
    found = tau([1, 2, 3], [scores([one, one + 1]) for one in (1, 2, 4)])
    assert (found.value, found.low, found.seeds) == (1, None, 2)


def test_an_arm_without_scores_is_left_out_of_tau():
    found = tau([1, 9, 2, 3], [scores([1.0]), {}, scores([2.0]), scores([3.0])])
    assert (found.value, found.arms) == (1, 3)


def test_one_arm_of_a_single_seed_takes_the_interval_of_tau_away():
    found = tau([1, 2, 3], [scores([1, 2, 3]), scores([2, 3, 4]), scores([5])])
    assert (found.value, found.low, found.high, found.seeds) == (1, None, None, 3)


def test_tau_is_written_with_its_interval():
    assert str(Tau(value=0.5, low=0.254, high=1.0, arms=3, seeds=3)) == "0.50 [0.25, 1.00]"


def test_tau_of_single_seeds_has_no_interval():
    found = tau([1, 2, 3], many([1, 3, 2]))
    assert (found.low, str(found)) == (None, "0.33")


PRINTED = {
    (
        record.experiment,
        *(record.axes[name] for name in PAPER_TABLES[record.experiment].axes),
    ): record
    for record in frame.published_records()
    if record.experiment in PAPER_TABLES
}


def printed(comparison, which):
    return PRINTED[comparison.experiment, *which].measures.printed["miou"]


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda found: found.title)
def test_both_rows_are_printed_and_stand_as_the_text_says(comparison):
    gap = printed(comparison, comparison.above) - printed(comparison, comparison.below)
    assert gap > -comparison.margin


@pytest.mark.parametrize(
    ("title", "points"),
    [("nb over baseline", 2.6), ("fnb over common-fusion", 0.8), ("common-fusion+nb over nb", 0.6)],
)
def test_the_gains_that_the_text_quotes_are_those_of_the_records(title, points):
    (found,) = [one for one in COMPARISONS if one.title == title]
    gap = printed(found, found.above) - printed(found, found.below)
    assert gap == pytest.approx(points)
    assert f"{points}%" in found.says


def test_the_full_network_is_compared_with_every_other_row():
    others = {c.below for c in COMPARISONS if c.above == ("paper/afnb+apnb",)}
    rows = {key[1:] for key in PRINTED if key[0] == "table6"}
    assert others == rows - {("paper/afnb+apnb",)}


def test_comparisons_are_distinct():
    assert len({c.title for c in COMPARISONS}) == len(COMPARISONS) == 25
