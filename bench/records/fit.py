"""What fits on a device: the largest map and batch, by prediction, and what the limit is made of."""

from typing import Literal

from bench.records.files import Model


class PeakPart(Model):
    """Tensors of one shape that are alive at the peak: how many, their bytes, and the operators that made them."""

    operators: tuple[str, ...]
    shape: tuple[int, ...] = ()
    count: int
    size_bytes: int


class Fit(Model):
    """The largest map of an aspect ratio, and the most maps of a size, whose call fits on a device.

    `usable_bytes` is what the allocator may reserve (`bench.analysis.usable_bytes`), `workspace_bytes` the bound of
    cuBLAS's workspaces with that version of torch, `step` that of width and height. `largest_size` is None and
    `largest_batch` 0 where nothing fits, either is None where it can't be predicted (a module may take maps of one
    size alone); `reason` says why. `peak_bytes` and `parts`, the largest first, are of the largest map.
    """

    arm: str
    size: str
    batch: int = 1
    mode: Literal["eval", "train"]
    dtype: str
    device: str
    usable_bytes: int
    workspace_bytes: int
    torch: str
    step: int
    largest_size: str | None = None
    largest_batch: int | None = None
    peak_bytes: int | None = None
    parts: tuple[PeakPart, ...] = ()
    reason: str = ""
