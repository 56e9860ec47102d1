"""Examination of both revisions cell by cell: counted, predicted, and run once with the same weights and inputs."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bench.compare import ArmDevice, OnStep
from bench.records import CallsAgreement, Failure, Finding, Record
from bench.regression import exact
from bench.regression.requests import Ask, outline
from bench.regression.revisions import RevisionSide, SideError
from bench.run import environment_of, make_record
from bench.workers import ForkServer, Worker

START_LIMIT_S = 600.0  # for loading torch and the side's library


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """One cell by both sides."""

    ask: Ask
    base: Record
    head: Record
    agreement: CallsAgreement | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the exact gates say of it."""
        failures = (self.base.failure, self.head.failure)
        base_lacks, head_lacks = (fail and fail.kind == "unavailable" for fail in failures)
        if bool(base_lacks) != bool(head_lacks):
            return (exact.new(self.head) if base_lacks else exact.gone(self.base),)
        findings = exact.compare_records(self.base, self.head, agreement=self.agreement)
        return tuple(map(_unexamined, findings))

    @property
    def runs(self) -> bool:
        """Whether it can be called on both sides, be it predicted or not."""
        sides = (self.base, self.head)
        return all(not side.failure or bool(side.measures.outputs) for side in sides)


def _unexamined(finding: Finding) -> Finding:
    """What was to be compared here and was not."""
    if finding.verdict != "SHOWN":
        return finding
    reason = "not compared: too large to be run here; choose a smaller --size or a larger machine"
    return finding.model_copy(update={"verdict": "UNEXAMINED", "reason": reason})


def examine(
    asks: Sequence[Ask],
    sides: tuple[RevisionSide, RevisionSide],
    *,
    device: ArmDevice,
    on_step: OnStep,
    servers: Sequence[ForkServer] = (),
) -> tuple[Examined, ...]:
    """Count, predict and run every cell once on both sides, with the same weights and inputs.

    Their processes are forks of a server, if there is one.

    Raises:
        SideError: a side's library lacks what the suite needs, its process can't be started, or has loaded what is not
            of it.
        ValueError: neither side has any of the cells.
    """
    from bench.regression.calls import compare_calls  # brings torch

    examined = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = next(iter(servers), None)
        examiners = [stack.enter_context(Examiner(side, device, server=server)) for side in sides]
        weights, *outputs = (Path(folder) / f"{name}.pt" for name in ("weights", "base", "head"))
        for ask in asks:
            records = []
            for examiner, path in zip(examiners, outputs, strict=True):
                records.append(examiner.examine(ask, weights=weights, outputs=path))
                on_step(f"{ask.arm} {ask.size}")
            both = all(path.exists() for path in outputs)
            agreement = compare_calls(*outputs) if both else None
            base, head = records
            examined.append(Examined(ask=ask, base=base, head=head, agreement=agreement))
            for path in (weights, *outputs):
                path.unlink(missing_ok=True)
    failures = [record.failure for cell in examined for record in (cell.base, cell.head)]
    reasons = [failure.reason for failure in failures if failure and failure.kind == "unavailable"]
    if reasons and len(reasons) == len(failures):
        msg = f"neither side has what was asked for: {reasons[-1]}"
        raise ValueError(msg)
    return tuple(examined)


@dataclass(slots=True)
class Examiner:
    """The worker of a revision that examines cells; one that died is started again for the next cell.

    One that can't be started again is the failure of the cell.
    """

    side: RevisionSide
    device: ArmDevice
    server: ForkServer | None = None  # of which its processes are forks
    worker: Worker | None = None
    has_answered: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.worker.end()

    def examine(self, ask: Ask, *, weights: Path, outputs: Path) -> Record:
        """Examine a cell; its record says whose code it was.

        Raises:
            SideError: the side's library lacks what the suite needs, its process can't be started, or has loaded a
                module of another checkout.
        """
        blank = outline(ask)
        message = {"ask": asdict(ask), "weights": str(weights), "outputs": str(outputs)}
        answer: Record | Failure | str
        try:
            worker = self.worker or self._start()
        except SideError as error:
            if not self.has_answered:
                raise
            answer = Failure(kind="error", reason=str(error))
        else:
            answer = worker.ask(message, limit_s=blank.time_limit_s)
        self.has_answered = True
        if isinstance(answer, str):
            msg = f"{self.side.name}: {answer}"
            raise SideError(msg)
        if isinstance(answer, Failure):
            self.__exit__()
            self.worker = None
            where = environment_of(self.device, blank)
            answer = make_record(blank, "predicted", where, answer)
        assert isinstance(answer, Record), answer
        assert answer.environment is not None, "a worker says where it is"
        code = {"commit": self.side.commit, "code": self.side.code}
        where = answer.environment.model_copy(update=code)
        return answer.model_copy(update={"environment": where})

    def _start(self) -> Worker:
        worker = self.worker = self.side.worker("examine_cells", server=self.server).start()
        answer = worker.ask(self.device, limit_s=START_LIMIT_S)
        if not isinstance(answer, Failure):
            return worker
        kind, _, lack = answer.reason.partition(": ")
        if kind in ("ImportError", "ModuleNotFoundError"):
            msg = f"{self.side.name}: its library lacks what this suite needs ({lack}); choose a later revision"
        else:
            reason = worker.last_words() or answer.reason
            msg = f"{self.side.name}: its process can't be started: {reason}"
        raise SideError(msg)
