"""One job: time and memory of both sides by turns, with two controls.

The controls come first: the base against itself has to read SAME, and the base doing a known share
of its calls once more has to read SLOWER. Where one does not, this machine can't decide, and
nothing else is run. A cell that reads worse is measured once more in new processes; both times count.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from bench.compare import ArmDevice, ArmError, ArmTask, Manner, Match, Settings, both_fit, threads
from bench.records import (
    FILE,
    MEASURED_WORSE,
    ArmRecord,
    Comparison,
    Record,
    append_line,
    cell_name,
)
from bench.regression import wire
from bench.regression.examine import Examined, Step
from bench.regression.requests import Ask, outline
from bench.regression.revisions import RevisionSide
from bench.regression.verdicts import findings, judge_comparison
from bench.run import timestamp

PLANTED = 0.10


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all comparisons of a job share.

    Attributes:
        sides: base and head.
        device: where.
        settings: margin, level and rounds.
        out: folder of `comparisons.jsonl`.
        planted: share of extra work of the control that has to read SLOWER.
        on_step: is told what has been done.
    """

    sides: tuple[RevisionSide, RevisionSide]
    device: ArmDevice
    settings: Settings
    out: Path
    planted: float = PLANTED
    on_step: Step = field(default=lambda _: None)

    def controls(self, examined: Sequence[Examined]) -> tuple[Comparison, ...]:
        """Both controls, of the cell with the least work; the second only if the first holds."""
        alone = replace(self, settings=replace(self.settings, comparisons=1))
        least = min(examined, key=_work)
        untouched = alone.play(least, role="untouched")
        if not untouched.rounds or judge_comparison(untouched).verdict != "SAME":
            return (untouched,)
        return untouched, alone.play(least, role="planted")

    def cells(self, examined: Sequence[Examined]) -> Iterator[tuple[Comparison, ...]]:
        """Every cell; those that read worse twice."""
        for one in examined:
            first = self.play(one, role="cell")
            if not any(found.verdict in MEASURED_WORSE for found in findings((first,))):
                yield (first,)
                continue
            yield first, self.play(one, role="again")

    def play(self, one: Examined, *, role: str) -> Comparison:
        """Play one comparison and write it down."""
        is_control = role in ("untouched", "planted")
        sides = (self.sides[0], self.sides[0] if is_control else self.sides[1])
        records = (one.base, one.base if is_control else one.head)
        blank = self._blank(one, role, sides=sides, records=records)
        cell = outline(one.ask)
        with tempfile.TemporaryDirectory() as name:
            said = Path(name) / "said.txt"
            starts: dict[Any, Any] = {
                arm: _starter(side, one.ask, said)
                for arm, side in (("first", sides[0]), ("control", sides[0]), ("second", sides[1]))
            }
            manner = Manner(
                starts=starts,
                read_memory=True,
                planted=self.planted if role == "planted" else 0.0,
                least_launches=ceil(1 / self.planted) if is_control else 1,
            )
            match = Match(
                cell,
                cell,
                device=self.device,
                turn_s=self.settings.turn_s,
                round_s=self.settings.round_s,
                manner=manner,
            )
            made = self._played(blank, match, one)
        append_line(self.out / FILE, made)
        return made

    def _played(self, blank: Comparison, match: Match, one: Examined) -> Comparison:
        rounds = []
        try:
            assert one.head.environment is not None, "a worker says where it is"
            both_fit([blank.first, blank.second], one.head.environment)
            for each in match.play(self.settings.rounds, {}):
                rounds.append(each)
                self.on_step(f"{one.ask.arm} {one.ask.size}: round {len(rounds)}")
        except ArmError as error:
            return blank.model_copy(update={"failure": error.failure})
        seen = {
            name: getattr(blank, name).model_copy(
                update={"launches": match.launches[name], "memory": match.ready[name].memory}
            )
            for name in ("first", "second")
        }
        return blank.model_copy(update={**seen, "rounds": tuple(rounds)})

    def _blank(
        self, one: Examined, role: str, *, sides: Sequence[RevisionSide], records: Sequence[Record]
    ) -> Comparison:
        first, second = (_arm(taken, side) for taken, side in zip(records, sides, strict=True))
        return Comparison(
            first=first,
            second=second,
            size=one.head.size,
            batch=one.head.batch,
            dtype=one.head.dtype,
            mode=one.head.mode,
            axes={**one.head.axes, "gate_role": role, "gate_cell": cell_name(one.head)},
            margin=self.settings.margin,
            level=self.settings.level,
            comparisons=self.settings.comparisons,
            environment=one.head.environment,
            created_at=timestamp(),
        )


def _arm(taken: Record, side: RevisionSide) -> ArmRecord:
    counts, predicted = taken.measures.counts, taken.measures.predicted
    return ArmRecord(
        arm=f"{taken.subject}@{side.commit or side.name}",
        cell=taken.cell,
        macs=counts.macs if counts else None,
        predicted_peak_bytes=predicted.peak_bytes if predicted else None,
        predicted_increment_bytes=predicted.increment_bytes if predicted else None,
    )


def _work(one: Examined) -> int:
    counts = one.base.measures.counts
    return counts.macs if counts else 0


def _starter(
    side: RevisionSide, ask: Ask, said: Path
) -> Callable[[ArmTask], tuple[wire.Wire, wire.Child]]:
    def start(task: ArmTask) -> tuple[wire.Wire, wire.Child]:
        request = {
            "act": "play",
            "ask": ask.as_json(),
            "device": task.device,
            "outputs": str(task.outputs) if task.outputs else None,
            "read_memory": task.read_memory,
            "planted": task.planted,
        }
        kept = threads(side.variables, task.device)
        return wire.start(side, request, said=said, variables=kept)

    return start
