"""The figure of mIoU against MACs."""

import re
import xml.etree.ElementTree as ET

import pytest

from reports.model import INK, frame
from reports.training import cost_figure


@pytest.fixture(scope="module")
def records(make):
    """Table 6 without one of its rows."""
    kept = {n: p for n, p in make.TABLE6_PERCENT.items() if n != "common-fusion+nb"}
    return make.table6(kept)


@pytest.fixture(scope="module")
def drawn(records):
    return cost_figure.cost_figures(frame.build_frame(records))


def words(figure):
    texts = ET.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(node.itertext()) for node in texts]


def test_the_figure_names_every_arm_that_has_both_numbers(drawn, make):
    (figure,) = drawn
    names = set(make.TABLE6_PERCENT) - {"common-fusion+nb"}
    assert names <= set(words(figure))
    assert "common-fusion+nb" not in words(figure)
    assert {"MACs of one call (G)", "mIoU (%)"} <= set(words(figure))


def test_the_figure_says_its_points_in_words(drawn):
    assert "baseline 40.0 % at 1 G, nb 50.0 % at 1.1 G" in drawn[0].alternative


def test_the_figure_takes_the_colours_of_the_page(drawn):
    assert "var(--series-1, #0072b2)" in drawn[0].svg
    assert INK not in drawn[0].svg


def test_the_figure_is_the_same_twice(drawn, records):
    assert cost_figure.cost_figures(frame.build_frame(records))[0].svg == drawn[0].svg


def test_labels_of_near_points_do_not_cover_each_other(make):
    percents = dict.fromkeys(("baseline", "nb", "apnb", "fnb"), 50.0)
    runs = [r for r in make.table6(percents) if r.source == "measured"]
    same = [
        make.network_cost("table6", {"network": f"paper/{n}"}, 10**9 + at * 10**7)
        for at, n in enumerate(percents)
    ]
    far = make.table6({"afnb+apnb": 80.0})
    (figure,) = cost_figure.cost_figures(frame.build_frame([*runs, *same, *far]))
    places = [
        re.search(r"translate\(([\d.]+) ([\d.]+)\)", ET.tostring(node, "unicode"))
        or re.search(r'x="([\d.]+)" y="([\d.]+)"', ET.tostring(node, "unicode"))
        for node in ET.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")
        if "".join(node.itertext()) in percents
    ]
    found = [tuple(map(float, place.groups())) for place in places]
    assert len(found) == len({(round(x, 0), round(y, 0)) for x, y in found}) == 4
    apart = [
        abs(y - v) >= 8 or abs(x - u) >= 10
        for at, (x, y) in enumerate(found)
        for u, v in found[at + 1 :]
    ]
    assert all(apart)


def test_one_point_is_no_figure(make):
    assert cost_figure.cost_figures(frame.build_frame(make.table6({"nb": 50.0}))) == ()
