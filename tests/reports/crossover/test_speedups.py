"""Speed-ups over the plain block are those that were planted."""

import pytest

from reports.crossover import speedups
from reports.model import build_frame, rows_of_experiment

TIMES = {"nb": 1.0, "nb:fast": 0.25, "nb:slow": 4.0, "nb:same": 1.01, "apnb:fast": 0.1}


@pytest.fixture(scope="module")
def frame(make):
    records = [
        make.measured(arm, "97x97", time_s=time, experiment="implementations")
        for arm, time in TIMES.items()
    ]
    return build_frame(records)


def test_a_speed_up_is_the_time_of_the_plain_block_over_that_of_the_arm(frame):
    found = speedups.speedups(rows_of_experiment(frame, "implementations"))
    times = {each.arm: (each.ratio.median, each.verdict) for each in found}
    assert times == {
        "nb:fast": (pytest.approx(4.0), "faster"),
        "nb:same": (pytest.approx(1 / 1.01), "no difference told"),
        "nb:slow": (pytest.approx(0.25), "slower"),
    }


def test_an_arm_whose_plain_block_was_not_timed_has_none(frame):
    assert "apnb:fast" not in str(speedups.speedup_figures(frame)[0].data.rows)


def test_the_figure_leads_and_says_the_largest(frame):
    (figure,) = speedups.speedup_figures(frame)
    assert figure.lead
    assert (
        "nb:fast 4.00 [3.62, 4.42] times as fast (nb at 97x97, inference, float32)"
        in figure.alternative
    )


def test_the_fast_path_is_an_answer(frame):
    (sentence,) = speedups.speedup_answers(frame)
    times = "nb:fast is 4.00 [3.62, 4.42] times as fast as the plain block"
    assert sentence == f"On Example CPU, {times} (nb at 97x97, inference, float32)."


def test_without_the_experiment_there_is_no_figure(make):
    assert speedups.speedup_figures(build_frame(make.table1())) == ()
