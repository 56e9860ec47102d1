"""The gate: from two revisions, or two folders of records, to an outcome.

Of revisions the exact gates come first, then time and memory by turns. In the rounds of the first cell there are
two controls: the base against itself has to read SAME, and the base with a known share of work added to its turns has
to read SLOWER. Where one does not, this machine can't decide, and nothing else is run. A cell that reads worse is
measured once more in new processes; both times count.
"""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import analysis, records
from bench.analysis import decide_comparison, setting_of
from bench.compare import (
    ArmDevice,
    ArmTask,
    Match,
    Name,
    OnStep,
    arm_record,
    arm_servers,
    play_match,
    server_of,
    thread_variables,
)
from bench.records import Comparison, Finding, Outcome, SideRecord, append_line, cell_name
from bench.regression import accepted, exact, examine, folders, verdicts
from bench.regression.examine import Examined
from bench.regression.planning import Plan
from bench.regression.requests import outline
from bench.regression.revisions import RevisionSide, link_harness, sides
from bench.run import RECORDS_FILE, set_records_aside, timestamp
from bench.workers import ForkServer, Worker

# Of what a side's processes load, what is no side's.
LOADED_FIRST = ("torch", "numpy", "jaxtyping", records.__name__, analysis.__name__)
# Both sides, the exact findings, and comparisons by turns.
Compared = tuple[SideRecord, SideRecord, tuple[Finding, ...], tuple[Comparison, ...]]


def run_gate(plan: Plan, *, on_step: OnStep = lambda _: None) -> Outcome:
    """Compare, and write records and comparisons into the plan's folder.

    Raises:
        ValueError: a revision, folder, cell or setting is wrong.
        SideError: a revision can't be measured by this suite.
    """
    began_s = time.monotonic()
    known = accepted.read_accepted(plan.accepted)
    if plan.accept is not None:
        accepted.accept((), plan.accepted, reason=plan.accept, at="")  # refuses an empty reason now
    if plan.is_of_folders:
        base, head, findings, comparisons = of_folders(plan)
        timed = bool(comparisons)
    else:
        base, head, findings, comparisons = of_revisions(plan, on_step=on_step)
        timed = not plan.exact_only
    findings = accepted.apply_accepted((*findings, *verdicts.findings(comparisons)), known)
    if plan.accept is not None:
        new = accepted.accept(findings, plan.accepted, reason=plan.accept, at=timestamp())
        findings = accepted.apply_accepted(findings, new)
    return Outcome(
        base=base,
        head=head,
        findings=findings,
        controls=verdicts.controls(comparisons),
        timed=timed,
        rules=rules(comparisons),
        created_at=timestamp(),
        seconds=time.monotonic() - began_s,
    )


def of_folders(plan: Plan) -> Compared:
    """Compare what two runs have written."""
    assert plan.head is not None, "is_of_folders"
    paths = (Path(plan.base), Path(plan.head))
    runs = [folders.read_folder(path) for path in paths]
    base, head = map(folders.side, paths, runs)
    comparisons = folders.by_turns(paths[1], base.environment, head.environment)
    return base, head, folders.compare_folders(*runs), comparisons


def of_revisions(plan: Plan, *, on_step: OnStep) -> Compared:
    """Check both out, examine them, and let them take turns."""
    for name in (f"base/{RECORDS_FILE}", f"head/{RECORDS_FILE}", records.COMPARISONS_FILE):
        set_records_aside(plan.out, name)
    comparisons: tuple[Comparison, ...] = ()
    with (
        sides(Path.cwd(), plan.base, plan.head) as pair,
        side_servers(pair, plan.device) as servers,
    ):
        examined = examine.examine(
            plan.asks, pair, device=plan.device, on_step=on_step, servers=servers
        )
        for name in ("base", "head"):
            for cell in examined:
                append_line(plan.out / name / RECORDS_FILE, getattr(cell, name))
        if not plan.exact_only:
            timer = RevisionTimer(plan=plan, sides=pair, on_step=on_step, servers=servers)
            comparisons = timer.time_cells(examined)
    first = (examined[0].base, examined[0].head) if examined else (None, None)
    base, head = (
        SideRecord(
            name=side.name, commit=side.commit, environment=record.environment if record else None
        )
        for side, record in zip(pair, first, strict=True)
    )
    return base, head, tuple(finding for cell in examined for finding in cell.findings), comparisons


