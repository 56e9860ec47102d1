"""A comparison as it is written: two arms, every reading of every round, and where it was made.

One line of JSON. The verdict is not in it: `bench.analysis.decide_comparison` makes it from the readings.
"""

from pathlib import Path
from typing import Literal

from bench.records import files
from bench.records.files import Model
from bench.records.record import COMPARISONS_FILE, Environment, Failure, MeasuredMemory

ClockName = Literal["process", "wall", "cuda-events"]
CLOCK_TIMES: dict[ClockName, str] = {
    "process": "process time",
    "wall": "wall time",
    "cuda-events": "GPU time",
}


class ArmReadings(Model):
    """Seconds of one call in one round by one clock, in the order in which they were taken; or bytes."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    control: tuple[float, ...]


class RoundRecord(Model):
    """One round: each arm in a fresh process.

    `order` has a letter for each turn: A the first arm, C the control, which is A again, B the second.
    `memory` has the bytes that a call of each added, where they were read.
    """

    order: str
    readings: dict[ClockName, ArmReadings]
    load_average: float | None = None
    memory: ArmReadings | None = None


class ArmRecord(Model):
    """One side: what it was, what it needs, by how many calls a reading was taken, and what a time does not tell."""

    arm: str
    cell: str
    launches: int = 1
    macs: int | None = None
    predicted_peak_bytes: int | None = None
    predicted_increment_bytes: int | None = None
    memory: MeasuredMemory | None = None
    caveats: tuple[str, ...] = ()


class Agreement(Model):
    """Largest difference of the outputs over the largest output, same inputs and random numbers.

    None where they can't be compared; `reason` says why.
    """

    max_relative_error: float | None = None
    reason: str = ""


class Comparison(Model):
    """Two arms by turns, or a failure with its reason."""

    schema_version: Literal[1] = 1
    first: ArmRecord
    second: ArmRecord
    size: str
    batch: int = 1
    dtype: str = "float32"
    mode: Literal["eval", "train"] = "eval"
    axes: dict[str, str | int | float]
    margin: float
    level: float
    comparisons: int = 1
    rounds: tuple[RoundRecord, ...] = ()
    agreement: Agreement = Agreement()
    failure: Failure | None = None
    environment: Environment | None = None
    created_at: str = ""
    seconds: float = 0.0

    @property
    def clocks(self) -> tuple[ClockName, ...]:
        """Clocks that were read; the verdict of the comparison is that of the first."""
        return tuple(self.rounds[0].readings) if self.rounds else ()

    @property
    def gate_role(self) -> str:
        """What it was for: `cell`, `again`, `untouched` or `planted`; of another run, empty."""
        return str(self.axes.get("gate_role", ""))

    @property
    def gate_cell(self) -> str:
        """Name of its cell."""
        return str(self.axes.get("gate_cell", f"{self.second.arm} {self.size}"))


def read_comparisons(path: Path) -> tuple[Comparison, ...]:
    """Read the comparisons of a file, or of every such file below a folder; none where there is none.

    Raises:
        ValueError: a line is no comparison; the message names file, line and field.
    """
    paths = path.rglob(COMPARISONS_FILE) if path.is_dir() else [path]
    return files.read_models(
        Comparison,
        sorted(each for each in paths if each.name == COMPARISONS_FILE and each.exists()),
    )
