"""Both sides examined cell by cell: counted, predicted, and run once with the same weights and inputs."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.compare import ArmDevice, compare_outputs
from bench.records import Agreement, Failure, Finding, Record
from bench.regression import exact, wire
from bench.regression.requests import Ask, outline
from bench.regression.revisions import RevisionSide, SideError
from bench.run import end_process, environment_of, make_record

SIDES = ("base", "head")
Step = Callable[[str], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """One cell by both sides."""

    ask: Ask
    base: Record
    head: Record
    agreement: Agreement | None = None

    @property
    def runs(self) -> bool:
        """Whether both sides can be timed."""
        return self.base.failure is None and self.head.failure is None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the exact gates say of it."""
        lacks = [
            one.failure is not None and one.failure.kind == "unavailable"
            for one in (self.base, self.head)
        ]
        if lacks == [True, False]:
            return (exact.new(self.head),)
        if lacks == [False, True]:
            return (exact.gone(self.base),)
        return exact.compare_records(self.base, self.head, agreement=self.agreement)


def examine(
    asks: Sequence[Ask],
    sides: tuple[RevisionSide, RevisionSide],
    *,
    device: ArmDevice,
    on_step: Step,
) -> tuple[Examined, ...]:
    """Count, predict and run every cell once on both sides, with the same weights and inputs.

    Raises:
        SideError: a side's library lacks what the suite needs, or its process can't be started.
        ValueError: neither side has any of the cells.
    """
    made = []
    with tempfile.TemporaryDirectory() as name, _clerks(sides, device, Path(name)) as clerks:
        folder = Path(name)
        for number, ask in enumerate(asks):
            weights = folder / f"weights{number}.pt"
            outputs = [folder / f"outputs{number}-{side}.pt" for side in SIDES]
            records = []
            for clerk, path in zip(clerks, outputs, strict=True):
                records.append(clerk.ask(ask, weights=weights, outputs=path))
                on_step(f"{ask.arm} {ask.size}")
            both = all(path.exists() for path in outputs)
            agreement = compare_outputs(*outputs) if both else None
            made.append(Examined(ask=ask, base=records[0], head=records[1], agreement=agreement))
            for path in (weights, *outputs):
                path.unlink(missing_ok=True)
    _require_some(made)
    return tuple(made)


def _require_some(made: Sequence[Examined]) -> None:
    failures = [one.failure for each in made for one in (each.base, each.head)]
    if made and all(one is not None and one.kind == "unavailable" for one in failures):
        msg = f"neither side has what was asked for: {failures[-1].reason if failures[-1] else ''}"
        raise ValueError(msg)


class _Clerk:
    """A side's process that examines cells; one that died is started again for the next cell."""

    def __init__(self, side: RevisionSide, device: ArmDevice, said: Path) -> None:
        self.side = side
        self.device = device
        self.said = said
        self._started: tuple[wire.Wire, wire.Child] | None = None

    def ask(self, ask: Ask, *, weights: Path, outputs: Path) -> Record:
        asked = {"ask": ask.as_json(), "weights": str(weights), "outputs": str(outputs)}
        blank = outline(ask)
        try:
            line, _ = self._ready()
            line.send(asked)
            if not line.poll(blank.time_limit_s):
                reason = f"not done after {blank.time_limit_s:.0f} s; ended"
                return self._failed(ask, Failure(kind="timeout", reason=reason))
            found: Record = line.recv()
        except (EOFError, OSError):
            reason = f"the process died: {self._last_words()}"
            return self._failed(ask, Failure(kind="error", reason=reason))
        return _signed(found, self.side)

    def _ready(self) -> tuple[wire.Wire, wire.Child]:
        if self._started is None:
            request = {"act": "examine", "device": self.device}
            self._started = wire.start(self.side, request, said=self.said)
            try:
                answer = self._started[0].recv()
            except EOFError as error:
                msg = f"{self.side.name}: its process can't be started: {self._last_words()}"
                raise SideError(msg) from error
            refuse(answer, self.side)
        return self._started

    def _last_words(self) -> str:
        assert self._started is not None, "it was started"
        process = self._started[1]
        process.join()
        return process.last_words() or f"exit status {process.exitcode}"

    def _failed(self, ask: Ask, failure: Failure) -> Record:
        self.close()
        blank = outline(ask)
        where = environment_of(self.device, blank)
        return _signed(make_record(blank, "predicted", where, failure=failure), self.side)

    def close(self) -> None:
        if self._started is not None:
            line, process = self._started
            line.close()
            end_process(process)
            self._started = None


@contextmanager
def _clerks(
    sides: Sequence[RevisionSide], device: ArmDevice, folder: Path
) -> Iterator[list[_Clerk]]:
    clerks = [
        _Clerk(side, device, folder / f"{name}.txt")
        for side, name in zip(sides, SIDES, strict=True)
    ]
    try:
        yield clerks
    finally:
        for clerk in clerks:
            clerk.close()


def refuse(answer: object, side: RevisionSide) -> None:
    """Say what a side's library lacks, if that is what its process answered.

    Raises:
        SideError: it is.
    """
    if isinstance(answer, Mapping) and "lacks" in answer:
        msg = f"{side.name}: its library lacks what this suite needs ({answer['lacks']}); choose a later revision"
        raise SideError(msg)


def _signed(found: Record, side: RevisionSide) -> Record:
    """Say in a record whose code it was."""
    assert found.environment is not None, "a worker says where it is"
    own = {"commit": side.commit, "code": side.code}
    return found.model_copy(update={"environment": found.environment.model_copy(update=own)})
