"""Sets that keep many images or labels in one file: NYU Depth V2, PASCAL in Detail; and ADE20K's full release.

Axes: h and w height and width of an image.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ann.spec import UnavailableError
from bench.training.data.classes import read_column
from bench.training.data.files import BROKEN, checked, decoding, ids_in, read_mat, refuse_twice
from bench.training.data.images import Pair

NYUD = "nyu_depth_v2_labeled.mat"
NYUD_CLASSES = 40
MOST_PIXELS = 2**26  # of one image, in all channels; those of the set have 2**20


@dataclass(frozen=True, kw_only=True)
class NyudEntry:
    """One of NYUD-V2's images or labels; `mapping` leads from ids among all names to those of the 40 classes."""

    file: Path
    index: int
    kind: str  # `images` or `labels`
    mapping: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}, {self.kind} {self.index + 1}"

    @property
    def key(self) -> str:
        """What tells it from others of its file."""
        return f"{self.kind} {self.index} {self.mapping}"

    def read(self) -> NDArray[Any]:
        """Read the image (h, w, 3) or the label (h, w), which MATLAB keeps as [channel], column, row."""
        with _hdf5(self.file) as content:
            entry = np.array(content[self.kind][self.index])
        if self.kind == "images":
            if entry.ndim != 3 or entry.shape[0] != 3 or entry.dtype != np.uint8:
                msg = f"{self} is {entry.dtype} {entry.shape}, no image of bytes (3, w, h); get the file anew"
                raise ValueError(msg)
            return np.ascontiguousarray(entry.transpose(2, 1, 0))
        ids = ids_in(entry, self.file).T
        if int(ids.max()) >= len(self.mapping):
            msg = (
                f"{self} has the id {int(ids.max())}, and classMapping40.mat only maps 1 to {len(self.mapping) - 1}; "
                "get both files anew"
            )
            raise ValueError(msg)
        return np.array(self.mapping)[ids]


def nyud_pairs(root: Path, split: str) -> list[Pair]:
    """Find the images and labels of a split in the `.mat` files of NYUD-V2's authors and of Gupta et al."""
    file, splits, classes = root / NYUD, root / "splits.mat", root / "classMapping40.mat"
    for path in (file, splits, classes):
        path.stat()  # raises what `open_dataset` expects
    # Counted from 1. A `test` is what is validated on, as everywhere in the field.
    numbers = _column(splits, {"train": "trainNdxs", "val": "testNdxs"}[split])
    refuse_twice([f"image {number}" for number in numbers], splits)
    mapping = _column(classes, "mapClass")
    if max(mapping) > NYUD_CLASSES:
        msg = f"{classes} maps to class {max(mapping)}; there are {NYUD_CLASSES}. Get the file of Gupta et al."
        raise ValueError(msg)
    with _hdf5(file) as content:
        count = min(len(content["images"]), len(content["labels"]))
    if min(numbers) < 1 or max(numbers) > count:
        msg = f"{splits} names image {max(numbers)}, and {file} has {count}; get both files anew"
        raise ValueError(msg)
    return [
        Pair(
            NyudEntry(file=file, index=number - 1, kind="images"),
            NyudEntry(file=file, index=number - 1, kind="labels", mapping=(0, *mapping)),
        )
        for number in numbers
    ]


def _column(path: Path, name: str) -> tuple[int, ...]:
    """Read a vector of whole numbers out of a `.mat`."""
    return tuple(read_mat(path, (name,), vector=True).flatten().tolist())


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    """Open a `.mat` of MATLAB 7.3."""
    try:
        import h5py
    except ImportError as error:
        msg = f"{path} is a file of HDF5 and h5py is not installed; pip install h5py, or uv sync --group data"
        raise UnavailableError(msg) from error
    with decoding(path, (Exception,)), h5py.File(path, "r") as content:
        stored = {}
        for name in ("images", "labels"):
            is_own = isinstance(content.get(name, getlink=True), h5py.HardLink)
            stored[name] = content[name]  # no link to another file
            if not is_own or not isinstance(stored[name], h5py.Dataset) or stored[name].is_virtual:
                msg = f"{name} is no array of its own"
                raise ValueError(msg)
            if math.prod(stored[name].shape[1:]) > MOST_PIXELS:
                msg = f"{name} is of shape {stored[name].shape}"
                raise ValueError(msg)
        yield stored


class _Region(NamedTuple):
    category: int
    counts: str | list[int]


class _DetailLabel(NamedTuple):
    phase: str  # `train` or `val`
    height: int
    width: int
    regions: list[_Region]


@dataclass(frozen=True, kw_only=True)
class DetailEntry:
    """The label of an image in the annotations of PASCAL in Detail."""

    file: Path
    image: str  # name, without suffix

    def __str__(self) -> str:
        return f"{self.file}, label of {self.image}"

    @property
    def key(self) -> str:
        """What tells it from others of its file."""
        return self.image

    def read(self) -> NDArray[np.uint8]:
        """Draw the regions (h, w), later ones over earlier ones, in ids 0 to 59."""
        height, width, regions = _detail(self.file, self.file.stat().st_mtime_ns)[self.image][1:]
        ids = read_column("pascal_context", "detail")
        with decoding(self, (ValueError, TypeError, OverflowError, MemoryError)):
            flat = np.zeros(height * width, np.int32)
            for category, counts in regions:
                flat[_run_lengths(counts, len(flat))] = category
            present, places = np.unique(flat, return_inverse=True)
            if strange := sorted(set(present.tolist()) - ids.keys()):
                msg = f"its categories {strange} are none of the 59; take trainval_merged.json"
                raise ValueError(msg)
        drawn = np.array([ids[category] for category in present.tolist()], np.uint8)[places]
        return drawn.reshape(width, height).T  # columns follow each other, as in COCO


