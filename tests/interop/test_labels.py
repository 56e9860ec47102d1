"""Masks and sets as other packages really write them."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from bench.training.data import open_dataset
from bench.training.data.archives import _run_lengths
from bench.training.data.classes import read_classes
from bench.training.data.images import LabelReader
from bench.training.data.palettes import voc_colours

LABEL = np.array([[0, 1, 2, 2], [2, 1, 0, 0], [1, 1, 1, 0]])
PIXELS = np.zeros((3, 4, 3), np.uint8)


def export(folder, names, form, **options):
    """Let datumaro write a set of one image, whose label has the numbers of these names."""
    # Inside the functions, as its import warns.
    pytest.importorskip("datumaro", reason="datumaro is not installed: nox -s interop")
    from datumaro.components.annotation import Mask
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image as Media

    masks = [Mask(image=number == LABEL, label=number) for number in range(len(names))]
    items = [
        DatasetItem("f1", subset=split, media=Media.from_numpy(PIXELS), annotations=masks)
        for split in ("train", "val")
    ]
    Dataset.from_iterable(items, categories=names).export(
        str(folder), form, save_media=True, **options
    )


pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("label_map", ["source", "voc"])
def test_datumaros_masks_of_voc_are_read_by_its_own_list(label_map, tmp_path):
    names = ["background", "dog", "person"]
    export(tmp_path / "VOCdevkit/VOC2012", names, "voc_segmentation", label_map=label_map)
    _, label = open_dataset("voc2012", tmp_path, "val", palette=True)[0]
    assert label.tolist() == np.array([0, 12, 15])[LABEL].tolist()


def test_datumaros_masks_of_camvid_are_read_by_its_own_list(tmp_path):
    export(tmp_path, ["sky", "building", "road"], "camvid")
    _, label = open_dataset("camvid", tmp_path, "val", palette=True)[0]
    assert label.tolist() == np.array([0, 1, 3])[LABEL].tolist()


def test_what_none_of_datumaros_masks_of_camvid_covers_is_ignored(tmp_path):
    export(tmp_path, ["sky", "building"], "camvid")
    with pytest.warns(UserWarning, match=r"f1\.png has 3 black pixels"):
        _, label = open_dataset("camvid", tmp_path, "val", palette=True)[0]
    assert label.tolist() == np.array([0, 1, 255])[LABEL].tolist()


def test_so_are_those_with_the_colours_of_camvid(tmp_path):
    # Its own colours, by a list that is theirs: the SegNet tutorial's void, sky and building.
    listing = tmp_path / "listing.txt"
    listing.write_text("0 0 0 Void\n128 128 128 Sky\n128 0 0 Building\n")
    export(tmp_path / "set", ["Void", "Sky", "Building"], "camvid", label_map=str(listing))
    _, label = open_dataset("camvid", tmp_path / "set", "val", palette=True)[0]
    assert label.tolist() == np.array([255, 0, 1])[LABEL].tolist()


def test_without_the_option_datumaros_masks_are_refused_with_its_name(tmp_path):
    export(tmp_path, ["sky", "building", "road"], "camvid")
    with pytest.raises(ValueError, match=r"f1\.png is an image of mode RGB; .*pass --palette"):
        open_dataset("camvid", tmp_path, "val")[0]


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_what_oxipng_makes_of_masks_is_read_as_they_were(mode, tmp_path):
    oxipng = pytest.importorskip("oxipng", reason="pyoxipng is not installed: nox -s interop")
    classes = read_classes("voc2012", ignored=(255,))
    reader = LabelReader(name="voc2012", classes=classes, painted=True)
    random = np.random.default_rng(0)
    for at in range(30):
        few = random.choice(21, random.integers(2, 9), replace=False)
        ids = np.kron(few[random.integers(0, len(few), (6, 7))], np.ones((8, 8), int))
        mask, path = Image.fromarray(ids.astype(np.uint8)), tmp_path / f"{at}.png"
        if mode != "L":
            mask.putpalette([channel for colour in voc_colours() for channel in colour])
        mask.convert(mode).save(path)
        oxipng.optimize(str(path), level=4)
        assert (reader.read(path) == ids).all()


def test_cityscapes_own_colours_are_read_but_for_groups_of_poles(tmp_path):
    labels = pytest.importorskip(
        "cityscapesscripts.helpers.labels",
        reason="cityscapesscripts is not installed: nox -s interop",
    ).labels
    painted = [each for each in labels if each.id >= 0 and each.name != "polegroup"]
    ids = np.resize([each.id for each in painted], (4, 9))
    colours = np.array(
        [{each.id: each.color for each in labels}.get(at, (0, 0, 0)) for at in range(34)]
    )
    base = "bonn/bonn_0_1"
    for folder, suffix, pixels in (
        ("leftImg8bit", "leftImg8bit", np.zeros((4, 9, 3), np.uint8)),
        ("gtFine", "gtFine_color", colours[ids].astype(np.uint8)),
    ):
        path = tmp_path / folder / "val" / f"{base}_{suffix}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).convert("RGBA").save(path)
    with pytest.warns(UserWarning, match="paints polegroup"):
        _, label = open_dataset("cityscapes", tmp_path, "val", palette=True)[0]
    trained = {each.id: each.trainId for each in labels}
    assert label.tolist() == np.vectorize(trained.get)(ids).tolist()


def test_classes_of_coco_stuff_are_those_of_mmsegmentation():
    mmseg = pytest.importorskip("mmseg", reason="mmsegmentation is not installed: nox -s interop")
    # By its text, as an import wants operators that mmcv-lite lacks.
    tree = ast.parse((Path(mmseg.__file__).parent / "datasets/coco_stuff.py").read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.keywords) == 2
    ]
    meta = next(
        {each.arg: ast.literal_eval(each.value) for each in call.keywords}
        for call in calls
        if call.keywords[0].arg == "classes"
    )
    classes = read_classes("coco_stuff10k", ignored=(0,))
    assert classes.names == meta["classes"]
    assert list(map(list, classes.palette)) == meta["palette"]


def test_masks_that_mmsegmentations_converter_writes_of_coco_stuff_are_read_alike(tmp_path):
    mmseg = pytest.importorskip("mmseg", reason="mmsegmentation is not installed: nox -s interop")
    converter = Path(mmseg.__file__).parent / ".mim/tools/dataset_converters/coco_stuff10k.py"
    original = tmp_path / "original"
    for folder in ("images", "annotations", "imageLists"):
        (original / folder).mkdir(parents=True)
    unused = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
    ids = np.resize([at for at in range(183) if at not in unused], (12, 16)).astype(np.uint8)
    for split in ("train", "test"):
        Image.new("RGB", (16, 12)).save(original / f"images/{split}.jpg")
        savemat(original / f"annotations/{split}.mat", {"S": ids})
        (original / f"imageLists/{split}.txt").write_text(f"{split}\n")
    # It wants the whole set; nothing else of it is changed.
    code = converter.read_text().replace("COCO_LEN = 10000", "COCO_LEN = 2")
    command = [
        sys.executable,
        "-c",
        code,
        str(original),
        "-o",
        str(tmp_path / "new"),
        "--nproc",
        "1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    labels = [
        open_dataset("coco-stuff-10k", tmp_path / form, "val")[0][1].tolist()
        for form in ("original", "new")
    ]
    assert labels[0] == labels[1]


def test_run_lengths_are_those_of_pycocotools():
    mask = pytest.importorskip(
        "pycocotools.mask", reason="pycocotools is not installed: nox -s interop"
    )
    random = np.random.default_rng(0)
    for _ in range(200):
        height, width = random.integers(1, 70, 2)
        pixels = np.repeat(
            random.random((height, width)) < random.random(), random.integers(1, 40), axis=0
        )
        text = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
        assert (_run_lengths(text, pixels.size) == pixels.T.flatten()).all()
