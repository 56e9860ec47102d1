"""Reading of files: images, label files of every depth, and the maps of ids in MATLAB's files.

Nothing in a file is trusted: what is torn or made to harm is an error with the file's name.

Axes: h and w height and width of an image or label.
"""

import io
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

# What Pillow raises on a file that is torn or something else; MemoryError where one claims a huge size.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError)
PAINTED = ("RGB", "RGBA")
_PNG = b"\x89PNG\r\n\x1a\n"
_EARLY = "it ends early"
_GREY = ("1", "L", "I", "I;16")
_MOST_BYTES = 2**28  # of what is compressed in a file
# MATLAB's numbers for kinds of elements, and for classes of arrays.
_NUMBERS = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 9, 12, 13),
        ["b", "B", "h", "H", "i", "I", "f", "d", "q", "Q"],
        strict=True,
    )
)
_MATRIX, _COMPRESSED = 14, 15
_STRUCTURE, _NUMERIC = 2, range(6, 16)


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


def read_image(source: Source) -> NDArray[np.uint8]:
    """Read an image of any mode as RGB, (h, w, 3)."""
    if not isinstance(source, Path):
        return source.read()
    with decoding(source, BROKEN), Image.open(checked(source)) as image:
        return np.array(image.convert("RGB"))


def read_list(path: Path) -> str:
    """Read a list of names or classes in UTF-8, with a byte order mark or without.

    Raises:
        ValueError: it is in another encoding.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 (byte 0x{content[error.start]:02x} at {error.start}); save it as UTF-8"
        raise ValueError(msg) from error
    if "\0" in text:  # of every other byte in UTF-16, which can pass for UTF-8
        msg = f"{path} has zero bytes, as UTF-16 does; save it as UTF-8"
        raise ValueError(msg)
    return text


def refuse_twice(names: Sequence[object], listing: Path) -> None:
    """Refuse a name that a list has twice: whoever reads lists line by line counts its image twice."""
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        more = f" (and {len(twice) - 1} more)" if len(twice) > 1 else ""
        msg = f"{listing} has {twice[0]}{more} more than once, and an image would count twice; keep one line of each"
        raise ValueError(msg)


def checked(path: Path) -> io.BytesIO:
    """Content of a file, of a PNG with the checksums that it should have: Pillow leaves those of pixels out."""
    content = path.read_bytes()
    if _PNG.startswith(content):
        raise EOFError(_EARLY)
    if not content.startswith(_PNG):
        return io.BytesIO(content)
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + size
        if zlib.crc32(content[at + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            msg = f"its part {kind!r} has another checksum"
            raise ValueError(msg)
        at = end + 4
    return io.BytesIO(content)


def decode_label(path: Path) -> tuple[NDArray[Any], str, bytes, int]:
    """Pixels, mode and stored palette of an image, and what Pillow had multiplied grey of few bits by: undone here."""
    with decoding(path, BROKEN), Image.open(content := checked(path)) as label:
        palette = bytes(label.palette.palette) if label.mode == "P" and label.palette else b""
        pixels, mode = np.array(label), label.mode
        is_png, shade = label.format == "PNG", 1
    if mode not in (*_GREY, "P", *PAINTED):
        msg = f"{path} is an image of mode {mode}; labels are class ids in one channel of 8 bits (mode L or P)"
        raise ValueError(msg)
    if mode == "L" and is_png:
        depth = content.getvalue()[24]  # of a sample, in the header of every PNG
        shade = 255 // (2**depth - 1)
        pixels //= shade
    if mode == "1":
        pixels, shade = pixels.astype(np.uint8), 255
    if mode == "I":
        pixels = ids_in(pixels, path)
    return pixels, "L" if mode in _GREY else mode, palette, shade


def read_mat(path: Path, *fields: tuple[str, ...], vector: bool = False) -> NDArray[Any]:
    """Read ids (h, w), or a vector, out of a `.mat` of MATLAB 5 to 7, at the first of some places that it has.

    Not by scipy, whose reader ends the process by a segmentation fault at some damaged files.
    """
    with decoding(path, (*BROKEN, zlib.error)):
        content = path.read_bytes()
        order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
        if len(content) < 128:  # of its head
            raise EOFError(_EARLY)
        if order is None or not content.startswith(b"MATLAB 5"):
            msg = "it is no file of MATLAB 5 to 7"
            raise ValueError(msg)
        matrices = dict(_matrices(content[128:], order))
        place = next((each for each in fields if each[0] in matrices), None)
        if place is None:
            msg = f"it has no {' or '.join(each[0] for each in fields)}"
            raise ValueError(msg)
        matrix = matrices[place[0]]
        for step in place[1:]:
            matrix = _field(matrix, order, step)
        ids = _numbers(matrix, order)
    return ids_in(np.atleast_2d(ids.squeeze()) if vector else ids, path)


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Kinds and contents of the elements that follow each other."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        is_small = kind >> 16  # up to four bytes, beside their kind
        if is_small:
            kind, size = kind & 65_535, kind >> 16
        start = at + (4 if is_small else 8)
        at = at + 8 if is_small else start + size
        if start + size > min(at, len(content)):
            msg = f"it ends early: an element of {size} bytes ends behind what holds it"
            raise ValueError(msg)
        yield kind, content[start : start + size]
        at += 0 if is_small or kind == _COMPRESSED else -size % 8


def _matrices(content: bytes, order: str) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """Names and elements of a file's arrays."""
    for kind, packed in _elements(content, order):
        inner, element = kind, packed
        if kind == _COMPRESSED:
            stream = zlib.decompressobj()
            whole = stream.decompress(packed, _MOST_BYTES)
            if not stream.eof:
                msg = "what is compressed does not end"
                raise ValueError(msg)
            inner, element = next(_elements(whole, order), (0, b""))
        if inner == _MATRIX:
            parts = list(_elements(element, order))
            if len(parts) > 2:
                yield parts[2][1].decode("ascii"), parts


