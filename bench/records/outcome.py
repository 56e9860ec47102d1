"""Outcomes of the gate as they are written: a finding for each cell and quantity, and the exit status.

Everything that is shown of a run (summary, JUnit, annotations, ...) is made from this and nothing
else. No torch.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from bench.records import files
from bench.records.files import Model
from bench.records.record import Environment, Record

OUTCOME_FILE = "outcome.json"
CALL_MEMORY = "memory of a call"
GATE_EXPERIMENT = "regress"  # of cells that the gate itself has made up
# Axes that a record has as fields.
FIELD_AXES = ("block", "network", "size", "batch", "dtype", "mode", "protocol", "implementation")
SAME_OR_BETTER, WORSE, BAD_INPUT, UNDECIDED = 0, 1, 2, 3

FindingVerdict = Literal[
    "CHANGED",  # an exact quantity is another one
    "FAILED",  # the base ran and the head does not
    "SLOWER",
    "MORE",  # memory
    "UNEXAMINED",  # it was to be compared and could not be looked at
    "INCONCLUSIVE",
    "ACCEPTED",  # changed, and written down with a reason
    "FASTER",
    "LESS",
    "FIXED",  # the head runs and the base did not
    "NEW",  # the base does not have it
    "SHOWN",  # by separate runs, which decide nothing
    "SAME",
]
ORDER: tuple[FindingVerdict, ...] = FindingVerdict.__args__  # type: ignore[attr-defined]  # worst first
EXACTLY_WORSE = frozenset(("CHANGED", "FAILED"))
MEASURED_WORSE = frozenset(("SLOWER", "MORE"))

FindingKind = Literal["exact", "time", "memory"]
Amount = float | int | str | None


class Finding(Model):
    """One quantity of one cell on both sides."""

    cell: str
    """The cell in words, e.g. `apnb:fast 48x48 train`."""
    quantity: str
    """What is compared, e.g. `MACs`."""
    kind: FindingKind
    """`exact` needs no clock."""
    verdict: FindingVerdict
    """The verdict on the head."""
    unit: str = ""
    """Unit of the values."""
    before: Amount = None
    """Value of the base."""
    after: Amount = None
    """Value of the head."""
    ratio: float | None = None
    """Value of the head divided by that of the base."""
    low: float | None = None
    """Lower end of the interval of the ratio."""
    high: float | None = None
    """Upper end of the interval of the ratio."""
    reason: str = ""
    """Reason for the verdict."""
    before_rounds: tuple[float, ...] = ()
    """Median of each round of the base."""
    after_rounds: tuple[float, ...] = ()
    """Median of each round of the head."""
    launches: int = 1
    """Calls in a reading."""
    not_worse: bool = False
    """The verdict is INCONCLUSIVE, but the head is shown not to be worse by the margin."""
    was_worse: bool = False
    """It read worse in the first comparison only."""

    @property
    def is_worse(self) -> bool:
        """Whether this alone makes the head worse."""
        return self.verdict in EXACTLY_WORSE | MEASURED_WORSE


class Control(Model):
    """A control comparison, whose verdict is known."""

    name: str
    """`untouched` or `planted`."""
    cell: str
    """The cell that it was made of."""
    expected: Literal["SAME", "SLOWER"]
    """The verdict that it has to read."""
    verdict: str
    """The verdict that it read."""
    ratio: float | None = None
    """Ratio of the times."""
    low: float | None = None
    """Lower end of its interval."""
    high: float | None = None
    """Upper end of its interval."""
    reason: str = ""
    """Reason for the verdict."""

    @property
    def holds(self) -> bool:
        """Whether the machine saw what is true."""
        return self.verdict == self.expected


class SideRecord(Model):
    """What was compared: as the user named it, and what that is."""

    name: str
    """Name on the command line."""
    commit: str | None = None
    """Commit, with `-dirty` if files were changed."""
    environment: Environment | None = None
    """Machine and versions."""


class Outcome(Model):
    """All that the gate found."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    base: SideRecord
    """The revision that serves as the reference."""
    head: SideRecord
    """The revision that is judged."""
    findings: tuple[Finding, ...] = ()
    """One entry for each cell and quantity."""
    controls: tuple[Control, ...] = ()
    """Comparisons whose verdict is known."""
    timed: bool = False
    """Whether time and memory were requested."""
    rules: tuple[str, ...] = ()
    """Settings that were fixed beforehand."""
    created_at: str = ""
    """Time of writing: UTC, ISO 8601."""
    seconds: float = 0.0
    """Duration."""
    command: str = ""
    """The command line that made it."""

    @property
    def undecided(self) -> str:
        """Why nothing can be said of time and memory; empty where something can."""
        for control in self.controls:
            if not control.holds:
                return (
                    f"this machine cannot decide: the control {control.name!r} has to read "
                    f"{control.expected} and read {control.verdict} ({control.reason})"
                )
        decided = [item for item in self.findings if item.verdict != "SHOWN"]
        if self.timed and all(item.kind == "exact" for item in decided):
            return "no time was measured"
        if all(item.verdict in ("NEW", "FIXED", "UNEXAMINED") for item in decided):
            listed = dict.fromkeys(f"{item.cell} {item.verdict}" for item in decided)
            why = self._open(": ") or (f" ({', '.join(listed)})" if listed else "")
            return f"nothing was compared that both sides have{why}"
        return self._open()

    def _open(self, before: str = "") -> str:
        """What was to be compared and was not, or took a time of which nothing is decided; empty where all is."""
        unseen = [item for item in self.findings if item.verdict == "UNEXAMINED"]
        unsure = [
            item
            for item in self.findings
            if item.verdict == "INCONCLUSIVE"
            and (item.kind == "time" or item.was_worse)
            and not item.not_worse
        ]
        what, items = ("not examined", unseen) if unseen else ("not decided", unsure)
        if not items:
            return ""
        cells = len({item.cell for item in self.findings})
        names = list(dict.fromkeys(item.cell for item in items))
        first = f"{names[0]}, {items[0].quantity}: {items[0].reason}"
        further = f"; also {', '.join(names[1:])}" if names[1:] else ""
        return f"{before}{len(names)} of {cells} cells {what}: {first}{further}"

    @property
    def status(self) -> int:
        """0 the same or better, 1 worse, 3 something not looked at or not decided."""
        verdicts = {item.verdict for item in self.findings}
        if verdicts & EXACTLY_WORSE:
            return WORSE
        # By a machine whose controls hold; what was not looked at does not make a slower cell less slow.
        if verdicts & MEASURED_WORSE and all(control.holds for control in self.controls):
            return WORSE
        return UNDECIDED if self.undecided else SAME_OR_BETTER


