"""When a comparison ends: its clock, its controls, and memory that may be more."""

import pytest

from bench.analysis import sign_test
from bench.records.comparison import ArmReadings, ArmRecord, Comparison, RoundRecord

APART = (1.03, 1.07)  # on both sides of the margin by turns


def played(rounds, *, ratios=(1.0,), control=1.0, planted=(1.1,), memory=None):
    """A comparison with controls after so many rounds, which read these ratios by turns."""
    needed = memory and ArmReadings(first=(100.0,), control=(100.0,), second=(memory,))
    records = []
    for number in range(rounds):
        second, slowed = (each[number % len(each)] for each in (ratios, planted))
        arms = {"control": (control,), "second": (second,), "planted": (slowed,)}
        taken = ArmReadings(first=(1.0,), **arms)
        records.append(RoundRecord(order="ACBP", readings={"process": taken}, memory=needed))
    return Comparison(
        first=ArmRecord(arm="a", cell="0"),
        second=ArmRecord(arm="b", cell="1"),
        size="9x7",
        axes={},
        margin=0.05,
        level=0.001,
        planted=0.1,
        most_rounds=60,
        rounds=tuple(records),
    )


def test_a_comparison_ends_when_its_clock_and_both_controls_are_decided():
    assert not sign_test.is_decided(played(11))
    assert sign_test.is_decided(played(12))
    assert not sign_test.is_decided(played(20, ratios=APART))
    assert not sign_test.is_decided(played(20, planted=APART))


def test_a_control_that_fails_ends_it_at_once_whatever_the_clock():
    assert not sign_test.is_decided(played(12, ratios=APART))
    assert sign_test.is_decided(played(12, ratios=APART, planted=(1.0,)))
    assert sign_test.is_decided(played(12, ratios=APART, control=1.2))


@pytest.mark.parametrize("memory", [100.0, 110.0, 90.0])
def test_memory_that_is_decided_is_not_waited_for(memory):
    assert sign_test.is_decided(played(12, memory=memory))


def with_memory(*readings):
    rounds = [played(1, memory=each).rounds[0] for each in readings]
    return played(1).model_copy(update={"rounds": tuple(rounds)})


def test_memory_that_may_be_more_is_waited_for_until_twenty_rounds():
    more, alike = [100.0, 110.0, 110.0], [100.0, 100.0, 110.0]
    assert not sign_test.is_decided(with_memory(*more * 6))
    assert sign_test.is_decided(with_memory(*more * 7))
    assert sign_test.is_decided(with_memory(*alike * 4))
