"""Lists beside the images, as people and editors leave them."""

import numpy as np
import pytest
from PIL import Image

from bench.training.data import open_dataset
from tests.bench.training.data.test_data import MAKERS, camvid, voc, write_lines

MARKED, ZEROS = "utf-8-sig", "utf-16-le"  # the second without a mark
NAMES = "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"


def camvid_in_colours(root, listing, text):
    camvid(root)
    listing.write_bytes(text)
    Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(root / "valannot/val1.png")
    return open_dataset("camvid", root, "val", palette=True)


def test_a_list_of_names_may_start_with_a_byte_order_mark(tmp_path):
    voc(tmp_path)
    (tmp_path / NAMES).write_text("b\n", encoding=MARKED)
    assert len(open_dataset("voc2012", tmp_path, "val")) == 1


def test_so_may_a_list_of_camvid(tmp_path):
    camvid(tmp_path)
    (tmp_path / "val.txt").write_text("val/val1.png valannot/val1.png\n", encoding=MARKED)
    assert len(open_dataset("camvid", tmp_path, "val")) == 1


@pytest.mark.parametrize(
    ("name", "line"), [("labelmap.txt", "sign:9,9,9::"), ("label_colors.txt", "9 9 9 SignSymbol")]
)
def test_so_may_a_list_of_colours(name, line, tmp_path):
    data = camvid_in_colours(tmp_path, tmp_path / name, line.encode(MARKED))
    assert data[0][1].unique().tolist() == [data.classes.index("sign")]


@pytest.mark.parametrize(
    ("line", "encoding"), [("stra\xdfe", "latin-1"), ("b", "utf-16"), ("b", ZEROS)]
)
def test_a_list_of_names_in_another_encoding_is_named_with_what_to_do(line, encoding, tmp_path):
    voc(tmp_path)
    (tmp_path / NAMES).write_text(f"{line}\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"val\.txt (is not UTF-8|has zero).*; save it as UTF-8"):
        open_dataset("voc2012", tmp_path, "val")


def test_so_is_a_list_of_camvid(tmp_path):
    camvid(tmp_path)
    (tmp_path / "val.txt").write_text("val/\xe4.png valannot/\xe4.png\n", encoding="latin-1")
    with pytest.raises(ValueError, match=r"val\.txt is not UTF-8 .*; save it as UTF-8"):
        open_dataset("camvid", tmp_path, "val")


@pytest.mark.parametrize("name", ["labelmap.txt", "label_colors.txt"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_so_is_a_list_of_colours(name, encoding, tmp_path):
    data = camvid_in_colours(tmp_path, tmp_path / name, "stra\xdfe:9,9,9::".encode(encoding))
    with pytest.raises(ValueError, match=rf"{name} is not UTF-8 .*; save it as UTF-8"):
        data[0]
    with pytest.raises(ValueError, match="save it as UTF-8"):
        data.colours()


TWICE = {
    "voc2012": (NAMES, ["b", "b"]),
    "pascal-context-59": (
        "VOCdevkit/VOC2010/ImageSets/SegmentationContext/val.txt",
        ["2008_val", "2008_val  1"],
    ),
    "coco-stuff-10k": ("imageLists/test.txt", ["COCO_train2014_02", "", "COCO_train2014_02"]),
    "nyud-v2": ("NYUDepthv2/test.txt", ["RGB/2.jpg", "2"]),
    "camvid": ("val.txt", ["val/val1.png valannot/val1.png", "val/val1.jpg valannot/val1.png"]),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_name_that_a_list_has_twice_is_refused(name, tmp_path):
    MAKERS[name](tmp_path)
    listing, lines = TWICE[name]
    write_lines(tmp_path / listing, *lines)
    twice = {"nyud-v2": "2", "camvid": "val/val1.png"}.get(name, lines[0])
    with pytest.raises(ValueError, match=rf"{listing} has {twice} more than once.*; keep one line"):
        open_dataset(name, tmp_path, "val")


def test_so_is_one_of_sbd(tmp_path):
    MAKERS["voc2012aug"](tmp_path)
    write_lines(tmp_path / "benchmark_RELEASE/dataset/train.txt", "a", "e", "e", "b", "b")
    with pytest.raises(ValueError, match=r"train\.txt has e \(and 1 more\) more than once"):
        open_dataset("voc2012aug", tmp_path, "train")
