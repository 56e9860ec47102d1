"""Simulated comparisons are judged as single ones are, and equal arms of symmetric noise stay equal."""

import numpy as np
import pytest

from bench.analysis.sign_test import judge_rounds
from bench.analysis.simulation import VERDICTS, exact_interval, judge_all, simulate

RULE = {"margin": 0.02, "level": 0.001, "most": 40}


@pytest.mark.parametrize("shift", [0.0, 0.03, -0.05, 0.1])
@pytest.mark.parametrize("scatter", [0.01, 0.03])
def test_many_comparisons_are_judged_as_each_by_itself(shift, scatter):
    draw = np.random.default_rng(0)
    logs, controls = draw.normal(shift, scatter, (40, 40)), draw.normal(0, scatter, (40, 40))
    verdicts, ends = judge_all(logs, controls, **RULE)
    for row, verdict in enumerate(verdicts):
        single = judge_rounds(logs[row].tolist(), controls[row].tolist(), **RULE)
        assert single.verdict == VERDICTS[verdict]
        # What can't be decided any more ends there.
        assert single.rounds <= ends[row]


def noise(scatter, rounds=60):
    return [np.random.default_rng(1).normal(0, scatter / 2**0.5, (rounds, 3))]


def test_ten_thousand_equal_arms_of_a_quiet_machine_are_never_called_different():
    counts = simulate(noise(0.01), planted=0.0, count=10_000, **RULE | {"most": 60})
    assert counts["faster"] + counts["slower"] == 0
    assert counts["same"] >= 9_500


def test_five_percent_is_found_on_a_quiet_machine():
    counts = simulate(noise(0.01), planted=0.05, count=1_000, **RULE | {"most": 60})
    assert counts["slower"] >= 950
    assert counts["same"] == counts["faster"] == 0


def test_an_interval_holds_every_share_under_which_the_count_is_no_surprise():
    assert exact_interval(0, 10_000) == pytest.approx((0.0, 3.688e-4), rel=1e-3)
    assert exact_interval(10, 10) == pytest.approx((0.6915, 1.0), rel=1e-3)
    assert exact_interval(5, 10) == pytest.approx((0.1871, 0.8129), rel=1e-3)
