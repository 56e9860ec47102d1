"""A root that is a folder of the set itself."""

import re

import pytest

from bench.training.data import open_dataset
from tests.bench.training.data.test_data import MAKERS, ade20k, write_image


@pytest.mark.parametrize(
    ("name", "folder", "deep"),
    [
        ("ade20k", "ADEChallengeData2016", "one level"),
        ("ade20k", "ADEChallengeData2016/images", "2 levels"),
        ("voc2012", "VOCdevkit", "one level"),
        ("voc2012", "VOCdevkit/VOC2012", "2 levels"),
        ("voc2012aug", "VOCdevkit", "one level"),
        ("pascal-context-59", "VOCdevkit", "one level"),
        ("cityscapes", "leftImg8bit", "one level"),
        ("nyud-v2", "NYUDepthv2", "one level"),
        ("coco-stuff-10k", "imageLists", "one level"),
        ("camvid", "val", "one level"),
    ],
)
def test_a_root_too_deep_is_refused_with_the_one_to_pass(name, folder, deep, tmp_path):
    MAKERS[name](tmp_path)
    deeper = tmp_path / folder
    expected = f" is missing; the root {deeper} is {deep} too deep; pass {tmp_path}"
    with pytest.raises(ValueError, match=f"{re.escape(expected)}$"):
        open_dataset(name, deeper, "val")


def test_so_is_a_relative_one(tmp_path, monkeypatch):
    ade20k(tmp_path)
    monkeypatch.chdir(tmp_path / "ADEChallengeData2016")
    with pytest.raises(ValueError, match=r"the root \. is one level too deep; pass "):
        open_dataset("ade20k", ".", "val")


def test_so_is_the_full_release_of_ade20k(tmp_path):
    write_image(tmp_path / "ADE20K_2016_07_26/images/validation/a/b/ADE_1.jpg")
    with pytest.raises(ValueError, match="is one level too deep"):
        open_dataset("ade20k", tmp_path / "ADE20K_2016_07_26", "val")


def test_an_empty_folder_of_that_name_is_told_what_belongs_there(tmp_path):
    (tmp_path / "VOCdevkit").mkdir()
    with pytest.raises(ValueError, match=r"val\.txt is missing; voc2012 is expected as"):
        open_dataset("voc2012", tmp_path / "VOCdevkit", "val")
