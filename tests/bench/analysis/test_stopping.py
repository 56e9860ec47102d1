"""Boundaries of the sequential sign test: their level over all looks, counted course by course."""

from itertools import product

import pytest

from bench.analysis import sign_test
from bench.analysis.operating import Setting, rounds_that_decide
from bench.analysis.stopping import boundary, crossing, is_out_of_reach, verdict_chances


def reached(course, needs):
    """Whether a course of agreeing (1) and other rounds (0) reaches the boundary at any look."""
    agreed = 0
    for need, agrees in zip(needs, course, strict=True):
        agreed += agrees
        if need is not None and agreed >= need:
            return True
    return False


@pytest.mark.parametrize(("level", "most"), [(0.3, 6), (0.05, 10), (0.01, 14), (0.002, 14)])
def test_of_all_courses_of_a_fair_coin_no_more_than_the_level_reach_the_boundary(level, most):
    needs = boundary(level, most)
    share = sum(reached(course, needs) for course in product((0, 1), repeat=most)) / 2**most
    assert 0 < share <= level
    assert sum(crossing(needs, 0.5)) == pytest.approx(share)


@pytest.mark.parametrize("level", [0.05, 0.001, 0.00025])
@pytest.mark.parametrize("most", [12, 20, 60, 150])
def test_the_level_holds_over_all_looks(level, most):
    assert sum(crossing(boundary(level, most), 0.5)) <= level


def test_the_chance_is_that_of_unequal_courses_too():
    needs = boundary(0.05, 10)
    share = sum(
        0.8 ** sum(course) * 0.2 ** (10 - sum(course))
        for course in product((0, 1), repeat=10)
        if reached(course, needs)
    )
    assert sum(crossing(needs, 0.8)) == pytest.approx(share)


def test_of_sixty_rounds_twelve_decide_if_all_agree():
    needs = boundary(sign_test.LEVEL, sign_test.ROUNDS)
    assert needs[:12] == (None,) * 11 + (12,)
    assert (needs[15], needs[19]) == (15, 18)


def test_what_twenty_rounds_decided_at_one_look_is_decided_by_then():
    assert boundary(0.001, 60)[19] <= sign_test.needed(20, 0.001)


@pytest.mark.parametrize("level", [0.3, 0.05, 0.001, 0.00025])
def test_the_fewest_rounds_decide_at_each_look_as_at_one(level):
    fewest = sign_test.fewest_rounds(level)
    assert boundary(level, fewest)[-1] == fewest


def test_chances_of_verdicts_are_those_of_all_courses():
    needs, chances = boundary(0.1, 8), {1: 0.2, -1: 0.1, 0: 0.7}
    totals = {"slower": 0.0, "faster": 0.0, "same": 0.0}
    for course in product(chances, repeat=8):
        weight = 1.0
        for each in course:
            weight *= chances[each]
        for rounds, need in enumerate(needs, 1):
            up, down = course[:rounds].count(1), course[:rounds].count(-1)
            counts = {"slower": up, "faster": down, "same": rounds - max(up, down)}
            verdict = next((name for name in counts if need and counts[name] >= need), None)
            if verdict:
                totals[verdict] += weight
                break
    drawn = verdict_chances(needs, above=0.2, below=0.1)
    assert (drawn.slower, drawn.faster, drawn.same) == pytest.approx(tuple(totals.values()))


def test_what_can_no_longer_be_decided_is_out_of_reach():
    needs = boundary(0.001, 12)
    assert not is_out_of_reach((0, 0, 5), needs, rounds=5)
    assert is_out_of_reach((1, 0, 4), needs, rounds=5)


@pytest.mark.parametrize(("level", "most"), [(0.0, 60), (0.5, 60), (0.001, 0)])
def test_a_setting_out_of_range_is_refused(level, most):
    with pytest.raises(ValueError, match="a level lies between 0 and 0.5 and rounds are 1 or more"):
        boundary(level, most)


def setting(scatter, **changes):
    return Setting(**{"margin": 0.02, "level": 0.001, "most": 60, "scatter": scatter, **changes})


def test_at_the_margin_a_verdict_is_wrong_as_often_as_the_level_allows_and_no_more():
    for scatter in (0.005, 0.02, 0.1):
        chances = setting(scatter).chances(0.02)
        assert max(chances.slower, chances.same) <= setting(scatter).largest_error <= 0.001


def test_where_rounds_scatter_by_one_percent_equals_are_the_same_and_five_percent_is_found():
    equal, slowed = (setting(0.01).chances(planted) for planted in (0.0, 0.05))
    assert (equal.same, slowed.slower) == pytest.approx((1.0, 1.0), abs=1e-3)
    assert equal.slower + equal.faster < 1e-12
    assert equal.rounds < 15


def test_rounds_that_decide_do_so_nine_times_in_ten():
    wide = setting(0.02)
    rounds = rounds_that_decide(wide, 0.0)
    assert 60 < rounds <= 80
    assert rounds_that_decide(setting(0.2), 0.0) is None
