"""The rule that says which arm is faster: its table, its symmetries, and its error rates in simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import sign_test
from bench.analysis.sign_test import decide, judge_rounds
from bench.records.comparison import ArmReadings

EQUAL = [0.0, 1e-3, -1e-3, 2e-3, -2e-3] * 4
SWAPPED = {"FASTER": "SLOWER", "SLOWER": "FASTER"}


def verdict(ratio, controls=EQUAL, **options):
    """Of twenty rounds whose ratios are `ratio`, or as listed."""
    ratios = ratio if isinstance(ratio, list) else [ratio] * 20
    return judge_rounds([math.log(one) for one in ratios], controls, **options).verdict


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.5, "FASTER"),
        (0.979, "FASTER"),
        (0.981, "SAME"),
        (1.0, "SAME"),
        (1.019, "SAME"),
        (1.021, "SLOWER"),
        (2.0, "SLOWER"),
        ([1.5] * 18 + [0.9] * 2, "SLOWER"),
        ([1.5] * 17 + [0.9] * 3, "INCONCLUSIVE"),
        ([0.5] * 18 + [1.1] * 2, "FASTER"),
        ([1.0] * 18 + [1.5, 0.5], "SAME"),
        ([1.0] * 17 + [1.5] * 3, "INCONCLUSIVE"),
        ([1.0] * 16 + [1.5] * 2 + [0.5] * 2, "SAME"),
        ([1.5] * 10 + [0.5] * 10, "INCONCLUSIVE"),
    ],
)
def test_eighteen_of_twenty_rounds_decide(ratio, expected):
    assert verdict(ratio) == expected


def test_the_margin_is_what_does_not_matter():
    assert verdict(1.05, margin=0.1) == "SAME"
    assert verdict(1.05, margin=0.01) == "SLOWER"


def test_a_machine_on_which_equals_differ_decides_nothing():
    found = judge_rounds([math.log(3)] * 20, [math.log(1.05)] * 20)
    assert found.verdict == "INCONCLUSIVE"
    assert "this machine cannot decide" in found.reason


def test_the_control_is_compared_with_the_first_arm():
    one = ArmReadings(first=(1.0,), second=(3.0,), control=(1.05,))
    found = decide([one] * 20)
    assert found.control.median == pytest.approx(1.05)
    assert found.verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "INCONCLUSIVE"),
        ({"level": 0.05}, "SLOWER"),
        ({"level": 0.05, "margin": 0.1}, "SAME"),
        ({"level": 0.05, "comparisons": 2}, "INCONCLUSIVE"),
    ],
)
def test_readings_are_judged_by_the_settings_given(options, expected):
    one = ArmReadings(first=(1.0,), second=(1.05,), control=(1.0,))
    assert decide([one] * 5, **options).verdict == expected


def test_a_control_that_is_faster_raises_the_bar_as_a_slower_one_does():
    slower = [math.log(1.03)] * 12 + [math.log(0.97)] * 8
    found = judge_rounds([0.0] * 20, [-one for one in slower])
    assert (round(found.bar, 6), found.margin) == (0.06, 0.02)


def test_a_decision_counts_the_rounds_on_either_side():
    ratios = [1.5] * 7 + [0.5] * 3 + [1.0] * 10
    found = judge_rounds([math.log(one) for one in ratios], EQUAL)
    assert (found.above, found.below, found.within) == (7, 3, (13, 17))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_ratio_that_is_the_margin_itself_is_neither_beyond_nor_within(sign):
    assert judge_rounds([sign * math.log1p(0.02)] * 20, [0.0] * 20).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(("apart", "expected"), [(17, "SLOWER"), (18, "INCONCLUSIVE")])
@pytest.mark.parametrize("off", [1.05, 1 / 1.05])
def test_equals_that_differ_in_eighteen_rounds_are_enough_to_decide_nothing(apart, expected, off):
    controls = [math.log(off)] * apart + [0.0] * (20 - apart)
    assert verdict(2.0, controls) == expected


def test_a_difference_has_to_pass_twice_the_floor():
    wavering = [math.log(1.03)] * 12 + [math.log(0.97)] * 8
    assert verdict(1.05, wavering) == "INCONCLUSIVE"
    found = judge_rounds([math.log(1.07)] * 20, wavering)
    assert (found.verdict, round(found.floor, 6), round(found.bar, 6)) == ("SLOWER", 0.03, 0.06)


@pytest.mark.parametrize(("ratio", "expected"), [(1.05, "INCONCLUSIVE"), (1.07, "FASTER")])
def test_a_gain_has_to_pass_twice_the_floor_too(ratio, expected):
    wavering = [math.log(1.03)] * 12 + [math.log(0.97)] * 8
    assert verdict(1 / ratio, wavering) == expected


@pytest.mark.parametrize("ratio", [1.03, 1 / 1.03])
def test_a_high_floor_makes_nothing_the_same(ratio):
    wavering = [math.log(1.03)] * 12 + [math.log(0.97)] * 8
    assert verdict(ratio, wavering) == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("ratios", "reason"),
    [
        ([1.5] * 17 + [0.5] * 3, "at most 17 of 20 rounds agree, 18 needed"),
        ([1.5] * 3 + [0.5] * 17, "at most 17 of 20 rounds agree, 18 needed"),
        ([1.0] * 17 + [1.5] * 3, "at most 17 of 20 rounds agree, 18 needed"),
        ([1.0] * 19 + [1.5], "19 of 20 rounds within the margin, 18 needed"),
    ],
)
def test_the_reason_counts_the_rounds_that_agree(ratios, reason):
    assert judge_rounds([math.log(one) for one in ratios], EQUAL).reason == reason


def test_fewer_than_eight_rounds_have_a_median_without_an_interval():
    found = judge_rounds([0.0] * 7, [0.0] * 7).ratio
    assert (found.median, found.low, found.high) == (1.0, None, None)


def test_rounds_are_independent_and_make_no_blocks():
    logs = [math.log(1 + place / 100) for place in range(24)]
    found = judge_rounds(logs, [0.0] * 24).ratio
    # Ranks 6 and 19 of 24 hold the median with 99.3 %; ranks 2 and 11 of 12 blocks are wider.
    assert (found.low, found.high) == pytest.approx((1.05, 1.18))


def test_too_few_rounds_are_said_to_be():
    found = judge_rounds([math.log(2)] * 9, [0.0] * 9)
    assert (found.verdict, found.needed) == ("INCONCLUSIVE", None)
    assert found.reason == "9 rounds are too few for this level, even if all agree"


def test_the_fewest_rounds_decide_if_all_agree():
    assert sign_test.fewest_rounds(0.001) == 10
    assert verdict([2.0] * 10, [0.0] * 10) == "SLOWER"
    assert verdict([2.0] * 9 + [0.9], [0.0] * 10) == "INCONCLUSIVE"


def test_a_lone_comparison_has_the_whole_level():
    twice = ArmReadings(first=(1.0,), second=(2.0,), control=(1.0,))
    assert decide([twice] * 10).verdict == "SLOWER"  # 9.8e-4 of 1e-3


def test_the_fewest_rounds_grow_with_the_comparisons():
    assert sign_test.fewest_rounds(0.001, comparisons=4) == 12  # 2.4e-4 of 2.5e-4


def test_two_rounds_that_agree_suffice_at_a_high_level():
    assert (sign_test.needed(2, 0.25), sign_test.needed(2, 0.24)) == (2, None)


def test_comparisons_share_the_level():
    most = [1.5] * 18 + [0.9] * 2
    assert verdict(most, comparisons=4) == "SLOWER"  # 2.0e-4 of 2.5e-4
    assert verdict(most, comparisons=5) == "INCONCLUSIVE"


def test_the_chance_of_a_count_is_the_binomials():
    from scipy.special import bdtrc

    for count in (10, 15, 18, 20):
        assert sign_test.chance(count, 20) == pytest.approx(bdtrc(count - 1, 20, 0.5))


@pytest.mark.parametrize("rounds", [10, 20, 31])
def test_what_is_needed_is_just_within_the_level(rounds):
    count = sign_test.needed(rounds, 0.001)
    assert sign_test.chance(count, rounds) <= 0.001 < sign_test.chance(count - 1, rounds)


def test_a_round_is_the_median_ratio_of_neighbours():
    one = ArmReadings(first=(1.0, 2.0, 9.0), second=(3.0, 4.0, 9.0), control=(1.0, 3.0, 9.0))
    found = decide([one] * 20)
    assert found.ratio.median == pytest.approx(2.0)
    assert found.control.median == pytest.approx(1.0)


def test_a_round_whose_speed_drifts_steadily_shows_no_difference():
    """A C B B C A while each turn takes a tenth longer than the last."""
    first, control, second, again, repeat, last = (1.1**turn for turn in range(6))
    one = ArmReadings(first=(first, last), second=(second, again), control=(control, repeat))
    found = decide([one] * 20)
    assert (found.ratio.median, found.control.median) == pytest.approx((1.0, 1.0))


def test_the_interval_is_that_of_the_sign_test():
    logs = [math.log(1 + place / 100) for place in range(20)]
    found = judge_rounds(logs, EQUAL)
    # Ranks 4 and 17 of 20 hold the median with 99.7 %, ranks 5 and 16 with 98.8 %.
    assert (found.ratio.low, found.ratio.high) == pytest.approx((1.03, 1.16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0}, "margin=0 is not a share between 0 and 1"),
        ({"margin": 1}, "margin=1 is not a share"),
        ({"margin": 2}, "margin=2 is not a share"),
        ({"level": 0}, "level=0.0 is not between 0 and 0.5"),
        ({"level": 0.5}, "level=0.5 is not between 0 and 0.5"),
        ({"comparisons": 0}, "comparisons=0; it counts this one too"),
    ],
)
def test_a_setting_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        verdict(1.0, **options)


@pytest.mark.parametrize("controls", [1, 3])
def test_every_round_needs_its_control(controls):
    with pytest.raises(ValueError, match=f"2 ratios and {controls} of the control"):
        judge_rounds([0.0] * 2, [0.0] * controls)


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="0 ratios and 0 of the control"):
        decide([])


@pytest.mark.parametrize("reading", [0.0, -1.0, math.inf, math.nan])
def test_readings_that_are_no_times_are_refused(reading):
    with pytest.raises(ValueError, match="are no times"):
        decide([ArmReadings.model_construct(first=(1.0,), second=(reading,), control=(1.0,))])
    with pytest.raises(ValueError, match="are no times"):
        decide([ArmReadings.model_construct(first=(reading,), second=(1.0,), control=(1.0,))])


@pytest.mark.parametrize("readings", [(), (1.0, 2.0)])
def test_every_arm_needs_as_many_readings(readings):
    with pytest.raises(ValueError, match="readings beside 1; every arm needs as many"):
        decide([ArmReadings(first=(1.0,), second=readings, control=(1.0,))])


logs = st.floats(-1, 1)
rounds = st.lists(st.tuples(logs, st.floats(-0.03, 0.03)), min_size=1, max_size=25)
levels = st.sampled_from([0.3, 0.05, 0.001])
# A verdict is rare among rounds at random: half of the draws have rounds that agree.
agreeing = st.tuples(logs, st.integers(1, 25)).map(lambda drawn: [(drawn[0], 0.0)] * drawn[1])


@given(rounds | agreeing, levels)
def test_swapping_the_arms_swaps_the_verdict(drawn, level):
    ratios, controls = zip(*drawn, strict=True)
    found = judge_rounds(ratios, controls, level=level).verdict
    other = judge_rounds([-one for one in ratios], controls, level=level).verdict
    assert other == SWAPPED.get(found, found)


@given(rounds | agreeing, levels, st.randoms())
def test_the_order_of_the_rounds_changes_nothing(drawn, level, shuffled):
    again = list(drawn)
    shuffled.shuffle(again)
    first, second = (judge_rounds(*zip(*each, strict=True), level=level) for each in (drawn, again))
    assert first == second


@given(
    st.lists(st.tuples(*[st.floats(1e-3, 1.0)] * 3), min_size=1, max_size=25), st.integers(-30, 30)
)
def test_a_machine_of_another_speed_gives_the_same_decision(times, exponent):
    """By powers of two, which scale exactly."""

    def at(scale):
        return [
            ArmReadings(first=(scale * a,), second=(scale * b,), control=(scale * c,))
            for a, b, c in times
        ]

    one, other = (decide(at(scale), level=0.05) for scale in (1.0, 2.0**exponent))
    assert (one.verdict, one.above, one.below, one.within) == (
        other.verdict,
        other.above,
        other.below,
        other.within,
    )


@given(rounds | agreeing, levels)
def test_a_higher_level_never_takes_a_verdict_back(drawn, level):
    ratios, _ = zip(*drawn, strict=True)
    found = judge_rounds(ratios, [0.0] * len(ratios), level=level / 3).verdict
    later = judge_rounds(ratios, [0.0] * len(ratios), level=level).verdict
    assert found in ("INCONCLUSIVE", later)


class Machine:
    """Reads turns of three processes by a clock without error, on a machine whose speed drifts.

    Args:
        process: coefficient of variation of the speeds that processes keep for life.
        drift: that of the machine's speed, which forgets itself over `memory_s`.
        turn: that of single turns, which disturbances only lengthen.
        unlucky: share of processes that take 1.6 times as long for life.
    """

    def __init__(
        self, seed, *, process=0.0, drift=0.0, turn=0.0, unlucky=0.0, memory_s=5.0, turn_s=0.02
    ):
        self.draw = random.Random(seed)
        self.process, self.drift, self.turn, self.unlucky = process, drift, turn, unlucky
        self.keeps = math.exp(-turn_s / memory_s)
        self.log_speed = self.draw.gauss(0, drift)

    def rounds(self, count, *, slowdown=1.0, laps=6):
        return [self._round(slowdown, laps, swapped=bool(number % 2)) for number in range(count)]

    def _round(self, slowdown, laps, *, swapped):
        names = ("second", "control", "first") if swapped else ("first", "control", "second")
        pace = {name: math.exp(self.draw.gauss(0, self.process)) for name in sorted(names)}
        pace = {name: each * self._luck() for name, each in pace.items()}
        pace["second"] *= slowdown
        readings = {name: [] for name in names}
        for name in (*names, *reversed(names)) * laps:
            wandered = self.draw.gauss(0, self.drift * math.sqrt(1 - self.keeps**2))
            self.log_speed = self.keeps * self.log_speed + wandered
            disturbed = 1 + abs(self.draw.gauss(0, self.turn))
            readings[name].append(pace[name] * math.exp(self.log_speed) * disturbed)
        return ArmReadings(**readings)

    def _luck(self):
        return 1.6 if self.draw.random() < self.unlucky else 1.0


# measuring on two shared cores: equal processes differ by 20 %, halves of one by 2.4 %.
NOISE = {
    "processes differ": {"process": 0.2, "turn": 0.024, "drift": 0.05},
    "the machine drifts": {"drift": 0.2, "turn": 0.024, "process": 0.003},
    "some heaps are unlucky": {"unlucky": 0.3, "turn": 0.024, "drift": 0.1},
    "all at once": {"process": 0.1, "drift": 0.2, "turn": 0.1, "unlucky": 0.3},
}


def verdicts(count, slowdown=1.0, **noise):
    return [
        decide(Machine(seed, **noise).rounds(20, slowdown=slowdown)).verdict
        for seed in range(count)
    ]


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_equal_arms_are_called_different_in_at_most_one_percent(noise):
    found = verdicts(200, **noise)
    assert found.count("FASTER") + found.count("SLOWER") <= 2


def test_equal_arms_on_a_machine_that_drifts_are_mostly_the_same():
    found = verdicts(100, **NOISE["the machine drifts"])
    assert found.count("SAME") >= 50


def test_arms_at_the_margin_are_called_slower_no_more_often_than_the_level():
    """Where the true ratio is the margin itself, the test is as likely to be wrong as it ever is."""
    draw = random.Random(0)
    found = [
        judge_rounds(
            [math.log1p(sign_test.MARGIN) + draw.gauss(0, 0.05) for _ in range(20)], EQUAL
        ).verdict
        for _ in range(2000)
    ]
    assert found.count("SLOWER") <= 4  # 0.4 expected


@pytest.mark.parametrize("slowdown", [1.1, 1 / 1.1])
def test_ten_percent_are_found_though_the_machine_drifts(slowdown):
    expected = "SLOWER" if slowdown > 1 else "FASTER"
    found = verdicts(100, slowdown, **NOISE["the machine drifts"])
    assert found.count(expected) >= 95


def test_unlucky_heaps_would_hide_ten_percent():
    """Three in ten processes 1.6 times as long for life: what keeping the heap is for."""
    found = verdicts(100, 1.1, **NOISE["some heaps are unlucky"])
    assert found.count("SLOWER") < 50
    assert set(found) <= {"INCONCLUSIVE", "SLOWER"}


def test_processes_that_differ_by_a_fifth_never_pass_for_the_same():
    found = verdicts(100, 1.1, **NOISE["processes differ"])
    assert set(found) <= {"INCONCLUSIVE", "SLOWER"}
