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
    """Readings of one round by one clock, in the order of the turns: seconds of a call, or instructions, or bytes."""

    first: tuple[float, ...]
    """Of the first arm."""
    second: tuple[float, ...]
    """Of the second arm."""
    control: tuple[float, ...]
    """Of the first arm once more."""
    planted: tuple[float, ...] = ()
    """Of the first arm with work that was added on purpose, where there was such an arm."""

    @property
    def of_controls(self) -> dict[str, "ArmReadings"]:
        """The two arms whose verdict is known, by name, each as if it were the second arm."""
        arms = {"untouched": self.control, "planted": self.planted}
        return {
            name: ArmReadings(first=self.first, control=self.control, second=arm)
            for name, arm in arms.items()
        }


class RoundRecord(Model):
    """One round: each arm in a fresh process."""

    order: str
    """A letter for each turn: A the first arm, C the control, which is A again, B the second, P the planted."""
    readings: dict[ClockName, ArmReadings]
    """By clock; the first decides."""
    load_average: float | None = None
    """Of the last minute."""
    memory: ArmReadings | None = None
    """Bytes that a call of each arm added, where they were read."""


class ArmRecord(Model):
    """One side: what it was, what it needs, by how many calls a reading was taken, and what a time does not tell."""

    arm: str
    """As the command line names it."""
    cell: str
    """As a record's."""
    launches: int = 1
    """Calls in a reading."""
    macs: int | None = None
    """Multiply-adds of a call."""
    uncounted: str = ""
    """Operators whose work is not in that, and their calls."""
    predicted_peak_bytes: int | None = None
    """Everything that is alive at the peak."""
    predicted_increment_bytes: int | None = None
    """What a call adds to inputs and parameters."""
    memory: MeasuredMemory | None = None
    """As measured."""
    caveats: tuple[str, ...] = ()
    """What a time does not tell."""


class TensorAgreement(Model):
    """How far one tensor of the second arm is from the first arm's."""

    name: str = ""
    """Its path in what was returned, e.g. `['out']`."""
    max_relative_error: float | None = None
    """The largest difference over its largest value; None where it is another one, as `reason` says."""
    reason: str = ""
    """Why there is no number; beside one, what it does not show."""


class Agreement(Model):
    """How far the outputs of both arms are apart, with the same inputs and random numbers."""

    max_relative_error: float | None = None
    """The largest difference of an output over its largest value; None where they can't be compared."""
    reason: str = ""
    """Why they can't."""
    tensors: tuple[TensorAgreement, ...] = ()
    """The outputs apart."""
    structures: tuple[str, str] = ("", "")
    """What they were returned in."""


class CallsAgreement(Model):
    """How far apart is what both sides' calls have given, with the same weights and inputs."""

    groups: dict[str, tuple[TensorAgreement, ...]] = Field(default_factory=dict)
    """Tensors by where they were found."""
    structures: tuple[str, str] = ("", "")
    """What the outputs were returned in."""
    kept: tuple[str, ...] = ()
    """Constants that the head has of its own."""
    unlike: tuple[str, ...] = ()
    """What it could not take of the base's, whose names or shapes it does not have."""

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
    """Two arms by turns, or a failure with its reason."""

    schema_version: Literal[1] = 1
    """Of this form."""
    first: ArmRecord
    """The arm that the other is held against."""
    second: ArmRecord
    """The arm that is judged."""
    size: str
    """Of the map, WIDTHxHEIGHT."""
    batch: int = 1
    """Maps at once."""
    dtype: str = "float32"
    """Number format."""
    mode: Literal["eval", "train"] = "eval"
    """`eval` or `train`."""
    axes: dict[str, str | int | float]
    """What else was fixed."""
    margin: float
    """Share of a time that does not matter."""
    level: float
    """Chance of a wrong verdict, shared by `comparisons`."""
    comparisons: int = 1
    """How many were asked for together."""
    planted: float = 0.0
    """Share of work that was added to the turns of a fourth arm; 0 where there was none."""
    most_rounds: int | None = None
    """After how many rounds it would have ended undecided; None, of old: it was looked at once, after the last."""
    rounds: tuple[RoundRecord, ...] = ()
    """All that were made."""
    agreement: Agreement = Agreement()
    """Whether both arms give the same."""
    no_instructions: str = ""
    """Why instructions were not counted."""
    failure: Failure | None = None
    """Why there is no comparison."""
    environment: Environment | None = None
    """Where it was made."""
    created_at: str = ""
    """UTC, ISO 8601."""
    seconds: float = 0.0
    """How long it took."""

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
    """How comparisons ended whose second arm truly takes `planted` longer, simulated or real."""

    noise: str
    """Whose rounds they are."""
    is_real: bool = False
    """Whether they were run, and not simulated."""
    planted: float
    """Share by which the second arm is truly slower."""
    margin: float
    """As a comparison's."""
    level: float
    """As a comparison's."""
    most_rounds: int
    """As a comparison's."""
    scatter: float
    """By how much the rounds scatter, as a share."""
    same: int
    """How many read SAME."""
    faster: int
    """How many read FASTER."""
    slower: int
    """How many read SLOWER."""
    inconclusive: int
    """How many read INCONCLUSIVE."""
    rounds: float
    """Mean."""
    seconds: float | None = None
    """Mean."""

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