def detail_pairs(root: Path, split: str) -> list[Pair]:
    """Find the images of a split, and their labels in the JSON of PASCAL in Detail."""
    base = root / "VOCdevkit" / "VOC2010"
    file = base / "trainval_merged.json"
    labels = _detail(file, file.stat().st_mtime_ns)
    names = sorted(name for name, label in labels.items() if label.phase == split)
    images = [base / "JPEGImages" / f"{name}.jpg" for name in names]
    for image in images:
        image.stat()
    return [Pair(image, DetailEntry(file=file, image=image.stem)) for image in images]


@lru_cache(maxsize=1)
def _detail(file: Path, _changed_ns: int) -> dict[str, _DetailLabel]:
    """Labels by the names of images; of all else in half a gigabyte nothing is kept."""
    labels = {}
    wrong = (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError)
    with decoding(file, wrong):
        content = json.loads(file.read_bytes(), object_hook=_without_parts)
        for image in content["images"]:
            size = int(image["height"]), int(image["width"])
            labels[image["image_id"]] = _DetailLabel(image["phase"], *size, [])
        for region in content["annos_segmentation"]:
            mask = _Region(int(region["category_id"]), region["segmentation"]["counts"])
            labels[region["image_id"]].regions.append(mask)
        return {
            Path(each["file_name"]).stem: labels[each["image_id"]] for each in content["images"]
        }


def _without_parts(node: dict[str, Any]) -> dict[str, Any]:
    """Drop what a label is not made of, while the file is parsed."""
    for name in ("parts", "annos_occlusion", "annos_boundary", "annos_joints", "bbox"):
        node.pop(name, None)
    return node


def _run_lengths(counts: str | list[int], size: int) -> NDArray[np.bool_]:
    """Return which of `size` pixels are in a mask of COCO: lengths of zeros and ones by turns, in numbers or text."""
    lengths = _unpacked(counts) if isinstance(counts, str) else [int(each) for each in counts]
    if min(lengths, default=0) < 0 or sum(lengths) != size:
        msg = f"its run lengths make {sum(lengths)} pixels, and the image has {size}"
        raise ValueError(msg)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _unpacked(text: str) -> list[int]:
    """Unpack COCO's text: five bits a letter, the lowest first, differences to the length before the last one."""
    lengths: list[int] = []
    value = shift = 0
    for letter in text.encode():
        bits = letter - 48
        if not 0 <= bits < 64:
            msg = f"its run lengths have the letter {chr(letter)!r}"
            raise ValueError(msg)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


@dataclass(frozen=True, kw_only=True)
class FullAdeLabel:
    """A label of ADE20K's full release of 2016: class R // 10 * 256 + G among its 3,148 names."""

    file: Path

    key = "full"

    def __str__(self) -> str:
        return str(self.file)

    def read(self) -> NDArray[np.uint8]:
        """Read ids 0 (other) to 150 of the scene parsing challenge (h, w)."""
        with decoding(self.file, BROKEN), Image.open(checked(self.file)) as label:
            mode, pixels = label.mode, np.array(label)
        if mode != "RGB":
            msg = f"{self.file} is an image of mode {mode}; a label of the full release is RGB"
            raise ValueError(msg)
        return _full_ade_table()[pixels[..., 0].astype(np.int64) // 10 * 256 + pixels[..., 1]]


@cache
def _full_ade_table() -> NDArray[np.uint8]:
    """Ids 0 to 150 by the classes of the full release."""
    table = np.zeros(26 * 256, np.uint8)
    for full, number in read_column("ade20k_2016", "full").items():
        table[full] = number
    return table


def full_ade_pairs(root: Path, split: str) -> list[Pair]:
    """Find the images of ADE20K's full release of 2016, which lie in folders of their scenes."""
    base = root / "ADE20K_2016_07_26" / "images" / {"train": "training", "val": "validation"}[split]
    base.stat()
    images = sorted(path for path in base.rglob("ADE_*.jpg"))
    pairs = [
        Pair(path, FullAdeLabel(file=path.with_name(f"{path.stem}_seg.png"))) for path in images
    ]
    for pair in pairs:
        pair.files[1].stat()
    return pairs


def refuse_full_ade(root: Path, _split: str) -> list[Pair]:
    """Refuse ADE20K's full release of 2021."""
    msg = (
        f"{root / 'ADE20K_2021_17_01'} is ADE20K's full release: in its _seg.png a class is R // 10 * 256 + G, one of "
        "thousands of names, and which are the 150 of the challenge stands in a pickle (index_ade20k.pkl) that is "
        "not opened; take ADEChallengeData2016.zip from sceneparsing.csail.mit.edu"
    )
    raise ValueError(msg)
