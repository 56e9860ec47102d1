import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from bench.training.data import open_dataset
from bench.training.data.readers import DATASET_LAYOUTS

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def write_image(path, pixels=PIXELS):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_label(path, ids=0, shape=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.resize(np.asarray(ids, np.uint8), shape)
    Image.fromarray(rows).save(path)


def write_lines(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def camvid(root, suffix=".png", ids=range(12)):
    for split in ("train", "val", "test"):
        write_image(root / split / f"{split}1{suffix}")
        write_label(root / f"{split}annot" / f"{split}1.png", ids)


def cityscapes(root, ids=range(34)):
    for split in ("train", "val"):
        for city in ("bonn", "ulm"):
            write_image(root / f"leftImg8bit/{split}/{city}/{city}_0_1_leftImg8bit.png")
            write_label(root / f"gtFine/{split}/{city}/{city}_0_1_gtFine_labelIds.png", ids)


def ade20k(root, ids=(0, 1, 150)):
    for split in ("training", "validation"):
        write_image(root / f"ADEChallengeData2016/images/{split}/ADE_1.jpg")
        write_label(root / f"ADEChallengeData2016/annotations/{split}/ADE_1.png", ids)


def context(root, ids=(0, 1, 59)):
    base = root / "VOCdevkit/VOC2010"
    for split in ("train", "val"):
        write_lines(base / f"ImageSets/SegmentationContext/{split}.txt", f"2008_{split}")
        write_image(base / f"JPEGImages/2008_{split}.jpg")
        write_label(base / f"SegmentationClassContext/2008_{split}.png", ids)


def voc(root, **lists):
    base = root / "VOCdevkit/VOC2012"
    for split, names in (lists or {"train": ["a"], "val": ["b"]}).items():
        write_lines(base / f"ImageSets/Segmentation/{split}.txt", *names)
        for name in names:
            write_image(base / f"JPEGImages/{name}.jpg")
            label = Image.fromarray(np.resize(np.uint8([0, 20, 255]), (6, 8)))
            label.putpalette([0, 0, 0, 128, 0, 0] + [9] * 762)
            (base / "SegmentationClass").mkdir(exist_ok=True)
            label.save(base / f"SegmentationClass/{name}.png")


def voc2012aug(root):
    voc(root, train=["a", "c"], val=["b"])
    base = root / "benchmark_RELEASE/dataset"
    write_lines(base / "train.txt", "a", "e", "b")
    write_lines(base / "val.txt", "d")
    for name in "abde":
        write_image(base / f"img/{name}.jpg")
        (base / "cls").mkdir(exist_ok=True)
        savemat(base / f"cls/{name}.mat", {"GTcls": {"Segmentation": np.full((6, 8), 7, np.uint8)}})


def coco_stuff(root, ids=(0, 1, 182)):
    for split, name in (("train", "COCO_train2014_01"), ("test", "COCO_train2014_02")):
        write_lines(root / f"imageLists/{split}.txt", name)
        write_image(root / f"images/{name}.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        savemat(root / f"annotations/{name}.mat", {"S": np.resize(np.uint8(ids), (6, 8))})


def coco_stuff_converted(root, ids=(0, 1, 171)):
    for split in ("train", "test"):
        write_image(root / f"images/{split}2014/COCO_1.jpg")
        write_label(root / f"annotations/{split}2014/COCO_1_labelTrainIds.png", ids)


def nyud_converted(root, ids=(0, 1, 40)):
    for split, line in (("train", "1"), ("test", "RGB/2.jpg")):
        write_lines(root / f"NYUDepthv2/{split}.txt", line)
        name = line.removeprefix("RGB/").removesuffix(".jpg")
        write_image(root / f"NYUDepthv2/RGB/{name}.jpg")
        write_label(root / f"NYUDepthv2/Label/{name}.png", ids)


MAKERS = {
    "camvid": camvid,
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "pascal-context-59": context,
    "pascal-context-60": context,
    "voc2012": voc,
    "voc2012aug": voc2012aug,
    "coco-stuff-10k": coco_stuff,
    "nyud-v2": nyud_converted,
}


@pytest.mark.parametrize("name", DATASET_LAYOUTS)
def test_a_pair_is_an_rgb_image_and_ids_of_its_size(name, tmp_path):
    MAKERS[name](tmp_path)
    data = open_dataset(name, tmp_path, "val")
    image, label = data[0]
    assert (image.dtype, label.dtype) == (torch.uint8, torch.uint8)
    assert (image.shape, label.shape) == ((3, 6, 8), (6, 8))
    assert set(label.unique().tolist()) <= {*range(len(data.classes)), 255}


@pytest.mark.parametrize("name", DATASET_LAYOUTS)
def test_every_class_has_a_name_a_colour_and_one_id_in_the_files(name):
    classes = DATASET_LAYOUTS[name].classes()
    assert len(set(classes.names)) == len(classes.names) == len(classes.palette)
    evaluated = sorted(train for train in classes.ids.values() if train != 255)
    assert evaluated == list(range(len(classes.names)))


@pytest.mark.parametrize(
    ("name", "count"),
    list(zip(DATASET_LAYOUTS, (11, 19, 150, 59, 60, 21, 21, 171, 40), strict=True)),
)
def test_the_sets_have_as_many_classes_as_their_papers_say(name, count):
    assert len(DATASET_LAYOUTS[name].classes().names) == count


def test_colours_of_voc_are_those_of_its_development_kit():
    classes = DATASET_LAYOUTS["voc2012"].classes()
    colours = dict(zip(classes.names, classes.palette, strict=True))
    assert colours["bicycle"] == (0, 128, 0)
    assert colours["person"] == (192, 128, 128)
    assert colours["tvmonitor"] == (0, 64, 128)


@pytest.mark.parametrize("name", DATASET_LAYOUTS)
def test_a_missing_folder_is_named_with_the_tree_and_the_source(name, tmp_path):
    with pytest.raises(ValueError, match=r"is missing; (?s:.)*Source: ") as caught:
        open_dataset(name, tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'}/" in str(caught.value)
    assert DATASET_LAYOUTS[name].tree.splitlines()[-1] in str(caught.value)


@pytest.mark.parametrize("name", DATASET_LAYOUTS)
def test_trainval_is_train_and_then_val(name, tmp_path):
    MAKERS[name](tmp_path)
    train, val, both = (
        open_dataset(name, tmp_path, split).pairs for split in ("train", "val", "trainval")
    )
    assert both == train + val


def test_an_unknown_set_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'kitti'; allowed are camvid, "):
        open_dataset("kitti", tmp_path)


def test_a_split_without_labels_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="unknown split of cityscapes with labels 'test'; allowed are train, val"
    ):
        open_dataset("cityscapes", tmp_path, "test")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_camvid_may_have_png_or_jpg(suffix, tmp_path):
    camvid(tmp_path, suffix)
    assert [pair.image.name for pair in open_dataset("camvid", tmp_path, "test").pairs] == [
        f"test1{suffix}"
    ]


def test_pixels_of_a_png_come_out_in_rgb(tmp_path):
    camvid(tmp_path)
    image, _ = open_dataset("camvid", tmp_path, "val")[0]
    assert torch.equal(image, torch.from_numpy(PIXELS).permute(2, 0, 1))


def test_void_of_camvid_is_ignored(tmp_path):
    camvid(tmp_path, ids=[0, 10, 11])
    _, label = open_dataset("camvid", tmp_path, "val")[0]
    assert label.flatten()[:3].tolist() == [0, 10, 255]


def test_a_list_of_camvid_decides_what_belongs_to_a_split_whatever_its_prefix(tmp_path):
    camvid(tmp_path, ".jpg")
    write_image(tmp_path / "train/unlisted.jpg")
    write_lines(
        tmp_path / "train.txt",
        "/SegNet/CamVid/train/train1.png /SegNet/CamVid/trainannot/train1.png",
        "",
    )
    (pair,) = open_dataset("camvid", tmp_path).pairs
    assert pair == (tmp_path / "train/train1.jpg", tmp_path / "trainannot/train1.png")


def test_an_image_that_a_list_names_and_nobody_has_is_named(tmp_path):
    camvid(tmp_path)
    write_lines(
        tmp_path / "train.txt", "/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/train1.png"
    )
    with pytest.raises(ValueError, match=r"train/x\.png is missing"):
        open_dataset("camvid", tmp_path)


def test_a_line_without_a_label_is_refused(tmp_path):
    camvid(tmp_path)
    write_lines(tmp_path / "train.txt", "train/train1.png")
    with pytest.raises(ValueError, match=r"train\.txt has a line that is not IMAGE LABEL"):
        open_dataset("camvid", tmp_path)


def test_cityscapes_needs_no_converted_labels(tmp_path):
    cityscapes(tmp_path)
    _, label = open_dataset("cityscapes", tmp_path, "train")[1]
    kept = {
        7: 0,
        8: 1,
        11: 2,
        12: 3,
        13: 4,
        17: 5,
        19: 6,
        20: 7,
        21: 8,
        22: 9,
        23: 10,
        24: 11,
        25: 12,
    }
    kept |= {26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert label.flatten()[:34].tolist() == [kept.get(number, 255) for number in range(34)]


def test_zero_of_ade20k_is_ignored_and_the_rest_moves_down(tmp_path):
    ade20k(tmp_path)
    _, label = open_dataset("ade20k", tmp_path, "train")[0]
    assert label.flatten()[:3].tolist() == [255, 0, 149]


@pytest.mark.parametrize(("count", "expected"), [(59, [255, 0, 58]), (60, [0, 1, 59])])
def test_background_of_pascal_context_is_ignored_or_a_class(count, expected, tmp_path):
    context(tmp_path)
    _, label = open_dataset(f"pascal-context-{count}", tmp_path, "val")[0]
    assert label.flatten()[:3].tolist() == expected


def test_borders_of_voc_are_ignored_and_its_palette_is_not_a_picture(tmp_path):
    voc(tmp_path)
    _, label = open_dataset("voc2012", tmp_path, "train")[0]
    assert label.flatten()[:3].tolist() == [0, 20, 255]


def test_the_augmented_set_is_voc_and_what_sbd_adds_without_what_voc_validates_on(tmp_path):
    voc2012aug(tmp_path)
    data = open_dataset("voc2012aug", tmp_path, "train")
    assert [pair.label.name for pair in data.pairs] == ["a.png", "c.png", "d.mat", "e.mat"]
    assert data[2][1].unique().tolist() == [7]


def test_the_augmented_set_validates_on_voc(tmp_path):
    voc2012aug(tmp_path)
    assert [pair.label.name for pair in open_dataset("voc2012aug", tmp_path, "val").pairs] == [
        "b.png"
    ]


@pytest.mark.parametrize("name", DATASET_LAYOUTS)
def test_an_image_without_label_is_named(name, tmp_path):
    MAKERS[name](tmp_path)
    gone = open_dataset(name, tmp_path, "val").pairs[0]
    gone.label.unlink()
    with pytest.raises(
        ValueError, match=f"{gone.image.name} has no label; .*{gone.label.name} is missing"
    ):
        open_dataset(name, tmp_path, "val")


@pytest.mark.parametrize("name", DATASET_LAYOUTS)
def test_a_class_id_that_the_set_does_not_have_is_named_with_its_file(name, tmp_path):
    MAKERS[name](tmp_path)
    data = open_dataset(name, tmp_path, "val")
    label = data.pairs[0].label
    if label.suffix == ".mat":
        savemat(label, {"S": np.resize(np.uint8([0, 222]), (6, 8))})
    else:
        write_label(label, [0, 222])
    with pytest.raises(
        ValueError,
        match=rf"{label.name} has the class ids \[222\].*allowed are 0 to ",
    ):
        data[0]


def test_a_label_of_another_size_is_named_with_both_sizes(tmp_path):
    camvid(tmp_path)
    write_label(tmp_path / "valannot/val1.png", shape=(3, 8))
    with pytest.raises(
        ValueError, match=r"valannot/val1.png is 8x3, but its image .*val1.png is 8x6"
    ):
        open_dataset("camvid", tmp_path, "val")[0]


def test_an_image_is_read_as_it_is_stored_whatever_its_exif_says_of_turning_it(tmp_path):
    """Labels are drawn on what is stored; OpenCV would turn a square image beside its label without a word."""
    camvid(tmp_path, ".jpg")
    path, pixels = tmp_path / "val/val1.jpg", np.repeat(PIXELS[:6, :6, :1], 3, axis=2)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = 6  # turned by a quarter
    image.save(path, exif=exif, quality=100)
    write_label(tmp_path / "valannot/val1.png", shape=(6, 6))
    seen, _ = open_dataset("camvid", tmp_path, "val")[0]
    torch.testing.assert_close(
        seen.permute(1, 2, 0), torch.from_numpy(pixels), rtol=0, atol=3, check_dtype=False
    )


@pytest.mark.parametrize("file", ["val/val1.png", "valannot/val1.png"])
@pytest.mark.parametrize("keep", [0, 40, 60])
def test_a_corrupt_file_is_named(file, keep, tmp_path):
    camvid(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:keep])
    with pytest.raises(ValueError, match=f"{file} can't be read .*; get the file anew"):
        open_dataset("camvid", tmp_path, "val")[0]


def test_a_jpeg_that_ends_early_is_named(tmp_path):
    camvid(tmp_path, ".jpg")
    path = tmp_path / "val/val1.jpg"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"val1\.jpg can't be read \(OSError: .*truncated"):
        open_dataset("camvid", tmp_path, "val")[0]


@pytest.mark.parametrize("content", [b"", b"no matlab file" * 20])
def test_a_corrupt_mat_is_named(content, tmp_path):
    voc2012aug(tmp_path)
    data = open_dataset("voc2012aug", tmp_path, "train")
    data.pairs[2].label.write_bytes(content)
    with pytest.raises(ValueError, match=r"d\.mat can't be read"):
        data[2]


def test_a_label_in_colours_is_refused(tmp_path):
    camvid(tmp_path)
    write_image(tmp_path / "valannot/val1.png")
    with pytest.raises(
        ValueError, match="is an image of mode RGB; labels are class ids in one channel"
    ):
        open_dataset("camvid", tmp_path, "val")[0]


def test_a_grey_image_is_read_as_rgb(tmp_path):
    camvid(tmp_path)
    write_image(tmp_path / "val/val1.png", PIXELS[..., 0])
    image, _ = open_dataset("camvid", tmp_path, "val")[0]
    assert torch.equal(image, image[:1].expand(3, -1, -1))


def test_two_images_of_one_name_are_refused(tmp_path):
    camvid(tmp_path)
    write_image(tmp_path / "val/val1.jpg")
    with pytest.raises(ValueError, match=r"val1\.jpg and .*val1\.png have one name; keep one"):
        open_dataset("camvid", tmp_path, "val")


def test_hidden_files_are_no_images(tmp_path):
    camvid(tmp_path)
    write_lines(tmp_path / "val/._val1.png", "left by another system")
    assert len(open_dataset("camvid", tmp_path, "val")) == 1


def test_an_empty_folder_is_no_set(tmp_path):
    camvid(tmp_path)
    (tmp_path / "val/val1.png").unlink()
    with pytest.raises(
        ValueError, match=r"no image of camvid, split val, was found; it is expected as"
    ):
        open_dataset("camvid", tmp_path, "val")
