"""How far estimated times are from measured ones, as `bench.validate` writes it: a line of JSON for each row."""

from pathlib import Path

from bench.records.files import Model, read_models

ERRORS_FILE = "errors.jsonl"
ALL_DEVICES = "all"


class EstimateErrors(Model):
    """Kernels of one class on one device, and how far off estimates and floors of them are, as shares."""

    device: str
    """Name of the device, or `all`."""
    of: str
    """Class of kernels."""
    kernels: int
    """Number of kernels."""
    mean: float
    """Mean error of the estimate."""
    median: float
    """Median error."""
    bias: float
    """Mean of the signed errors."""
    covered: float
    """Share of kernels whose time lies in the interval."""
    floor_mean: float
    """Mean error of the floor."""
    floor_median: float
    """Median error of the floor."""
    above: int
    """Number of floors above the time."""
    reached_mean: float | None = None
    """Mean error with the device's own ceilings; None if it has no large products and copies."""
    reached_median: float | None = None
    """Median error with the device's own ceilings."""
    left_out: bool = False
    """Whether the device was left out of the fit."""
    source: str = ""
    """Source of the times."""


def read_errors(path: Path) -> tuple[EstimateErrors, ...]:
    """Read what was written.

    Raises:
        ValueError: a line can't be read; the message has the place and the first fault.
    """
    return read_models(EstimateErrors, [path])
