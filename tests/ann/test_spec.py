import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ann.catalogue import BLOCKS
from ann.spec import BlockSpec, Size


def test_a_size_is_written_width_first():
    assert Size.parse("256x128") == Size(height=128, width=256)


@given(st.integers(1, 999_999), st.integers(1, 999_999))
def test_a_size_reads_what_it_prints(height, width):
    size = Size(height=height, width=width)
    assert Size.parse(str(size)) == size


@pytest.mark.parametrize(
    "text", ["256*128", "256", "x", "", "-1x4", "1e3x4", "256x128x3", "٣x٤", "4x4\n"]
)
def test_a_size_of_another_form_names_the_form(text):
    with pytest.raises(ValueError, match="is not WIDTHxHEIGHT; write for example 256x128"):
        Size.parse(text)


def test_a_size_without_pixels_is_refused():
    with pytest.raises(ValueError, match="both sides must be at least 1"):
        Size.parse("0x4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "psp"}, "unknown sampler 'psp'; allowed are all, random"),
        ({"sampler": "pyramid-max"}, r"a pyramid needs at least one grid"),
        ({"sampler": "average", "grids": (1, 2)}, "has one grid"),
        ({"grids": (3,)}, "keeps every position and has no grids"),
        ({"sampler": "pyramid-max", "grids": (1, 0)}, "has a side below 1"),
        ({"channels": 0}, "channels=0 is not a number of channels"),
        ({"low_channels": 4}, "cannot share query and key"),
        ({"kind": "common-fusion"}, "needs a second map"),
        ({"dropout": 1.0}, "is not a share"),
        ({"temperature": 0}, "is not positive"),
    ],
)
def test_a_wrong_field_is_refused_with_what_to_pass(changes, message):
    with pytest.raises(ValueError, match=message):
        BlockSpec(**changes)


def test_a_pyramid_of_1_3_6_8_has_110_anchors_at_any_size():
    assert BLOCKS["apnb"].anchors(128 * 256) == 110


def test_without_sampling_every_position_is_an_anchor():
    assert BLOCKS["nb"].anchors(96 * 96) == 9216


@pytest.mark.parametrize("spec", BLOCKS.values(), ids=BLOCKS)
def test_a_named_block_survives_json(spec):
    fields = json.loads(json.dumps(dataclasses.asdict(spec)))
    assert BlockSpec(**{**fields, "grids": tuple(fields["grids"])}) == spec
