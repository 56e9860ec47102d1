"""What fits on a device: the largest map and batch, by prediction, and what the limit is made of."""

from typing import Literal

from bench.records.files import Model


class PeakPart(Model):
    """Tensors of one shape that are alive at the peak."""

    operators: tuple[str, ...]
    """The operators that made them."""
    shape: tuple[int, ...] = ()
    """Their dimensions."""
    count: int
    """Number of tensors."""
    size_bytes: int
    """Total size."""


class Fit(Model):
    """The largest map of an aspect ratio, and the most maps of a size, whose call fits on a device."""

    arm: str
    """Name on the command line."""
    size: str
    """Size that sets the aspect ratio, and for which `largest_batch` holds."""
    batch: int = 1
    """Batch for which `largest_size` holds."""
    mode: Literal["eval", "train"]
    """`eval` or `train`."""
    dtype: str
    """Number format."""
    device: str
    """Name of the device."""
    usable_bytes: int
    """What the allocator may reserve (`bench.analysis.usable_bytes`)."""
    workspace_bytes: int
    """Upper bound of cuBLAS's workspaces in that version of torch."""
    torch: str
    """Version of torch."""
    step: int
    """Step of width and height in the search."""
    largest_size: str | None = None
    """None if nothing fits or nothing can be predicted (a module may take a single map size)."""
    largest_batch: int | None = None
    """0 if nothing fits, None if it can't be predicted."""
    peak_bytes: int | None = None
    """Peak of the largest map."""
    parts: tuple[PeakPart, ...] = ()
    """Parts of that peak, the largest first."""
    reason: str = ""
    """Why there is no answer."""
