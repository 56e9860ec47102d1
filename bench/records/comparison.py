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
    """First arm."""
    second: tuple[float, ...]
    """Second arm."""
    control: tuple[float, ...]
    """The first arm again."""
    planted: tuple[float, ...] = ()
    """The first arm with added work, if there was such a control."""

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
    """One letter for each turn: A first arm, B second arm, C control (A again), P planted control."""
    readings: dict[ClockName, ArmReadings]
    """Readings of each clock; the first clock decides."""
    load_average: float | None = None
    """Load of the last minute."""
    memory: ArmReadings | None = None
    """Bytes that a call of each arm added, if read."""


class ArmRecord(Model):
    """One side: what it was, what it needs, by how many calls a reading was taken, and what a time does not tell."""

    arm: str
    """Name on the command line."""
    cell: str
    """Id of the cell, as in a record."""
    launches: int = 1
    """Calls in a reading."""
    macs: int | None = None
    """MACs of a call."""
    uncounted: str = ""
    """Operators that are not in `macs`, with their calls."""
    predicted_peak_bytes: int | None = None
    """Predicted: all live tensors at the peak."""
    predicted_increment_bytes: int | None = None
    """Predicted: what a call adds to inputs and parameters."""
    memory: MeasuredMemory | None = None
    """Measured memory."""
    caveats: tuple[str, ...] = ()
    """What the time does not show."""


class TensorAgreement(Model):
    """How far one tensor of the second arm is from the first arm's."""

    name: str = ""
    """Path in the returned value, e.g. `['out']`."""
    max_relative_error: float | None = None
    """Largest difference divided by the largest value; None if the tensors can't be compared."""
    reason: str = ""
    """Why there is no number, or what the number does not show."""


class Agreement(Model):
    """How far the outputs of both arms are apart, with the same inputs and random numbers."""

    max_relative_error: float | None = None
    """Largest difference of an output divided by its largest value; None if they can't be compared."""
    reason: str = ""
    """Why they can't be compared."""
    tensors: tuple[TensorAgreement, ...] = ()
    """Each output tensor."""
    structures: tuple[str, str] = ("", "")
    """Containers in which both arms returned them."""


class CallsAgreement(Model):
    """How far apart is what both sides' calls have given, with the same weights and inputs."""

    groups: dict[str, tuple[TensorAgreement, ...]] = Field(default_factory=dict)
    """Tensors by where they come from."""
    structures: tuple[str, str] = ("", "")
    """Containers in which both sides returned the outputs."""
    kept: tuple[str, ...] = ()
    """Constants of the head that it kept."""
    unlike: tuple[str, ...] = ()
    """Values of the base that the head could not take, since it has no such name or shape."""

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
    """Version of this format."""
    first: ArmRecord
    """The arm that serves as the reference."""
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
    """Further settings."""
    margin: float
    """Share of the time that counts as no difference."""
    level: float
    """Probability of a wrong verdict, shared by `comparisons`."""
    comparisons: int = 1
    """Number of comparisons that share the level."""
    planted: float = 0.0
    """Share of work added to the fourth arm, the planted control; 0 without one."""
    most_rounds: int | None = None
    """Largest number of rounds; None in old records, which were evaluated once, after the last round."""
    rounds: tuple[RoundRecord, ...] = ()
    """All rounds."""
    agreement: Agreement = Agreement()
    """Whether the outputs agree."""
    no_instructions: str = ""
    """Why instructions were not counted."""
    failure: Failure | None = None
    """Why there is no comparison."""
    environment: Environment | None = None
    """Machine and versions."""
    created_at: str = ""
    """Time of writing: UTC, ISO 8601."""
    seconds: float = 0.0
    """Duration."""

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
    """Source of the noise."""
    is_real: bool = False
    """Whether they were run, not simulated."""
    planted: float
    """Share by which the second arm is truly slower."""
    margin: float
    """As in a comparison."""
    level: float
    """As in a comparison."""
    most_rounds: int
    """As in a comparison."""
    scatter: float
    """Relative scatter of the rounds."""
    same: int
    """How many read SAME."""
    faster: int
    """How many read FASTER."""
    slower: int
    """How many read SLOWER."""
    inconclusive: int
    """How many read INCONCLUSIVE."""
    rounds: float
    """Mean number of rounds."""
    seconds: float | None = None
    """Mean duration."""

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
