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
    """One side: what it was, what it needs, and by how many calls a reading was taken."""

    arm: str
    cell: str
    launches: int = 1
    macs: int | None = None
    predicted_peak_bytes: int | None = None
    predicted_increment_bytes: int | None = None
    memory: MeasuredMemory | None = None


class Agreement(Model):
    """Largest difference of the outputs over the largest output, same inputs and random numbers.

    None where they can't be compared; `reason` says why.
    """

    max_relative_error: float | None = None
    reason: str = ""


class Comparison(Model):
    """Two arms by turns, or a failure with its reason.

    It was looked at after each round, and would have ended undecided after `most_rounds`; where that is None it was
    looked at once, after the last round, as of old.
    """

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
    most_rounds: int | None = None
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
    def rounds_text(self) -> str:
        """How many rounds it could have; of one that was looked at once, how many it had."""
        if self.most_rounds is None:
            return f"{len(self.rounds)} rounds"
        return f"{self.most_rounds} rounds at most"

    @property
    def is_of_equals(self) -> bool:
        """Whether both arms are one: an A/A comparison, in which nothing was planted."""
        is_slowed = "planted" in self.axes or self.gate_role not in ("", "untouched")
        return self.first.cell == self.second.cell and bool(self.rounds) and not is_slowed

    @property
    def gate_role(self) -> str:
        """What it was for: `cell`, `again`, `untouched` or `planted`; of another run, empty."""
        return str(self.axes.get("gate_role", ""))

    @property
    def gate_cell(self) -> str:
        """Name of its cell."""
        return str(self.axes.get("gate_cell", f"{self.second.arm} {self.size}"))


class Trials(Model):
    """How comparisons ended whose second arm truly takes `planted` longer, simulated or real.

    `noise` says whose rounds they are, `scatter` by how much these scatter; `rounds` and `seconds` are means.
    """

    noise: str
    is_real: bool = False
    planted: float
    margin: float
    level: float
    most_rounds: int
    scatter: float
    same: int
    faster: int
    slower: int
    inconclusive: int
    rounds: float
    seconds: float | None = None

    @property
    def total(self) -> int:
        """All of them."""
        return self.same + self.faster + self.slower + self.inconclusive


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
