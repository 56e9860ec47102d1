"""Drawings on the page look as they did, are shorter, and share no name."""

import re
import xml.etree.ElementTree as ET

import pytest

from reports.model import svg_of
from reports.render.drawings import Drawings


@pytest.fixture(scope="module")
def drawing():
    def draw(axes):
        axes.plot([1, 2, 3], [1, 4, 2], marker="o", label='a style="x" id="y" href="#z" <b>')
        axes.legend()

    return svg_of(draw, "name")


def words(svg):
    return [
        "".join(node.itertext()) for node in ET.fromstring(svg).iter() if node.tag.endswith("}text")
    ]


def tags(svg):
    return "".join(re.findall("<[^>]*>", svg))


def test_it_says_the_same_in_half_of_the_bytes(drawing):
    short = Drawings().shorten(drawing)
    assert words(short) == words(drawing)
    assert len(short) < len(drawing) / 2


def test_two_drawings_share_styles_and_no_identifier(drawing):
    both = Drawings()
    texts = [both.shorten(drawing) for _ in range(2)]
    names = [re.findall(r'\bid="([^"]+)"', tags(text)) for text in texts]
    assert names[0]
    assert not {*names[0]} & {*names[1]}
    classes = {
        name
        for text in texts
        for tag in re.findall("<[^>]*>", text)
        for name in re.findall(r'class="([^"]+)"', tag)
    }
    assert classes == {line.partition("{")[0][1:] for line in both.styles.splitlines()}


def test_every_reference_finds_its_identifier(drawing):
    short = Drawings().shorten(drawing)
    named = {*re.findall(r'\bid="([^"]+)"', tags(short))}
    assert {*re.findall(r'(?:href="#|url\(#)([^")]+)', tags(short))} == named


def test_no_word_of_a_drawing_becomes_a_style(drawing):
    both = Drawings()
    both.shorten(drawing)
    assert "x" not in both.styles.split("{", 1)[1].split("}")[0]
    assert "{x}" not in both.styles
