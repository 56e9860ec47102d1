"""What fits on a device: the largest map and batch, by prediction, and what the limit is made of."""

from typing import Literal

from bench.records.files import Model


class PeakPart(Model):
    """Tensors of one shape that are alive at the peak."""

    operators: tuple[str, ...]
    """Which made them."""
    shape: tuple[int, ...] = ()
    """Their sides."""
    count: int
    """How many."""
    size_bytes: int
    """What they take together."""


class Fit(Model):
    """The largest map of an aspect ratio, and the most maps of a size, whose call fits on a device."""

    arm: str
    """As the command line names it."""
    size: str
    """That gives the aspect ratio, and of the batch."""
    batch: int = 1
    """Maps at once, for the largest size."""
    mode: Literal["eval", "train"]
    """`eval` or `train`."""
    dtype: str
    """Number format."""
    device: str
    """Its name."""
    usable_bytes: int
    """What the allocator may reserve (`bench.analysis.usable_bytes`)."""
    workspace_bytes: int
    """Bound of cuBLAS's workspaces with that version of torch."""
    torch: str
    """Version of torch."""
    step: int
    """Of width and height."""
    largest_size: str | None = None
    """None where nothing fits or nothing can be predicted (a module may take maps of one size alone)."""
    largest_batch: int | None = None
    """0 where nothing fits, None where it can't be predicted."""
    peak_bytes: int | None = None
    """Of the largest map."""
    parts: tuple[PeakPart, ...] = ()
    """Of that peak, the largest first."""
    reason: str = ""
    """Why nothing is said."""
