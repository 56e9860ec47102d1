import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from ann.spec import UnavailableError
from bench.training.data import open_dataset
from bench.training.data.archives import _run_lengths

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (6, 8, 3), dtype=np.uint8)
NAMES = ("book", "bottle", "cabinet", "wall")


def nyud(root, **changed):
    """Write the set in MATLAB's way: HDF5 with all axes turned round, names by reference, numbers from 1."""
    h5py = pytest.importorskip("h5py", reason="NYUD-V2's file is HDF5: uv sync --group data")
    images = GENERATOR.integers(0, 256, (3, 3, 8, 6), dtype=np.uint8)
    labels = GENERATOR.integers(0, 5, (3, 8, 6), dtype=np.uint16)
    arrays = {"images": images, "labels": labels} | changed
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        for name, array in arrays.items():
            file[name] = array
        names = file.create_dataset("names", (1, 4), dtype=h5py.ref_dtype)
        for at, name in enumerate(NAMES):
            file[f"#refs#/{at}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            names[0, at] = file[f"#refs#/{at}"].ref
    numbers = {"trainNdxs": np.uint16([[3], [1]]), "testNdxs": np.uint16([[2]])}
    savemat(root / "splits.mat", numbers)
    savemat(root / "classMapping40.mat", {"mapClass": np.uint8([[23, 40, 3, 1]])})
    return images, labels


def test_nyud_comes_out_of_its_file_upright(tmp_path):
    images, labels = nyud(tmp_path)
    image, label = open_dataset("nyud-v2", tmp_path, "val")[0]
    assert torch.equal(image, torch.from_numpy(images[1].transpose(0, 2, 1).copy()))
    expected = np.array([255, 22, 39, 2, 0])[labels[1].T]
    assert label.tolist() == expected.tolist()


def test_the_splits_of_nyud_are_those_of_its_list(tmp_path):
    nyud(tmp_path)
    pairs = open_dataset("nyud-v2", tmp_path, "trainval").pairs
    assert [pair.label.index for pair in pairs] == [2, 0, 1]


def test_an_image_that_the_splits_of_nyud_have_twice_is_refused(tmp_path):
    nyud(tmp_path)
    savemat(tmp_path / "splits.mat", {"testNdxs": np.uint16([[2], [1], [2]])})
    with pytest.raises(ValueError, match=r"splits\.mat has image 2 more than once"):
        open_dataset("nyud-v2", tmp_path, "val")


@pytest.mark.parametrize("name", ["splits.mat", "classMapping40.mat"])
def test_the_first_missing_file_of_nyud_is_named_with_the_source(name, tmp_path):
    nyud(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=rf"{name} is missing; (?s:.)*nyuv2-meta-data"):
        open_dataset("nyud-v2", tmp_path)


def test_without_h5py_the_group_is_named(tmp_path, monkeypatch):
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"")
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]]})
    savemat(tmp_path / "classMapping40.mat", {"mapClass": [[1]]})
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UnavailableError, match=r"pip install h5py, or uv sync --group data"):
        open_dataset("nyud-v2", tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"images": np.zeros((3, 8, 6), np.uint8)},
            r"images 2 is uint8 \(8, 6\), no image of bytes",
        ),
        ({"images": np.zeros((3, 3, 8, 6))}, "images 2 is float64"),
        (
            {"labels": np.full((3, 8, 6), 9, np.uint16)},
            r"has the id 9, and classMapping40\.mat only",
        ),
        (
            {"labels": np.zeros((3, 8, 6, 1), np.uint16)},
            r"holds \(8, 6, 1\) uint16 where a label is",
        ),
    ],
)
def test_what_is_no_image_or_label_is_refused(changed, said, tmp_path):
    nyud(tmp_path, **changed)
    with pytest.raises(ValueError, match=said):
        open_dataset("nyud-v2", tmp_path, "val")[0]


def test_a_link_out_of_nyuds_file_is_refused(tmp_path):
    nyud(tmp_path)
    h5py = pytest.importorskip("h5py")
    (tmp_path / "nyu_depth_v2_labeled.mat").rename(tmp_path / "other.mat")
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        for name in ("images", "labels"):
            file[name] = h5py.ExternalLink(str(tmp_path / "other.mat"), f"/{name}")
    with pytest.raises(ValueError, match=r"labeled\.mat can't be read .*no array of its own"):
        open_dataset("nyud-v2", tmp_path, "val")


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_torn_file_of_nyud_is_named(keep, tmp_path):
    nyud(tmp_path)
    path = tmp_path / "nyu_depth_v2_labeled.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"labeled\.mat can't be read"):
        open_dataset("nyud-v2", tmp_path, "val")


def test_ids_of_coco_stuff_are_those_of_its_version_and_of_its_conversion(tmp_path):
    for part, suffix in (("images", ".jpg"), ("annotations", "_labelTrainIds.png")):
        folder = tmp_path / "converted" / part / "test2014"
        folder.mkdir(parents=True)
        pixels = PIXELS if part == "images" else np.resize(np.uint8([0, 12, 80, 171]), (6, 8))
        Image.fromarray(pixels).save(folder / f"COCO_1{suffix}")
    for part in ("images", "annotations", "imageLists"):
        (tmp_path / "original" / part).mkdir(parents=True)
    (tmp_path / "original/imageLists/test.txt").write_text("COCO_1\n")
    Image.fromarray(PIXELS).save(tmp_path / "original/images/COCO_1.jpg")
    # Among 182, where COCO's 12 (street sign) is never labelled.
    ids = np.resize(np.uint8([0, 13, 90, 182]), (6, 8))
    savemat(
        tmp_path / "original/annotations/COCO_1.mat", {"S": ids, "names": np.array(["a"], object)}
    )
    labels = []
    for form in ("original", "converted"):
        data = open_dataset("coco-stuff-10k", tmp_path / form, "val")
        labels.append(data[0][1].flatten()[:4].tolist())
    assert labels == [[255, 11, 79, 170]] * 2
    assert [data.classes[at] for at in (11, 79, 170)] == ["stop sign", "toothbrush", "wood"]


