"""What the text compares, held against the published records."""

import pytest

from reports.model import frame
from reports.training.claims import COMPARISONS, PAPER_TABLES
from reports.training.statistics import ImageDifference
from reports.training.verdicts import ComparisonResult

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


def test_labels_are_distinct_and_short():
    labels = [c.label for c in COMPARISONS]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 32


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("apnb no worse than nb", "apnb no worse than nb"),
        ("average 15 over max 15", "average 15 over max 15"),
        ("pyramid average 1,2,3,6 over pyramid max 1,2,3,6", "1,2,3,6: average over max"),
        ("pyramid average 1,4,8,12 over average 15", "pyramid 1,4,8,12 over average 15"),
        ("pyramid average 1,3,6,8 over pyramid average 1,2,3,6", "pyramid 1,3,6,8 over 1,2,3,6"),
    ],
)
def test_a_label_leaves_out_what_both_rows_share(title, label):
    (comparison,) = [c for c in COMPARISONS if c.title == title]
    assert comparison.label == label


@pytest.mark.parametrize(("images", "why"), [(7, "7 of 20 images"), (101, "no image differs")])
def test_without_an_interval_over_images_the_reason_is_the_true_one(images, why):
    alike = ImageDifference(0.0, 0.0, images, 1)
    result = ComparisonResult(COMPARISONS[0], over_images=alike)
    assert result.why_not_over_images == why
