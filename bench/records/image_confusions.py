"""One confusion matrix an image, small enough for a line of JSON: zeros take no room.

The text is base 85 of zlib of whole numbers in groups of seven bits, the lowest first (LEB128): how many images and
entries, the gap before each entry, the counts. Entries are ordered by class pair, then by image: counts of one pair are
alike. 101 images in CamVid's 11 classes take 11 kB, 2,000 in ADE20K's 150 half a MB.
Axes: n images, e entries that are not zero, k classes.
"""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

# Nine groups of seven bits fill an int64.
MOST_GROUPS = 9
# What claims to be larger is no record of ours; ADE20K's 2,000 images in 150 classes unzip to less than 1 MB.
MOST_BYTES, MOST_IMAGES = 1 << 28, 1 << 20


class ImageEntries(NamedTuple):
    """What is not zero in one image's matrix: class pairs (true class times k plus the predicted one) and pixels."""

    pairs: Numbers
    counts: Numbers


@dataclass(frozen=True, slots=True, eq=False)
class ImageConfusions:
    """Confusion matrices of n images in k classes, as their entries: image, class pair and count of each, int64 [e]."""

    images: int
    classes: int
    image: Numbers
    pair: Numbers
    count: Numbers

    @property
    def truth(self) -> Numbers:
        """The true class of each entry, [e]."""
        return self.pair // self.classes

    @property
    def predicted(self) -> Numbers:
        """The predicted class of each entry, [e]."""
        return self.pair % self.classes

    def total(self) -> Numbers:
        """Sum over the images, [k, k]: row for the true class, column for the predicted one."""
        matrix = np.zeros(self.classes**2, dtype=np.int64)
        np.add.at(matrix, self.pair, self.count)
        return matrix.reshape(self.classes, self.classes)

    @classmethod
    def of(cls, images: Sequence[ImageEntries], classes: int) -> Self:
        """Join the matrices of some images, in their order."""
        image = np.repeat(np.arange(len(images)), [len(each.pairs) for each in images])
        empty = np.zeros(0, dtype=np.int64)
        pair = np.concatenate([empty, *(each.pairs for each in images)])
        count = np.concatenate([empty, *(each.counts for each in images)])
        order = np.lexsort((image, pair))
        return cls(len(images), classes, image[order], pair[order], count[order])

    def pack(self) -> str:
        """Write the matrices as text; none for no images."""
        if not self.images:
            return ""
        gaps = np.diff(self.pair * self.images + self.image, prepend=-1) - 1
        numbers = np.concatenate(([self.images, len(gaps)], gaps, self.count))
        return base64.b85encode(zlib.compress(_write_numbers(numbers), 9)).decode()

    @classmethod
    def unpack(cls, text: str, classes: int) -> Self:
        """Read what `pack` wrote of matrices in k classes; anything else is a ValueError."""
        numbers = _read_numbers(_unzip(text))
        images, entries = map(int, numbers[:2]) if len(numbers) > 1 else (0, 0)
        if len(numbers) != 2 + 2 * entries or not 0 < images <= MOST_IMAGES:
            msg = (
                f"the matrices of {images} images have {len(numbers)} numbers, not {2 + 2 * entries}, or are of "
                f"more than {MOST_IMAGES} images; they were cut or changed"
            )
            raise ValueError(msg)
        gaps, count = np.split(numbers[2:], 2)
        if entries + gaps.sum(dtype=np.float64) > images * classes**2:
            msg = f"the matrices of {images} images have entries beyond {classes} classes"
            raise ValueError(msg)
        pair, image = np.divmod(np.cumsum(gaps + 1) - 1, images)
        return cls(images, classes, image, pair, count)


def _unzip(text: str) -> bytes:
    unzip = zlib.decompressobj()
    try:
        content = unzip.decompress(base64.b85decode(text), MOST_BYTES)
    except (ValueError, zlib.error) as error:
        msg = f"the matrices of the images can't be read ({error}); they are zlib in base 85"
        raise ValueError(msg) from error
    if not unzip.eof:
        msg = f"the matrices of the images are cut, or larger than {MOST_BYTES} bytes"
        raise ValueError(msg)
    return content


def _write_numbers(numbers: Numbers) -> bytes:
    groups = numbers[:, None] >> (7 * np.arange(MOST_GROUPS))
    kept = groups > 0
    kept[:, 0] = True
    more = np.zeros_like(kept)
    more[:, :-1] = kept[:, 1:]
    return ((groups & 127) | (more << 7)).astype(np.uint8)[kept].tobytes()


def _read_numbers(content: bytes) -> Numbers:
    groups = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(groups < 128)
    starts = np.concatenate(([0], ends + 1))
    lengths = np.diff(starts)
    if starts[-1] != len(groups) or lengths.max(initial=0) > MOST_GROUPS:
        msg = "the matrices of the images hold a number that has no end or is too large"
        raise ValueError(msg)
    place = np.arange(len(groups)) - np.repeat(starts[:-1], lengths)
    shifted = (groups & 127).astype(np.int64) << (7 * place)
    sums: Numbers = np.add.reduceat(shifted, starts[:-1]) if len(ends) else shifted
    return sums
