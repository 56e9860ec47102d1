"""Lists beside the images, as people and editors leave them."""

import numpy as np
import pytest
from PIL import Image

from bench.training.data import open_dataset
from tests.bench.training.data.test_data import camvid, voc

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
