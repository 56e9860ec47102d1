"""Tables of what the paper's text compares: verdicts by seeds and over images, and what so many seeds can tell."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from bench.records import ImageConfusions, ImageEntries
from reports import training
from reports.model import frame
from reports.render import TerminalTable
from reports.training import tables as ablations
from tests.reports.training.trained_tables import (
    barely_told_apart,
    column,
    named,
    notes,
    row,
)


def verdict(table, title):
    found = row(table, title)
    stands = found["p among all"] != "-" and float(found["p among all"]) <= 0.05
    return found["verdict"], found["verdict"] if stands else "undecided"


def test_verdicts_follow_from_the_seeds(made):
    found = made["comparisons-scenes-quick"]
    assert verdict(found, "nb over baseline")[0] == "supported"
    assert verdict(found, "apnb over nb") == ("undecided", "undecided")
    assert verdict(found, "apnb no worse than nb")[0] == "supported"
    assert verdict(found, "average 15 over max 15") == ("not supported", "not supported")


def test_what_stands_alone_may_not_stand_among_all(make):
    found = named(barely_told_apart(make))["comparisons-scenes-quick"]
    assert verdict(found, "nb over baseline") == ("supported", "undecided")
    assert "3 comparisons have an interval" in " ".join(notes(found))


def test_a_comparison_without_its_seeds_is_a_row_with_the_reason(made):
    found = made["comparisons-scenes-quick"]
    assert len(found.rows) == 25
    assert row(found, "common-fusion+nb over nb")["difference, measured (points)"] == "-"
    assert {"2 of 3 seeds", "common-fusion+nb has no score"} <= set(notes(found))


def test_the_caption_counts_the_verdicts(made):
    table = made["comparisons-scenes-quick"]
    given = column(table, "verdict")
    said = ", ".join(
        f"{given.count(kind)} {kind}" for kind in ("supported", "not supported", "undecided")
    )
    assert table.caption.startswith(f"25 comparisons: {said}; among all ")
    assert "supported. scenes, val set;" in table.caption


def test_the_caption_counts_what_stands_among_all(made):
    table = made["comparisons-scenes-quick"]
    standing = [
        kind
        for kind, p in zip(column(table, "verdict"), column(table, "p among all"), strict=True)
        if p != "-" and float(p) <= 0.05
    ]
    said = (
        f"{standing.count('supported')} supported, {standing.count('not supported')} not supported"
    )
    assert f"; among all {said}. " in table.caption


def test_published_differences_are_those_of_the_printed_numbers(made):
    found = row(made["comparisons-scenes-quick"], "nb over baseline")
    assert found["gain, published (points)"] == "2.6"
    assert found["difference, measured (points)"] == "10.00 [9.57, 10.43]"


def test_the_table_of_comparisons_fits_a_terminal_of_100_columns(made):
    console = Console(file=io.StringIO(), width=100, legacy_windows=False)
    console.print(TerminalTable(made["comparisons-scenes-quick"]))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    # Each comparison is named in both parts; no interval is broken.
    assert sum(line.startswith("afnb+apnb over common-fusion+nb ") for line in lines) == 2
    assert any("10.00 [9.57, 10.43]" in line for line in lines)


def test_half_widths_are_told_beside_the_aim(made):
    (note,) = [n for n in notes(made["comparisons-scenes-quick"]) if n.startswith("Half")]
    assert note == (
        "Half an interval by seeds is 0.00 to 0.43 points (median 0.43); 4 of 14 are at most 0.3."
    )


def test_a_table_says_the_smallest_difference_that_its_seeds_tell(make):
    # Differences of the first pair scatter by 1, so do those of the others.
    runs = [
        make.training("mine", {"width": width}, seed, 50 + gain * (seed - 1))
        for width, gain in ((8, 0.0), (16, 1.0))
        for seed in (0, 1, 2)
    ]
    (note,) = [n for n in notes(named(runs)["mine-scenes-quick"]) if n.startswith("With 3 seeds")]
    # 3.26 deviations (noncentral t, 2 degrees of freedom).
    assert "can be told is 3.26 points where they share seeds" in note
    assert "from seed to seed a difference scatters by 1.00 and a training by 1.00" in note


def test_the_seeds_that_the_papers_step_takes_are_told(make):
    percents = {"baseline": (40.0, 40.0, 40.0), "nb": (41.0, 42.0, 43.0)}
    runs = [
        make.training("table6", {"network": f"paper/{name}"}, seed, score)
        for name, scores in percents.items()
        for seed, score in enumerate(scores)
    ]
    found = row(named(runs)["comparisons-scenes-quick-power"], "nb over baseline")
    assert found["scatter of a difference, measured (points)"] == "1.00"
    assert found["smallest difference, predicted (points)"] == "3.26"
    # For 2.6 points, from the tables of the t test: paired at a deviation of 1, unpaired at 0.71.
    assert (found["seeds needed, predicted"], found["unpaired, predicted"]) == ("4", "3")


def by_image(matrix, *, images=25):
    """Accuracy fields of a matrix that is shared out among images, the first having what is over."""
    rng = np.random.default_rng(sum(map(sum, matrix)) % 997)
    total = np.array(matrix)
    shares = rng.multinomial(total.ravel(), [1 / images] * images)
    entries = [ImageEntries(np.flatnonzero(each), each[each > 0]) for each in shares.T]
    return {
        "confusion": total.tolist(),
        "image_confusions": ImageConfusions.of(entries, len(matrix)).pack(),
    }


@pytest.fixture(scope="module")
def beyond(make):
    """Two networks with the matrices of their images."""
    runs = [
        make.training(
            "table6",
            {"network": f"paper/{name}"},
            seed,
            accuracy=by_image(make.confusion(percent + seed, pixels=2_000)),
        )
        for name, percent in (("baseline", 40.0), ("nb", 60.0))
        for seed in (0, 1, 2)
    ]
    return frame.build_frame(runs)


@pytest.fixture(scope="module")
def over_images(beyond):
    (table,) = [
        table
        for table in ablations.training_tables(beyond)
        if table.name == "comparisons-scenes-quick"
    ]
    return table


def test_an_arm_that_lacks_the_matrices_of_one_seed_has_no_interval_over_images(make):
    confusion = make.confusion(60.0, pixels=2_000)
    runs = [
        make.training(
            "table6",
            {"network": f"paper/{name}"},
            seed,
            accuracy={"confusion": confusion} if (name, seed) == ("nb", 1) else by_image(confusion),
        )
        for name in ("baseline", "nb", "fnb")
        for seed in (0, 1, 2)
    ]
    found = row(named(runs)["comparisons-scenes-quick"], "nb over baseline")
    assert found["over images, measured (points)"] == "-"


def test_comparisons_over_images_have_intervals_and_verdicts_of_their_own(over_images):
    found = row(over_images, "nb over baseline")
    assert found["over images, measured (points)"].startswith("20.01 [")
    assert found["verdict over images"] == "supported"
    assert "Over images: 1 supported" in over_images.caption


def test_half_widths_over_images_are_told_apart_from_those_by_seeds(over_images):
    halves = [note for note in notes(over_images) if note.startswith("Half an interval")]
    assert [note.split(" is ")[0] for note in halves][-1] == "Half an interval over images"


def test_a_sentence_has_the_interval_over_images_too(beyond):
    (first, *_) = training.accuracy_answers(training.training_studies(beyond))
    assert re.search(r", over images \[[\d., ]+\] \(paper \+2.6\)", first)


def test_with_images_the_table_of_comparisons_fits_100_columns_in_two_parts(over_images):
    console = Console(file=io.StringIO(), width=100, legacy_windows=False)
    console.print(TerminalTable(over_images))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("afnb+apnb over common-fusion+nb ") for line in lines) == 2


def test_without_matrices_of_images_there_are_no_columns_of_them(made):
    headings = [c.heading for c in made["comparisons-scenes-quick"].columns]
    assert not [heading for heading in headings if "images" in heading]
