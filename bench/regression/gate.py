"""The whole gate: from two revisions, or two folders of records, to an outcome."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.compare import ArmDevice, Settings
from bench.records import FILE as COMPARISONS
from bench.records import Comparison, Outcome, SideRecord, append_line
from bench.regression import accepted, examine, folders, jobs, verdicts
from bench.regression.exact import TOLERANCES
from bench.regression.examine import Examined, Step
from bench.regression.jobs import Job
from bench.regression.requests import Ask
from bench.regression.revisions import WORKING_TREE, sides
from bench.run import RECORDS_FILE, timestamp

PER_SIDE = 2  # steps of the examination of a cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What was asked for on the command line.

    Attributes:
        base: revision or folder of records.
        head: the same; None for the working tree as it is.
        asks: the cells, in words; folders need none.
        device: where.
        settings: margin, level, rounds.
        planted: share of extra work of the control that has to read SLOWER.
        exact_only: run the exact gates alone.
        accept: reason with which every change is accepted.
        accepted: file of accepted changes.
        out: folder of what is written.
    """

    base: str
    head: str | None
    asks: Sequence[Ask] = ()
    device: ArmDevice = "cpu"
    settings: Settings = Settings()  # noqa: RUF009  # frozen
    planted: float = jobs.PLANTED
    exact_only: bool = False
    accept: str | None = None
    accepted: Path = accepted.FILE
    out: Path = Path("results/regress")

    @property
    def is_of_folders(self) -> bool:
        """Whether both sides are folders of records.

        Raises:
            ValueError: only one of them is.
        """
        found = [
            folders.is_records(self.base),
            self.head is not None and folders.is_records(self.head),
        ]
        if any(found) and not all(found):
            given = [self.base, self.head or WORKING_TREE]
            msg = (
                f"{given[found.index(True)]!r} is a folder of records, {given[found.index(False)]!r} is not; "
                "pass two folders of records, or two revisions"
            )
            raise ValueError(msg)
        return all(found)


def run_gate(plan: Plan, *, on_step: Step = lambda _: None) -> Outcome:
    """Compare; what was found is written into the plan's folder.

    Raises:
        ValueError: a revision, folder, cell or setting is wrong.
        SideError: a revision can't be measured by this suite.
    """
    began_s = time.monotonic()
    known = accepted.read_accepted(plan.accepted)
    if plan.accept is not None and not plan.accept.strip():
        msg = "--accept needs a reason; say why the change is wanted"
        raise ValueError(msg)
    found = of_folders(plan) if plan.is_of_folders else of_revisions(plan, on_step=on_step)
    judged = accepted.apply_accepted(found.findings, known)
    if plan.accept is not None:
        more = accepted.accept(judged, plan.accepted, reason=plan.accept, at=timestamp())
        judged = accepted.apply_accepted(judged, more)
    return found.model_copy(
        update={
            "findings": judged,
            "created_at": timestamp(),
            "seconds": time.monotonic() - began_s,
        }
    )


def of_folders(plan: Plan) -> Outcome:
    """Compare what two runs have written."""
    assert plan.head is not None, "is_of_folders"
    paths = (Path(plan.base), Path(plan.head))
    records = [folders.read_folder(path) for path in paths]
    base, head = (folders.side(path, of) for path, of in zip(paths, records, strict=True))
    found = folders.compare_folders(*records)
    made = folders.by_turns(paths[1], base.environment, head.environment)
    return Outcome(
        base=base,
        head=head,
        findings=(*found, *verdicts.findings(made)),
        controls=verdicts.controls(made),
        timed=bool(made),
        rules=rules(made),
    )


def of_revisions(plan: Plan, *, on_step: Step) -> Outcome:
    """Check both out, examine them, and let them take turns."""
    _start_over(plan.out)
    with sides(Path.cwd(), plan.base, plan.head) as (base, head):
        examined = examine.examine(plan.asks, (base, head), device=plan.device, on_step=on_step)
        for name, records in (
            ("base", [one.base for one in examined]),
            ("head", [one.head for one in examined]),
        ):
            for one in records:
                append_line(plan.out / name / RECORDS_FILE, one)
        made: tuple[Comparison, ...] = ()
        if not plan.exact_only:
            job = Job(
                sides=(base, head),
                device=plan.device,
                settings=plan.settings,
                out=plan.out,
                planted=plan.planted,
                on_step=on_step,
            )
            made = timed_cells(job, examined)
    wheres = [(one.base.environment, one.head.environment) for one in examined[:1]]
    environments = wheres[0] if wheres else (None, None)
    exact = tuple(finding for one in examined for finding in one.findings)
    return Outcome(
        base=SideRecord(name=base.name, commit=base.commit, environment=environments[0]),
        head=SideRecord(name=head.name, commit=head.commit, environment=environments[1]),
        findings=(*exact, *verdicts.findings(made)),
        controls=verdicts.controls(made),
        timed=not plan.exact_only,
        rules=rules(made),
    )


def timed_cells(job: Job, examined: Sequence[Examined]) -> tuple[Comparison, ...]:
    """The controls, and, if they hold, every cell that runs on both sides."""
    runnable = [one for one in examined if one.runs]
    if not runnable:
        return ()
    shared = replace(job, settings=replace(job.settings, comparisons=len(runnable)))
    made = list(shared.controls(runnable))
    if all(control.holds for control in verdicts.controls(made)):
        made += [one for each in shared.cells(runnable) for one in each]
    return tuple(made)


def gate_steps(plan: Plan) -> int:
    """How often `on_step` is told of something, if no cell is measured twice."""
    examined = PER_SIDE * len(plan.asks)
    return examined + (0 if plan.exact_only else (len(plan.asks) + 2) * plan.settings.rounds)


def rules(made: Sequence[Comparison]) -> tuple[str, ...]:
    """What was fixed beforehand."""
    allowed = ", ".join(f"{name} {value:g}" for name, value in TOLERANCES.items())
    exact = (
        "Exact: parameters, operators and their MACs, predicted bytes; outputs with the same weights and inputs "
        f"within a share of the largest value ({allowed})."
    )
    found = [exact]
    fixed = dict.fromkeys(
        f"margin {100 * one.margin:g} %, level {one.level:g}"
        + (f" shared by {one.comparisons} cells" if one.comparisons > 1 else "")
        + f", {len(one.rounds)} rounds"
        for one in made
        if one.rounds
    )
    if fixed:
        found.append(
            f"By turns in fresh processes, fixed beforehand: {'; '.join(fixed)}; exact sign tests. "
            "Worse is what reads so twice."
        )
    return tuple(found)


def _start_over(out: Path) -> None:
    """Put what an earlier run has written aside, as .bak."""
    for name in (f"base/{RECORDS_FILE}", f"head/{RECORDS_FILE}", COMPARISONS):
        path = out / name
        if path.exists():
            path.replace(path.with_suffix(".jsonl.bak"))
