"""A comparison as it is written: two arms, every reading of every round, and where it was made.

One line of JSON. The verdict is not in it: `bench.analysis.decide_comparison` makes it from the readings.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.records import files
from bench.records.files import Model
from bench.records.record import COMPARISONS_FILE, Environment, Failure, MeasuredMemory

MOST_NAMED = 3
ClockName = Literal["process", "wall", "cuda-events", "instructions"]
CLOCK_TIMES: dict[ClockName, str] = {
    "process": "process time",
    "wall": "wall time",
    "cuda-events": "GPU time",
    "instructions": "instructions",
}


class ArmReadings(Model):
    """Seconds of one call in one round by one clock, in the order in which they were taken; or instructions or bytes.

    `planted` is the first arm once more with work that was added on purpose, where there was such an arm.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    control: tuple[float, ...]
    planted: tuple[float, ...] = ()

    @property
    def of_controls(self) -> dict[str, "ArmReadings"]:
        """The two arms whose verdict is known, by name, each as if it were the second arm."""
        arms = {"untouched": self.control, "planted": self.planted}
        return {
            name: ArmReadings(first=self.first, control=self.control, second=arm)
            for name, arm in arms.items()
        }


class RoundRecord(Model):
    """One round: each arm in a fresh process.

    `order` has a letter for each turn: A the first arm, C the control, which is A again, B the second, P the planted.
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
    uncounted: str = ""  # operators whose work is not in that, and their calls
    predicted_peak_bytes: int | None = None
    predicted_increment_bytes: int | None = None
    memory: MeasuredMemory | None = None
    caveats: tuple[str, ...] = ()


class TensorAgreement(Model):
    """Largest difference of one tensor over its largest value; None where it is another one, as `reason` says.

    `name` is its path in what was returned, e.g. `['out']`. Beside a number `reason` is what it does not show.
    """

    name: str = ""
    max_relative_error: float | None = None
    reason: str = ""


class Agreement(Model):
    """Largest difference of an output over its largest value, same inputs and random numbers.

    None where they can't be compared; `reason` says why. `tensors` are the outputs apart, `structures` what
    they were returned in.
    """

    max_relative_error: float | None = None
    reason: str = ""
    tensors: tuple[TensorAgreement, ...] = ()
    structures: tuple[str, str] = ("", "")


class CallsAgreement(Model):
    """How far apart is what both sides' calls have given, by groups, with the same weights and inputs.

    `structures` are what the outputs were returned in; `kept` names constants that the head has of its own, `unlike`
    what it could not take of the base's, whose names or shapes it does not have.
    """

    groups: dict[str, tuple[TensorAgreement, ...]] = Field(default_factory=dict)
    structures: tuple[str, str] = ("", "")
    kept: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """What of the head is not the base's, and so may be why outputs differ."""
        texts = []
        if self.kept:
            names = _listed(self.kept)
            texts.append(
                f"with the head's own values of {names}, which are neither trained nor drawn"
            )
        if self.unlike:
            names = _listed(self.unlike)
            texts.append(f"without the base's values of {names}, which the head does not have so")
        return "; ".join(texts)


def _listed(names: Sequence[str]) -> str:
    further = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + further


class Comparison(Model):
    """Two arms by turns, or a failure with its reason.

    Where `planted` is not 0 a fourth arm took turns too: the first one, to whose turns that share of work was
    added. It was looked at after each round, and would have ended undecided after `most_rounds`; where that is
    None it was looked at once, after the last round, as of old.
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
    planted: float = 0.0
    most_rounds: int | None = None
    rounds: tuple[RoundRecord, ...] = ()
    agreement: Agreement = Agreement()
    no_instructions: str = ""  # why they were not counted
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
        """What it was for: `cell` or `again`, of old `untouched` or `planted`; of another run, empty."""
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
