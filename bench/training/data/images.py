"""Data set of image and label files, and the reading of one pair.

Axes: h height and w width of the image.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from bench.training.data.classes import UNKNOWN, Classes
from bench.training.data.files import PAINTED, Source, decode_label, read_image, read_list, read_mat
from bench.training.data.palettes import listing_of, original_ids, unpaint


class Pair(NamedTuple):
    """Files of one image and of its label, or their places in files of many."""

    image: Source
    label: Source

    @property
    def files(self) -> tuple[Path, Path]:
        """What holds them."""
        image, label = (
            source if isinstance(source, Path) else source.file
            for source in (self.image, self.label)
        )
        return image, label


class LabelledImages(Dataset[tuple[Tensor, Tensor]]):
    """Images with labels, read from their files on every access.

    `classes` are the names of the train ids 0 to C-1, `palette` their colours (red, green, blue). Where labels are
    `painted`, colours may stand for classes.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        pairs: tuple[Pair, ...],
        classes: Classes,
        painted: bool = False,
    ) -> None:
        self.name, self.split, self.pairs = name, split, pairs
        self.classes, self.palette = classes.names, classes.palette
        self.groups: dict[str, tuple[int, ...]] = {}
        self._labels = LabelReader(name=name, classes=classes, painted=painted)

    def colours(self) -> str:
        """What colours stand for beside the set's own, empty where they stand for nothing."""
        if not self._labels.painted:
            return ""
        folders = {pair.files[1].parent: listing_of(pair.files[1]) for pair in self.pairs}
        listings = sorted({listing for listing in folders.values() if listing})
        return "\n".join(["painted", *(read_list(each) for each in listings)])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one pair: image uint8 [3, h, w] in RGB, label uint8 [h, w].

        A file that can't be read, sizes that differ and an id that the set has not are a ValueError that names it.
        """
        pair = self.pairs[index]
        image, label = read_image(pair.image), self._labels.read(pair.label)
        if image.shape[:2] != label.shape:
            msg = (
                f"{pair.label} is {label.shape[1]}x{label.shape[0]}, but its image {pair.image} is "
                f"{image.shape[1]}x{image.shape[0]}; both must have the same size"
            )
            raise ValueError(msg)
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(label)


@dataclass(kw_only=True)
class LabelReader:
    """Reader of the labels of a set; what it has to say of a file it says once, as a warning."""

    name: str  # of the set
    classes: Classes
    painted: bool = False  # whether colours stand for classes
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._table = self.classes.table

    def read(self, source: Source) -> NDArray[np.uint8]:
        """Read train ids (h, w), 255 where a pixel isn't evaluated.

        Raises:
            ValueError: the file can't be read, holds no ids, or has one that the set has not; the message names it.
        """
        if not isinstance(source, Path):
            return self._trained(source.read(), source)
        if source.suffix == ".mat":
            return self._trained(read_mat(source, ("GTcls", "Segmentation"), ("S",)), source)
        pixels, mode, palette, shade = decode_label(source)
        if mode == "P" and self.painted and listing_of(source):
            pixels, mode = _coloured(pixels, palette), "RGB"
        if mode in PAINTED:
            return self._unpainted(pixels, mode, source)
        if mode == "P":
            pixels, note = original_ids(pixels, palette, self.classes, path=source)
            self._say(note, "order")
        elif (
            shade > 1
            and pixels.any()
            and set(np.unique(pixels.astype(int) * shade).tolist()) <= self.classes.ids.keys()
        ):
            self._say(
                f"{source} has few bits a pixel; its numbers are read as ids, and not as shades of 8 bits, which are "
                f"{shade} times as much and ids, too",
                "depth",
            )
        return self._trained(pixels, source)

    def _unpainted(self, pixels: NDArray[np.uint8], mode: str, path: Path) -> NDArray[np.uint8]:
        if not self.painted:
            msg = (
                f"{path} is an image of mode {mode}; labels are class ids in one channel of 8 bits (mode L or P). "
                "Where its colours stand for classes, pass --palette (palette=True)"
            )
            raise ValueError(msg)
        if mode == "RGBA" and (pixels[..., 3] < 255).any():
            msg = f"{path} has {(pixels[..., 3] < 255).sum()} pixels that are not opaque; save it without alpha"
            raise ValueError(msg)
        trains, note = unpaint(pixels[..., :3], self.classes, path=path)
        self._say(note, "unlabelled" if listing_of(path) else "shared")
        return trains

    def _trained(self, raw: NDArray[Any], source: Source) -> NDArray[np.uint8]:
        label = self._table[raw]
        if (label == UNKNOWN).any():
            known = np.flatnonzero(self._table != UNKNOWN).tolist()
            unknown = sorted(set(np.unique(raw).tolist()) - set(known))
            msg = f"{source} has the class ids {unknown}, which {self.name} does not; allowed are {_ranges(known)}"
            raise ValueError(msg)
        return label

    def _say(self, note: str, kind: str) -> None:
        if note and kind not in self._said:
            self._said.add(kind)
            warnings.warn(f"{note}. It is said of the first such label alone", stacklevel=4)


def _coloured(indices: NDArray[np.uint8], stored: bytes) -> NDArray[np.uint8]:
    """Colours (h, w, 3) of a mask with a palette of bytes; black behind its end, as PNG has it."""
    colours = np.zeros((256, 3), np.uint8)
    count = len(stored) // 3
    colours[:count] = np.frombuffer(stored[: 3 * count], np.uint8).reshape(-1, 3)
    return colours[indices]


def _ranges(ids: list[int]) -> str:
    present = set(ids)
    starts = [number for number in ids if number - 1 not in present]
    ends = [number for number in ids if number + 1 not in present]
    return ", ".join(
        f"{start} to {end}" if end > start else str(start)
        for start, end in zip(starts, ends, strict=True)
    )