def detail(root, *regions, **image):
    """Write the annotations of PASCAL in Detail for one image of 3x2 pixels."""
    base = root / "VOCdevkit/VOC2010"
    (base / "JPEGImages").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(base / "JPEGImages/2008_000002.jpg")
    image = {
        "image_id": 2008000002,
        "file_name": "2008_000002.jpg",
        "phase": "val",
        "height": 2,
        "width": 3,
    } | image
    segmentations = [
        {
            "id": at,
            "image_id": 2008000002,
            "category_id": category,
            "parts": [{"part_id": 1}],
            "segmentation": {"counts": counts, "size": [2, 3]},
        }
        for at, (category, counts) in enumerate(regions)
    ]
    content = {"images": [image], "annos_segmentation": segmentations, "categories": []}
    (base / "trainval_merged.json").write_text(json.dumps(content))


def test_pascal_context_is_drawn_from_its_annotations_where_no_masks_are(tmp_path):
    # The second region covers a pixel of the first; columns come first.
    detail(tmp_path, (2, [0, 3, 3]), (458, [2, 2, 2]))
    for count, shift in ((60, 0), (59, -1)):
        _, label = open_dataset(f"pascal-context-{count}", tmp_path, "val")[0]
        background = 0 if count == 60 else 255
        assert label.tolist() == [
            [1 + shift, 59 + shift, background],
            [1 + shift, 59 + shift, background],
        ]


def test_masks_of_pascal_context_are_read_where_both_are(tmp_path):
    detail(tmp_path, (2, [0, 6]))
    base = tmp_path / "VOCdevkit/VOC2010"
    for folder in ("ImageSets/SegmentationContext", "SegmentationClassContext"):
        (base / folder).mkdir(parents=True)
    (base / "ImageSets/SegmentationContext/val.txt").write_text("2008_000002\n")
    Image.fromarray(np.uint8([[9, 9, 9]] * 2)).save(
        base / "SegmentationClassContext/2008_000002.png"
    )
    _, label = open_dataset("pascal-context-60", tmp_path, "val")[0]
    assert (label == 9).all()


def test_run_lengths_come_as_text():
    # What pycocotools writes of 1 zero, 40 ones, 1000 zeros, 3 ones and 5 zeros.
    lengths = (1, 40, 1000, 3, 5)
    expected = np.repeat([False, True, False, True, False], lengths)
    assert _run_lengths("1X1Xo0kNmPO", sum(lengths)).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ((2, [0, 5]), "make 5 pixels, and the image has 6"),
        ((2, [-1, 7]), "make 6 pixels"),
        ((2, "~~"), "have the letter"),
        ((2, 7), "TypeError"),
        ((1, [0, 6]), r"categories \[1\] are none of the 59"),
    ],
)
def test_a_region_that_is_none_is_refused_with_its_image(region, said, tmp_path):
    detail(tmp_path, region)
    with pytest.raises(ValueError, match=f"label of 2008_000002 can't be read .*{said}"):
        open_dataset("pascal-context-60", tmp_path, "val")[0]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [{}], "annos_segmentation": []}', "[" * 9999]
)
def test_annotations_that_are_none_are_named(text, tmp_path):
    (tmp_path / "VOCdevkit/VOC2010").mkdir(parents=True)
    (tmp_path / "VOCdevkit/VOC2010/trainval_merged.json").write_text(text)
    with pytest.raises(ValueError, match=r"trainval_merged\.json can't be read"):
        open_dataset("pascal-context-60", tmp_path, "val")


def full_ade(root, pixels=((120, 162, 7), (10, 56, 1), (0, 5, 0))):
    folder = root / "ADE20K_2016_07_26/images/validation/a/abbey"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(folder / "ADE_val_1.jpg")
    Image.fromarray(np.uint8([pixels])).save(folder / "ADE_val_1_seg.png")
    Image.fromarray(np.uint8([pixels])).save(folder / "ADE_val_1_parts_1.png")


def test_the_full_ade20k_of_2016_is_read_by_its_red_and_green(tmp_path):
    # 2978 = 11 * 256 + 162 is wall, 312 = 256 + 56 building; the last one is none of the 150.
    full_ade(tmp_path, ((110, 162, 7), (10, 56, 1), (0, 5, 0)))
    data = open_dataset("ade20k", tmp_path, "val")
    assert data[0][1].tolist() == [[0, 1, 255]]


def test_the_full_ade20k_of_2021_is_refused_with_what_to_take(tmp_path):
    (tmp_path / "ADE20K_2021_17_01").mkdir()
    with pytest.raises(ValueError, match=r"R // 10 \* 256 \+ G, .* take ADEChallengeData2016\.zip"):
        open_dataset("ade20k", tmp_path, "val")
