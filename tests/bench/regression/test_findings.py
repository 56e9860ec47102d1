"""Findings and controls from comparisons that are made up here: their values, and whose settings judge."""

import pytest

from bench.records.comparison import ArmReadings
from bench.regression import verdicts as judging
from tests.bench.regression.gated import NOISE, ROUNDS, comparison, verdicts


def test_one_round_far_off_moves_neither_side_of_a_finding():
    (found,) = judging.findings([comparison(1.1, noise=[1.0] * 19 + [30.0])])
    assert (found.before, found.after) == pytest.approx((1.0, 1.1))
    assert found.before_rounds == (1.0,) * ROUNDS


def test_a_finding_says_in_how_many_rounds_it_was_seen():
    (found,) = judging.findings([comparison(1.1)])
    assert found.reason == "20 of 20 rounds beyond the bar, 18 needed"


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({}, "INCONCLUSIVE"),
        ({"level": 0.05}, "MORE"),
        ({"level": 0.05, "margin": 0.2}, "SAME"),
        ({"level": 0.05, "comparisons": 2}, "INCONCLUSIVE"),
    ],
)
def test_memory_is_judged_by_the_settings_of_its_comparison(settings, verdict):
    made = comparison(memory=110, noise=NOISE[:5]).model_copy(update=settings)
    assert verdicts(made)["memory of a call"] == verdict


def test_memory_that_differs_between_equals_decides_nothing():
    made = comparison(memory=110)
    memory = ArmReadings(first=(100.0,), control=(120.0,), second=(110.0,))
    rounds = tuple(one.model_copy(update={"memory": memory}) for one in made.rounds)
    made = made.model_copy(update={"rounds": rounds})
    assert verdicts(made)["memory of a call"] == "INCONCLUSIVE"


def test_a_quantity_that_was_not_worse_is_not_judged_by_the_second_measurement():
    made = [comparison(1.0, memory=110), comparison(1.1, memory=110, role="again")]
    time, memory = judging.findings(made)
    assert (time.verdict, memory.verdict) == ("SAME", "MORE")
    assert "again" not in time.reason


def test_a_cell_measured_twice_has_the_values_of_the_first_time():
    (found,) = judging.findings([comparison(1.1), comparison(1.3, role="again")])
    assert found.ratio == pytest.approx(1.1)


def test_a_comparison_of_another_run_is_named_by_its_second_arm_and_size():
    made = comparison().model_copy(update={"axes": {}})
    assert (made.gate_cell, made.gate_role) == ("apnb@head 9x7", "")


@pytest.mark.parametrize("role", ["cell", "planted"])
def test_a_comparison_without_rounds_or_failure_says_so(role):
    made = [comparison(role=role).model_copy(update={"rounds": ()})]
    (found,) = judging.findings(made) or judging.controls(made)
    assert found.reason.endswith("there are no rounds")


def test_a_control_has_its_ratio_interval_and_reason():
    (found,) = judging.controls([comparison(1.1, role="planted")])
    assert found.low < found.ratio < found.high
    assert found.ratio == pytest.approx(1.1)
    assert found.reason == "20 of 20 rounds beyond the bar, 18 needed"
