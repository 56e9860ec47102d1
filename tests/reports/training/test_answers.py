"""The answer on accuracy, a sentence a question."""

import pytest

from reports import overview, training
from reports.model import frame
from tests.reports.training.trained_tables import barely_told_apart


def answers(records):
    (alike,) = training.studies_by_setting(training.training_studies(frame.build_frame(records)))
    return list(training.accuracy_answers(alike))


@pytest.fixture(scope="module")
def given(make):
    return answers(make.table6())


def test_a_sentence_has_difference_interval_published_step_and_verdict(given):
    assert given[0] == (
        "NB against the baseline: nb over baseline +10.00 points [9.57, 10.43] (paper +2.6), "
        "supported (also among all)."
    )


def test_what_contradicts_the_paper_is_told_as_plainly(make):
    percents = {"baseline": 60.0, "nb": 50.0}
    assert answers(make.table6(percents))[0].endswith(
        "(paper +2.6), not supported (also among all)."
    )


def test_what_is_open_is_called_undecided(given):
    assert "apnb over nb +0.20 points [-0.23, 0.63] (paper +0.2), undecided;" in given[1]


def test_what_stands_alone_is_told_from_what_stands_among_all(make):
    assert answers(barely_told_apart(make))[0].endswith("supported (alone, not among all).")


def test_a_comparison_without_records_says_why(make):
    percents = {"baseline": 40.0, "common-fusion": 41.0}
    (fusion,) = answers(make.table6(percents))
    assert fusion.startswith("Fusion: common-fusion over baseline +1.00 points")
    assert "fnb over common-fusion has no answer, since fnb has no score" in fusion


def test_questions_without_any_answer_are_left_out(given):
    topics = [text.partition(":")[0] for text in given]
    assert topics == ["NB against the baseline", "APNB against NB", "Fusion", "The whole network"]


def test_one_seed_has_no_interval(make):
    (first, *_) = answers(make.table6(seeds=(0,)))
    assert "points without an interval (paper +2.6), undecided." in first


def test_every_question_names_comparisons_that_there_are():
    from reports.training.answers import QUESTIONS
    from reports.training.claims import COMPARISONS

    titles = {comparison.title for comparison in COMPARISONS}
    assert {title for asked in QUESTIONS.values() for title in asked} <= titles


def test_the_answers_are_in_the_overview_with_their_setting(make):
    (section,) = overview.overview_sections(frame.build_frame(make.table6()))
    assert section.details[0].endswith("supported (also among all) (scenes, quick, 3 seeds).")
