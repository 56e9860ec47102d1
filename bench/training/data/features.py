"""Maps of a backbone that isn't trained, computed once for a set and kept in one memory-mapped file.

The file is an array of views: maps of stage 4 and 5 side by side in half precision, and the label. With mirrored views
each image is followed by its mirror image. Its name follows from all that it depends on: the images' files, backbone
and weights, how images are brought to the backbone, and the code that does it. It is there whole or not at all,
whatever ends the process that makes it; of several processes one makes it, and the others wait.

Axes: height and width of the images that the backbone sees, h and w of its maps, c channels of both stages together.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

import experiments
from bench import records
from bench.records import digest
from bench.training.data.augment import generator_of
from bench.training.data.images import LabelledImages

Example = tuple[Tensor, Tensor]

# What computes maps: views of images, of which what else is there does not count, and backbones.
CODE = (
    *(resolve_name(name, __package__) for name in ("..frozen", "..protocols", ".features")),
    "ann.backbones",
    "ann.layers",
)


class Views(Protocol):
    """Images as a backbone sees them: float32 [3, height, width], and a label, uint8 of any size; all of one size."""

    @property
    def files(self) -> LabelledImages:
        """The set."""
        ...

    @property
    def how(self) -> str:
        """All that views depend on besides the files."""
        ...

    def view(self, index: int) -> Example:
        """Return an image and its label."""
        ...


class CachedMaps:
    """Maps of a set: float16 [h, w, c], and the label, uint8, by image and mirroring."""

    def __init__(self, path: Path, *, mirrored: bool) -> None:
        self.key = path.stem.rpartition("-")[2]  # changes with anything on which maps depend
        try:
            self._views = np.load(path, mmap_mode="r")
        except (ValueError, EOFError) as error:
            msg = f"{path} is no whole file of maps ({error}); delete it and call again"
            raise ValueError(msg) from error
        self._each = 1 + mirrored

    def __len__(self) -> int:
        return len(self._views) // self._each

    def view(self, index: int, *, mirrored: bool = False) -> Example:
        """Read a view."""
        entry = self._views[self._each * index + mirrored]
        return torch.from_numpy(entry["maps"].copy()), torch.from_numpy(entry["label"].copy())


@dataclass(eq=False)
class MirroredMaps:
    """Training views of cached maps, each mirrored or not as seed, epoch and index say."""

    maps: CachedMaps
    flip: float  # share of views that are mirrored
    seed: int

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, visit: tuple[int, int]) -> Example:
        """Return maps [h, w, c] and label of a visit (epoch, index)."""
        epoch, index = visit
        draw = torch.rand((), generator=generator_of(self.seed, epoch, index))
        return self.maps.view(index, mirrored=bool(draw < self.flip))


def cache_maps(views: Views, backbone: nn.Module, *, folder: Path, mirrored: bool) -> CachedMaps:
    """Compute a set's maps, unless the folder has them: inference in float32 on every image and mirror image.

    Raises:
        ValueError: an image can't be read, or images differ in size.
        OSError: the file can't be written.
    """
    backbone.eval()
    path = folder / f"{views.files.name}-{views.files.split}-{_key(views, backbone, mirrored)}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():  # another process may have made it meanwhile
                _write(
                    path, _computed(views, backbone, mirrored), (1 + mirrored) * len(views.files)
                )
    return CachedMaps(path, mirrored=mirrored)


def _write(path: Path, examples: Iterator[Example], length: int) -> None:
    for unfinished in path.parent.glob(f"{path.name}.*.tmp"):  # of processes that were killed
        unfinished.unlink(missing_ok=True)
    if not length:
        msg = f"{path.name}: the set has no images; check its folder and its split"
        raise ValueError(msg)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    array: Any = None
    try:
        for number, (maps, label) in enumerate(examples):
            if array is None:
                fields = [("maps", np.float16, maps.shape), ("label", np.uint8, label.shape)]
                array = np.lib.format.open_memmap(
                    aside, mode="w+", dtype=np.dtype(fields), shape=(length,)
                )
                _reserve(aside)
            if (maps.shape, label.shape) != (array["maps"].shape[1:], array["label"].shape[1:]):
                msg = (
                    f"a label is {tuple(label.shape)} where the first is {array['label'].shape[1:]}; "
                    "frozen features are kept for images of one size"
                )
                raise ValueError(msg)
            array[number]["maps"], array[number]["label"] = maps.numpy(), label.numpy()
        array.flush()
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Have the disk's room now: a page of a mapped file for which there is none ends the process by a signal."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            msg = (
                f"{path.parent}: no room for {path.stat().st_size / 2**20:.0f} MiB of maps "
                f"({error.strerror}); make room or choose another folder and call again"
            )
            raise OSError(error.errno, msg) from error


def _computed(views: Views, backbone: nn.Module, mirrored: bool) -> Iterator[Example]:  # noqa: FBT001
    for index in range(len(views.files)):
        image, label = views.view(index)
        images = torch.stack([image, image.flip(2)] if mirrored else [image])
        with torch.inference_mode():
            maps = torch.cat(backbone(images), dim=1).permute(0, 2, 3, 1).half()
        if not bool(torch.isfinite(maps).all()):
            msg = (
                f"image {index}: the backbone's maps don't fit into half precision; "
                "are its weights those of this backbone?"
            )
            raise ValueError(msg)
        yield from zip(maps, (label, label.flip(1)), strict=False)


def _key(views: Views, backbone: nn.Module, mirrored: bool) -> str:  # noqa: FBT001
    """Twelve digits that change with anything on which maps and labels depend."""
    content = hashlib.sha256(f"{views.how} {mirrored} {backbone!r}".encode())
    content.update(
        digest(CODE, skip=(records.__name__, experiments.__name__), ends=CODE[:1]).encode()
    )
    for name, tensor in backbone.state_dict().items():
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    content.update(views.files.colours().encode())
    for pair in views.files.pairs:
        for source, path in zip(pair, pair.files, strict=True):
            if not isinstance(source, Path):  # one of many in a file
                content.update(source.key.encode())
            content.update(_content(path, path.stat().st_size, path.stat().st_mtime_ns))
    return content.hexdigest()[:12]


@lru_cache(maxsize=10_000)
def _content(path: Path, size_bytes: int, changed_ns: int) -> bytes:  # noqa: ARG001  # a file that changed is read anew
    """Digest of a file, for the trainings of one process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
