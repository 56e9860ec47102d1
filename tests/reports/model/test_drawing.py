"""Points that say what they stand for, names of lines, and forest plots."""

import re
import xml.etree.ElementTree as ET

import pytest

from reports.model import (
    COLOURS,
    ForestAxis,
    ForestRow,
    Style,
    forest_svg,
    svg_of,
    tell_points,
    use_log_axes,
    use_plain_ticks,
)
from reports.model.drawing import LINE_GAP, _apart

SVG = "{http://www.w3.org/2000/svg}"
KINDS = {"up": Style(COLOURS[0], "o"), "down": Style(COLOURS[1], "v")}
AXIS = ForestAxis(label="points", baseline=0.0, baseline_label="none", published_label="published")


def titles(svg):
    return [title.text for title in ET.fromstring(svg).iter(f"{SVG}title")]


def words(svg):
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def row(label, middle, half=0.5, **fields):
    ends = {} if middle is None else {"low": middle - half, "high": middle + half}
    return ForestRow(
        group=fields.pop("group", ""),
        label=label,
        kind="up",
        text=f"{label}!",
        middle=middle,
        **ends,
        **fields,
    )


def test_each_point_of_a_line_has_its_title():
    def draw(axes):
        (line,) = axes.plot([1, 2], [3, 4], marker="o")
        tell_points(line, ["first | <b>", "second\nline"])

    assert titles(svg_of(draw, "n")) == ["first / <b>", "second line"]


def test_points_whose_number_is_not_that_of_the_titles_have_none():
    def draw(axes):
        (line,) = axes.plot([1, 2], [3, 4], marker="o")
        tell_points(line, ["one"])

    assert titles(svg_of(draw, "n")) == []


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([0.0, 50.0], [0.0, 50.0]),
        ([10.0, 10.0], [10.0 - LINE_GAP / 2, 10.0 + LINE_GAP / 2]),
        ([0.0, 1.0, 2.0], [1.0 - LINE_GAP, 1.0, 1.0 + LINE_GAP]),
    ],
)
def test_names_of_lines_keep_a_gap_by_the_least_moves(heights, moved):
    assert _apart(heights) == pytest.approx(moved)


def test_a_forest_has_its_labels_texts_groups_and_the_kinds_that_occur():
    drawn = forest_svg(
        [row("a", 1.0, group="G"), row("b", 2.0, group="G")], "n", axis=AXIS, kinds=KINDS
    )
    assert {"G", "a", "a!", "b", "b!", "up", "none", "points"} <= set(words(drawn))
    assert not {"down", "published"} & set(words(drawn))


def test_a_row_without_a_number_has_its_texts_alone():
    drawn = forest_svg([row("a", 1.0), row("b", None)], "n", axis=AXIS, kinds=KINDS)
    assert titles(drawn) == ["a: a!"]
    assert "b!" in words(drawn)


def test_a_number_far_beyond_the_others_leaves_them_room():
    rows = [*(row(f"r{at}", 0.1 * at) for at in range(5)), row("far", 99.0)]
    drawn = forest_svg(rows, "n", axis=AXIS, kinds=KINDS)
    ticks = [
        float(word.replace("\N{MINUS SIGN}", "-"))
        for word in words(drawn)
        if re.match(r"[\N{MINUS SIGN}\d]", word)
    ]
    assert max(ticks) < 10
    assert "far: far!" in titles(drawn)


def test_a_logarithmic_axis_has_plain_numbers_as_ticks():
    axis = ForestAxis(label="times", baseline=1.0, baseline_label="plain", is_log=True)
    drawn = forest_svg([row("a", 3.0), row("b", 0.6, half=0.1)], "n", axis=axis, kinds=KINDS)
    assert {"0.5", "0.7", "1", "2", "3"} <= set(words(drawn))


# From within a tenth of a decade to a dozen of them.
SPANS = [(6.1, 6.4), (5.2, 9.8), (6.0, 13.0), (0.3, 3.1), (0.02, 8.0), (1e-4, 5e3), (3e-6, 4e7)]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("helper", [use_log_axes, use_plain_ticks])
def test_a_logarithmic_axis_of_any_span_has_several_plain_numbers(span, helper):
    def draw(axes):
        axes.plot([1, 2], span)
        if helper is use_log_axes:
            use_log_axes(axes, {1: "", 2: ""}, xlabel="", ylabel="")
        else:
            axes.set(xticks=[], yscale="log")
            use_plain_ticks(axes.yaxis)

    ticks = words(svg_of(draw, "n"))
    assert len(ticks) >= 2
    assert [tick for tick in ticks if not re.fullmatch(r"[\d,]*\.?\d+", tick)] == []
    assert len({float(tick.replace(",", "")) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize("span", [(1e6, 1.00001e6), (1e7, 9e8), (1e-6, 3e-6)])
def test_a_straight_axis_has_no_factor_of_ten_beside_it(span):
    ticks = words(svg_of(lambda axes: axes.plot([1, 2], span), "n"))
    assert [tick for tick in ticks if not re.fullmatch(r"\d+(\.\d+)?", tick)] == []