def _field(parts: list[tuple[int, bytes]], order: str, name: str) -> list[tuple[int, bytes]]:
    """Elements of a field of a structure."""
    kind, shape = _header(parts, order)
    if kind != _STRUCTURE or math.prod(shape) != 1 or len(parts) < 5:
        msg = f"there is no single structure around {name}"
        raise ValueError(msg)
    (width,) = struct.unpack(f"{order}i", parts[3][1])
    text = parts[4][1]
    names = [text[at : at + width].split(b"\0")[0] for at in range(0, len(text), max(width, 1))]
    if name.encode() not in names[: len(parts) - 5]:
        msg = f"a structure has no {name}"
        raise ValueError(msg)
    return list(_elements(parts[5 + names.index(name.encode())][1], order))


def _header(parts: list[tuple[int, bytes]], order: str) -> tuple[int, tuple[int, ...]]:
    """Class and shape of an array."""
    if len(parts) < 3 or len(parts[0][1]) < 4 or len(parts[1][1]) % 4:
        msg = "an array has no shape"
        raise ValueError(msg)
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    return flags & 255, struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])


def _numbers(parts: list[tuple[int, bytes]], order: str) -> NDArray[Any]:
    kind, shape = _header(parts, order)
    if kind not in _NUMERIC or len(parts) != 4 or parts[3][0] not in _NUMBERS or min(shape) < 0:
        msg = "there is no array of real numbers"
        raise ValueError(msg)
    numbers = np.frombuffer(parts[3][1], np.dtype(f"{order}{_NUMBERS[parts[3][0]]}"))
    return numbers.reshape(shape, order="F")


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
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, struct.error | EOFError):
            reason = _EARLY
        if isinstance(error, UnidentifiedImageError):  # whose text names what was opened in memory
            reason = "it is no image"
        msg = f"{path} can't be read ({reason}); get the file anew"
        raise ValueError(msg) from error
