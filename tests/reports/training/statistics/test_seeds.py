"""Statistics over seeds, held against scipy, hand-made cases and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from reports.training import statistics
from reports.training.claims import MARGIN_POINTS
from reports.training.statistics import EXACT_SEEDS, Difference, holm, paired, verdict_of


def scores(values, start=0):
    return dict(enumerate(values, start))


def three(mean):
    """Three seeds whose differences have that mean and a deviation of 1."""
    return Difference((0, 1, 2), (mean - 1, mean, mean + 1))


def judge(difference, threshold=0.0):
    return verdict_of(difference.interval() if difference else None, threshold=threshold)


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
    loss, gain = map(three, (-2.0, 2.0))
    assert loss.p_value() == pytest.approx(gain.p_value())
    assert loss.p_value() == pytest.approx(stats.ttest_1samp([-3.0, -2.0, -1.0], 0).pvalue)


def test_a_single_seed_has_a_difference_without_a_deviation():
    found = paired({0: 3.0}, {0: 1.0})
    assert (found.mean, found.deviation, found.seeds) == (2.0, None, (0,))


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
    assert judge(three(mean), threshold) == verdict


@pytest.mark.parametrize(("mean", "verdict"), [(3.0, "supported"), (2.0, "undecided")])
def test_unless_said_otherwise_the_question_is_whether_there_is_a_gain(mean, verdict):
    assert verdict_of(three(mean).interval()) == verdict


@pytest.mark.parametrize("end", [0, 1])
def test_an_interval_that_ends_at_the_threshold_decides_nothing(end):
    found = three(2.0)
    assert judge(found, found.interval()[end]) == "undecided"


def test_two_seeds_decide_nothing_however_far_apart():
    found = Difference((0, 1), (49.9, 50.1))
    assert (judge(found), found.interval(), found.p_value()) == ("undecided", None, None)


def test_seeds_without_a_spread_decide_nothing():
    assert judge(paired(scores([2.0] * 3), scores([1.0] * 3))) == "undecided"


def test_without_a_seed_in_common_nothing_is_decided():
    assert judge(None) == "undecided"


def verdicts(true_difference, *, seeds, threshold=0.0, times=4000):
    """Shares of the verdicts where seeds have noise in common and noise of their own (deviation 1 of a difference)."""
    rng = np.random.default_rng(11)
    common = rng.normal(0, 3, size=(times, 1, seeds))
    own = rng.normal(0, 0.5**0.5, size=(times, 2, seeds))
    runs = 50 + common + own
    runs[:, 0] += true_difference
    found = [judge(paired(scores(above), scores(below)), threshold) for above, below in runs]
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


@pytest.mark.parametrize("scatter", ["normal", "heavy", "shared"])
def test_with_exact_tests_no_difference_is_seldom_called_one(scatter):
    rng, times = np.random.default_rng(3), 400
    draw = {
        "normal": lambda: rng.normal(size=EXACT_SEEDS),
        "heavy": lambda: rng.standard_cauchy(size=EXACT_SEEDS),
        # The scatter of a seed differs from seed to seed.
        "shared": lambda: rng.normal(size=EXACT_SEEDS) * rng.exponential(size=EXACT_SEEDS),
    }[scatter]
    found = [judge(paired(scores(draw()), scores(np.zeros(EXACT_SEEDS)))) for _ in range(times)]
    # 2.5 % each, and three standard errors of 400 draws.
    assert found.count("supported") <= times * 0.0484
    assert found.count("not supported") <= times * 0.0484


@pytest.mark.parametrize(("seeds", "is_exact"), [(11, False), (12, True), (24, True), (25, False)])
def test_from_twelve_seeds_on_the_test_is_exact_while_it_can_be_counted(seeds, is_exact):
    assert paired(scores(range(seeds)), scores([0.0] * seeds)).is_exact is is_exact


def test_an_exact_verdict_and_its_p_value_agree():
    rng = np.random.default_rng(8)
    for shift in np.linspace(0, 1, 30):
        found = paired(scores(rng.normal(shift, 1, EXACT_SEEDS)), scores(np.zeros(EXACT_SEEDS)))
        assert (judge(found) == "undecided") is (found.p_value() > 0.05)


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx((0.04, 0.06, 0.06, 0.06))


def test_holm_gives_no_more_than_one():
    assert holm([0.6, 0.9]) == (1.0, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_holm_is_bonferroni_for_the_least_and_nothing_for_the_largest(seed):
    values = np.random.default_rng(seed).uniform(0, 0.2, size=5)
    found = holm(values.tolist())
    assert min(found) == pytest.approx(5 * values.min())
    assert found[values.argmax()] == pytest.approx(max(found))


def test_holm_leaves_out_what_was_not_tested():
    assert holm([None, 0.04, None]) == (None, 0.04, None)
    assert holm([None]) == (None,)


def test_holm_keeps_the_chance_of_any_false_call_at_the_level():
    rng = np.random.default_rng(5)
    wrong = [min(holm(p)) <= 0.05 for p in rng.uniform(size=(4000, 10)).tolist()]
    assert np.mean(wrong) <= 0.05 + 3 * 0.0035
