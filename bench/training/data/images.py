"""Data set of image and label files, the reading of one pair, and the classes that its labels name.

Names, colours and ids of the classes lie in a CSV file for each set. CamVid: 11 classes in the order and
colours of the SegNet tutorial. Cityscapes: the 19 evaluated classes of its cityscapesScripts (labels.py).
ADE20K: the 150 classes of its scene parsing challenge, with the colours that semseg and mmseg have. PASCAL
VOC 2012: 20 objects and background. PASCAL Context: the 59 classes of its authors and background, in the
order of their numbers among all 459, which is the order in which the converters of the official ANN code
and of mmseg write them. The last two have the colour map of the VOC development kit (VOClabelcolormap.m).

Axes: h height and w width of the image.
"""

import csv
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from bench.analysis import IGNORE

# What Pillow raises on a file that is torn or something else.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error)
UNKNOWN = 254  # in the lookup table: an id that the set does not have


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """Names and colours of the train ids 0 to C-1, and of each id in a label file its train id, or 255."""

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ids: Mapping[int, int]

    @property
    def table(self) -> NDArray[np.uint8]:
        """Lookup table (256,) from ids in a file to train ids; 254 for ids that the set does not have."""
        table = np.full(256, UNKNOWN, np.uint8)
        table[list(self.ids)] = list(self.ids.values())
        return table


def read_classes(name: str, *, ignored: tuple[int, ...] = ()) -> Classes:
    """Read the classes of the set whose file, beside this one, has that name.

    Ids in label files that are `ignored` are not evaluated; classes of such an id are left out.
    """
    text = Path(__file__).with_name(f"{name}.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if int(row["id"]) not in ignored]
    return Classes(
        names=tuple(row["name"] for row in rows),
        palette=tuple((int(row["red"]), int(row["green"]), int(row["blue"])) for row in rows),
        ids=dict.fromkeys(ignored, IGNORE) | {int(row["id"]): at for at, row in enumerate(rows)},
    )


class Pair(NamedTuple):
    """Files of one image and of its label."""

    image: Path
    label: Path


class LabelledImages(Dataset[tuple[Tensor, Tensor]]):
    """Images with labels, read from their files on every access.

    `classes` are the names of the train ids 0 to C-1, `palette` their colours (red, green, blue).
    """

    def __init__(self, *, name: str, split: str, pairs: tuple[Pair, ...], classes: Classes) -> None:
        self.name, self.split, self.pairs = name, split, pairs
        self.classes, self.palette = classes.names, classes.palette
        self.groups: dict[str, tuple[int, ...]] = {}
        self._table = classes.table

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one pair: image uint8 [3, h, w] in RGB, label uint8 [h, w].

        A file that can't be read, sizes that differ and an id that the set has not are a ValueError that names it.
        """
        pair = self.pairs[index]
        image, raw = read_image(pair.image), read_label(pair.label)
        if image.shape[:2] != raw.shape:
            msg = (
                f"{pair.label} is {raw.shape[1]}x{raw.shape[0]}, but its image {pair.image} is "
                f"{image.shape[1]}x{image.shape[0]}; both must have the same size"
            )
            raise ValueError(msg)
        label = self._table[raw]
        if (label == UNKNOWN).any():
            known = np.flatnonzero(self._table != UNKNOWN).tolist()
            unknown = sorted(set(np.unique(raw).tolist()) - set(known))
            msg = (
                f"{pair.label} has the class ids {unknown}, which {self.name} does not; "
                f"allowed are {_ranges(known)}"
            )
            raise ValueError(msg)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image of any mode as RGB, (h, w, 3)."""
    with _decoding(path, _BROKEN), Image.open(path) as image:
        return np.array(image.convert("RGB"))


def read_label(path: Path) -> NDArray[np.uint8]:
    """Read the ids of a label, (h, w): a PNG with one channel or a palette, or a `.mat` of SBD."""
    if path.suffix == ".mat":
        return _read_mat(path)
    with _decoding(path, _BROKEN), Image.open(path) as label:
        ids, mode = np.array(label), label.mode
    if mode not in ("L", "P"):
        msg = f"{path} is an image of mode {mode}; labels are class ids in one channel of 8 bits (mode L or P)"
        raise ValueError(msg)
    return ids


def _read_mat(path: Path) -> NDArray[np.uint8]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with _decoding(path, (OSError, ValueError, KeyError, TypeError, IndexError, MatReadError)):
        return loadmat(path, simplify_cells=True)["GTcls"]["Segmentation"]


@contextmanager
def _decoding(path: Path, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        msg = f"{path} can't be read ({type(error).__name__}: {error}); get the file anew"
        raise ValueError(msg) from error


def _ranges(ids: list[int]) -> str:
    starts = [number for number in ids if number - 1 not in ids]
    ends = [number for number in ids if number + 1 not in ids]
    return ", ".join(
        f"{start} to {end}" if end > start else str(start)
        for start, end in zip(starts, ends, strict=True)
    )
