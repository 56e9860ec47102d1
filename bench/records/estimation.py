"""How far estimated times are from measured ones, as `bench.validate` writes it: a line of JSON for each row."""

from pathlib import Path

from bench.records.files import Model, read_models

ERRORS_FILE = "errors.jsonl"
ALL_DEVICES = "all"


class EstimateErrors(Model):
    """Kernels of one class on one device, or on `all`, and how far off estimates and floors of them are, as shares.

    `covered` is the share of the kernels whose time lay in the interval, `above` how many floors were above the time.
    `reached` errors are with the device's own ceilings; None where it has no large products and copies. `left_out`
    says whether the device had no part in the fit.
    """

    device: str
    of: str
    kernels: int
    mean: float
    median: float
    bias: float
    covered: float
    floor_mean: float
    floor_median: float
    above: int
    reached_mean: float | None = None
    reached_median: float | None = None
    left_out: bool = False
    source: str = ""


def read_errors(path: Path) -> tuple[EstimateErrors, ...]:
    """Read what was written.

    Raises:
        ValueError: a line can't be read; the message has the place and the first fault.
    """
    return read_models(EstimateErrors, [path])
