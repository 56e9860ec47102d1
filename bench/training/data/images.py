"""Data set of image and label files, and the reading of one pair.

Axes: h height and w width of the image.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from bench.training.data.classes import Classes
from bench.training.data.labels import BROKEN, LabelReader, Source, decoding
from bench.training.data.palettes import listing_of


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
        return "\n".join(["painted", *(each.read_text(encoding="utf-8") for each in listings)])

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


def read_image(source: Source) -> NDArray[np.uint8]:
    """Read an image of any mode as RGB, (h, w, 3)."""
    if not isinstance(source, Path):
        return source.read()
    with decoding(source, BROKEN), Image.open(source) as image:
        return np.array(image.convert("RGB"))
