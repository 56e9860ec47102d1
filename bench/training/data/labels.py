"""Reading of label files: the train ids of every pixel, whatever the file holds them in.

Axes: h and w height and width of the label.
"""

import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.training.data.classes import UNKNOWN, Classes
from bench.training.data.palettes import listing_of, original_ids, unpaint

# What Pillow raises on a file that is torn or something else; MemoryError where one claims a huge size.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError)
MOST_ENTRIES = 2**28  # of a label, where a header says so
_PAINTED = ("RGB", "RGBA")
_GREY = ("1", "L", "I", "I;16")


class Entry(Protocol):
    """An image or label that is one of many in a file."""

    @property
    def file(self) -> Path:
        """What holds it."""

    @property
    def key(self) -> str:
        """What tells it from others of its file."""

    def read(self) -> NDArray[Any]:
        """Pixels (h, w, 3) or ids (h, w)."""


Source = Path | Entry


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
        pixels, mode, palette, shade = _decode(source)
        if mode == "P" and self.painted and listing_of(source):
            pixels, mode = _coloured(pixels, palette), "RGB"
        if mode in _PAINTED:
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
        self._say(note, "shared")
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


def _decode(path: Path) -> tuple[NDArray[Any], str, bytes, int]:
    """Pixels, mode and stored palette of an image, and what Pillow had multiplied grey of few bits by: undone here."""
    with decoding(path, BROKEN), Image.open(path) as label:
        palette = bytes(label.palette.palette) if label.mode == "P" and label.palette else b""
        pixels, mode = np.array(label), label.mode
        is_png, shade = label.format == "PNG", 1
    if mode not in (*_GREY, "P", *_PAINTED):
        msg = f"{path} is an image of mode {mode}; labels are class ids in one channel of 8 bits (mode L or P)"
        raise ValueError(msg)
    if mode == "L" and is_png:
        with path.open("rb") as file:
            depth = file.read(25)[24]  # of a sample, in the header of every PNG
        shade = 255 // (2**depth - 1)
        pixels //= shade
    if mode == "1":
        pixels, shade = pixels.astype(np.uint8), 255
    if mode == "I":
        pixels = ids_in(pixels, path)
    return pixels, "L" if mode in _GREY else mode, palette, shade


def read_mat(path: Path, *fields: tuple[str, ...], vector: bool = False) -> NDArray[Any]:
    """Read ids (h, w), or a vector, out of a `.mat` of MATLAB 5 to 7, at the first of some places that it has."""
    from scipy.io import loadmat, whosmat

    wanted = [place[0] for place in fields]
    with decoding(path, (Exception,)):  # whatever a parser makes of a damaged file
        for name, shape, kind in whosmat(path):  # headers alone
            most = MOST_ENTRIES if kind.startswith(("int", "uint", "double", "single")) else 1
            if name in wanted and math.prod(shape) > most:
                msg = f"{name} is {kind} of {shape}"
                raise ValueError(msg)
        content: Any = loadmat(path, simplify_cells=True, variable_names=wanted)
        for step in next((place for place in fields if place[0] in content), fields[0]):
            content = content[step]
    return ids_in(np.atleast_2d(content) if vector else content, path)


def ids_in(content: Any, path: Path) -> NDArray[Any]:  # noqa: ANN401  # whatever a file may hold
    """Refuse what is no map of ids from 0 to 65535."""
    is_map = isinstance(content, np.ndarray) and content.ndim == 2 and content.dtype.kind in "uif"
    if is_map and content.size and content.dtype.kind == "f":
        is_map = bool(np.isfinite(content).all() and (content == np.floor(content)).all())
    if not is_map or not content.size or content.min() < 0 or content.max() > 65_535:
        shape = (
            f"{getattr(content, 'shape', '')} {getattr(content, 'dtype', type(content).__name__)}"
        )
        msg = f"{path} holds {shape.strip()} where a label is; labels are ids (h, w), 0 to 65535. Get the file anew"
        raise ValueError(msg)
    return content.astype(np.int64)


@contextmanager
def decoding(path: object, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Name the file that can't be read."""
    try:
        yield
    except errors as error:
        msg = f"{path} can't be read ({type(error).__name__}: {error}); get the file anew"
        raise ValueError(msg) from error


def _ranges(ids: list[int]) -> str:
    present = set(ids)
    starts = [number for number in ids if number - 1 not in present]
    ends = [number for number in ids if number + 1 not in present]
    return ", ".join(
        f"{start} to {end}" if end > start else str(start)
        for start, end in zip(starts, ends, strict=True)
    )