@contextmanager
def side_servers(
    sides: tuple[RevisionSide, RevisionSide], device: ArmDevice
) -> Iterator[tuple[ForkServer, ...]]:
    """Start what both sides' processes are forks of, so that their libraries lie at the same addresses in a round.

    None where they have interpreters of their own.
    """
    pythons = {side.python for side in sides}
    if len(pythons) > 1:
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix="regress-") as folder:
        variables = sides[0].server_variables(link_harness(Path(folder)))
        python = pythons.pop()
        with arm_servers(device, LOADED_FIRST, python=python, variables=variables) as servers:
            yield servers


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionTimer:
    """Times cells of both sides by turns; each comparison is written as soon as it is done."""

    plan: Plan
    sides: tuple[RevisionSide, RevisionSide]
    on_step: OnStep = lambda _: None
    servers: tuple[ForkServer, ...] = ()  # of which all arms of a round are forks

    def time_cells(self, examined: Sequence[Examined]) -> tuple[Comparison, ...]:
        """Compare every cell that runs on both sides, that with the least work first and beside two controls.

        If these fail, nothing else is run. A cell that reads worse is compared twice.
        """
        runnable = [cell for cell in examined if cell.runs]
        smallest = min(runnable, key=_work, default=None)
        comparisons: list[Comparison] = []
        controlled = False
        for cell in sorted(runnable, key=lambda each: each is not smallest):
            first = self.play(cell, role="cell", shared=len(runnable), controlled=not controlled)
            comparisons.append(first)
            controls = verdicts.controls((first,))
            if not all(control.holds for control in controls):
                break
            controlled = controlled or bool(controls)  # none where it could not be played
            if any(finding.is_worse for finding in verdicts.findings((first,))):
                comparisons.append(self.play(cell, role="again", shared=len(runnable)))
        asked = {cell_name(cell.head): place for place, cell in enumerate(runnable)}
        return tuple(sorted(comparisons, key=lambda made: asked.get(made.gate_cell, 0)))

    def play(
        self, cell: Examined, *, role: str, shared: int, controlled: bool = False
    ) -> Comparison:
        """Play one comparison, as a `cell` or `again`, and write it down; so many share the level.

        With controls a fourth arm takes turns, the base with work that was planted.
        """
        plan = self.plan

        def start(name: Name, task: ArmTask) -> tuple[Worker, object]:
            side = self.sides[name == "second"]
            names = ("device", "read_memory", "planted", "number")
            message = {name: getattr(task, name) for name in names} | {"cell": asdict(cell.ask)}
            placed = thread_variables(side.variables, task.device)
            return side.worker("play", server=server_of(self.servers, task), **placed), message

        match = Match(
            *[outline(cell.ask)] * 2,
            device=plan.device,
            settings=replace(plan.settings, comparisons=shared),
            start=start,
            read_memory=True,
            slowed={"planted": plan.planted} if controlled else {},
        )
        arms = [
            arm_record(record, f"{record.subject}@{side.commit or side.name}")
            for record, side in zip((cell.base, cell.head), self.sides, strict=True)
        ]
        where = cell.head.environment
        assert where is not None, "a worker says where it is"
        comparison = play_match(
            match,
            arms,
            where,
            axes={**cell.head.axes, "gate_role": role, "gate_cell": cell_name(cell.head)},
            on_step=lambda step: self.on_step(f"{cell.ask.arm} {cell.ask.size}: {step}"),
        )
        append_line(plan.out / records.COMPARISONS_FILE, comparison)
        return comparison


def _work(cell: Examined) -> float:
    """MACs of the base; of what can't be counted, more than any other has."""
    counts = cell.base.measures.counts
    return counts.macs if counts else math.inf


def rules(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """What was fixed beforehand."""
    allowed = ", ".join(f"{name} {value:g}" for name, value in exact.TOLERANCES.items())
    exact_rule = (
        "Exact: parameters, operators and their MACs, predicted bytes; outputs with the same weights and inputs "
        f"within a share of the largest value ({allowed})."
    )
    fixed = dict.fromkeys(
        f"margin {100 * comparison.margin:g} %, level {comparison.level:g}"
        + (f" shared by {comparison.comparisons} cells" if comparison.comparisons > 1 else "")
        + f", {comparison.rounds_text}"
        for comparison in comparisons
        if comparison.rounds
    )
    if not fixed:
        return (exact_rule,)
    by_turns = (
        f"By turns in fresh processes, fixed beforehand: {'; '.join(fixed)}; exact sign tests."
    )
    settings = [setting for each in comparisons if (setting := setting_of(each))]
    widest = max(settings, key=lambda setting: setting.scatter, default=None)
    chances = (f"Exact chances of such a comparison, {widest.text}.",) if widest else ()
    return (
        exact_rule,
        f"{by_turns} Worse is what reads so twice.",
        *chances,
        *instructions(comparisons),
    )


def instructions(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """How many the head's calls execute for each one of the base's, which decides nothing; or why that is unknown."""
    ratios = [
        f"{each.gate_cell} {decide_comparison(each, 'instructions').ratio.median:.4f}"
        for each in comparisons
        if "instructions" in each.clocks
    ]
    if ratios:
        yield f"Instructions of a call, the head's over the base's: {', '.join(ratios)}."
    for reason in dict.fromkeys(each.no_instructions for each in comparisons):
        if reason:
            yield f"Instructions were not counted: {reason}."
