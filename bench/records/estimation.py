"""How far estimated times are from measured ones, as `bench.validate` writes it: a line of JSON for each row."""

from pathlib import Path

from bench.records.files import Model, read_models

ERRORS_FILE = "errors.jsonl"
ALL_DEVICES = "all"


class EstimateErrors(Model):
    """Kernels of one class on one device, and how far off estimates and floors of them are, as shares."""

    device: str
    """Its name, or `all`."""
    of: str
    """Class of kernels."""
    kernels: int
    """How many."""
    mean: float
    """Mean error of the estimate."""
    median: float
    """Median error."""
    bias: float
    """Mean of the errors with their signs."""
    covered: float
    """Share of the kernels whose time lay in the interval."""
    floor_mean: float
    """Mean error of the floor."""
    floor_median: float
    """Median error of the floor."""
    above: int
    """How many floors were above the time."""
    reached_mean: float | None = None
    """Mean error with the device's own ceilings; None where it has no large products and copies."""
    reached_median: float | None = None
    """The median of these."""
    left_out: bool = False
    """Whether the device had no part in the fit."""
    source: str = ""
    """Where the times are from."""


def read_errors(path: Path) -> tuple[EstimateErrors, ...]:
    """Read what was written.

    Raises:
        ValueError: a line can't be read; the message has the place and the first fault.
    """
    return read_models(EstimateErrors, [path])
