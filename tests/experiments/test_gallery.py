"""The gallery as data: its names can be built, and what of it is measured."""

import importlib
from pathlib import Path

import pytest

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments import gallery

USUAL = {"channels": 512, "key_channels": 256, "batch": 1, "dtype": "float32", "mode": "eval"}
SIZE = Size(width=16, height=8)


def cells(*own, **changes):
    return gallery.gallery_cells(own, [SIZE], protocol="strict", **{**USUAL, **changes})


@pytest.mark.parametrize("arm", gallery.BLOCKS_BY_NAME.values())
def test_a_name_of_the_gallery_is_a_block_or_a_factory(arm):
    module, colon, factory = arm.partition(":")
    assert callable(getattr(importlib.import_module(module), factory)) if colon else arm in BLOCKS


def test_every_block_of_the_room_hangs_in_the_gallery():
    door = vars(importlib.import_module("ann.gallery"))
    public = {name for name, value in door.items() if callable(value) and name[0] != "_"}
    assert {f"ann.gallery:{name}" for name in public} < set(gallery.BLOCKS_BY_NAME.values())


def test_blocks_are_measured_at_the_sizes_alone():
    executed = [cell for cell in cells() if cell.is_executed]
    assert {cell.size for cell in executed} == {SIZE}
    assert [cell.name for cell in executed] == [*gallery.BLOCKS_BY_NAME]


def test_training_is_predicted_for_two_images_or_more():
    batches = {
        cell.batch for batch in (1, 5) for cell in cells(batch=batch) if cell.mode == "train"
    }
    assert batches == {2, 5}


def test_every_block_is_predicted_at_squares():
    squares = [cell for cell in cells() if cell.experiment == gallery.GALLERY_SIZES]
    assert {str(cell.size) for cell in squares} == {f"{n}x{n}" for n in (16, 32, 64, 128, 256)}
    assert len(squares) == 5 * len(gallery.BLOCKS_BY_NAME)


def test_an_own_block_is_one_more_row():
    usual, more = cells(), cells("my.blocks:make", "apnb:fast")
    added = {cell.axes["block"] for cell in more} - {cell.axes["block"] for cell in usual}
    assert added == {"my.blocks:make", "apnb:fast"}
    assert len({cell.id for cell in more}) == len(more)


def test_an_unknown_block_is_an_error():
    with pytest.raises(ValueError, match="unknown block 'abnb'"):
        cells("abnb")


def test_the_page_tells_of_every_block():
    page = (Path(__file__).parents[2] / "docs" / "gallery.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    told = {name.strip(" `"): place.strip(" `") for name, place in rows}
    arms = gallery.BLOCKS_BY_NAME.items()
    assert told == {name: arm if ":" in arm else "the catalogue's" for name, arm in arms}