def cell_name(record: Record) -> str:
    """The cell as a person writes it, e.g. `apnb:fast 48x48 train`; what is usual goes unsaid."""
    further = (
        f"{name.replace('_', ' ')} {value}"
        for name, value in record.axes.items()
        if name not in FIELD_AXES
    )
    suffix = f":{record.implementation}" if record.implementation != "plain" else ""
    parts = (
        f"{record.experiment}:" if record.experiment != GATE_EXPERIMENT else "",
        f"{record.subject}{suffix}",
        record.size,
        *further,
        record.dtype if record.dtype != "float32" else "",
        record.mode if record.mode != "eval" else "",
        f"batch {record.batch}" if record.batch != 1 else "",
        f"{record.protocol} protocol" if record.protocol != "strict" else "",
    )
    return " ".join(filter(None, parts))


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by verdict, then by how far a quantity moved."""

    def key(item: Finding) -> tuple[int, float]:
        moved = abs(item.ratio - 1) if item.ratio is not None else 0.0
        return ORDER.index(item.verdict), -moved

    return tuple(sorted(findings, key=key))


def moved_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Those that are not the same, the worst first."""
    return tuple(item for item in worst_first(findings) if item.verdict != "SAME")


def write_outcome(outcome: Outcome, folder: Path) -> Path:
    """Write it as `outcome.json`."""
    path = folder / OUTCOME_FILE
    files.write_whole(path, outcome.model_dump_json(exclude_defaults=True, indent=1).encode())
    return path


def read_outcome(folder: Path) -> Outcome:
    """Read what `write_outcome` has written; where there is nothing, or something else, it is a ValueError."""
    path = folder / OUTCOME_FILE
    if not path.is_file():
        msg = f"{str(path)!r} does not exist; give the folder that a gate has written"
        raise ValueError(msg)
    return files.parse_line(Outcome, path.read_text(encoding="utf-8"), where=str(path))
