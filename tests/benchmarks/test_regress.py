"""How often the gate cries wolf, and how often it finds ten percent; figures with `-s`.

    python -m pytest tests/benchmarks/test_regress.py -s             # simulated clock, seconds
    python -m pytest tests/benchmarks/test_regress.py -m slow -s     # process time of this machine

The simulated clock is exact, and what it reads is noisy as two shared cores are: a process has luck
of its own for life, the machine's speed drifts and jumps for all alike, and some turns are disturbed.
Whole jobs go through the gate's own code: controls, cells, second measurement, verdict, status.

The real rounds are played by the gate's processes on two revisions of a small block. Windows of
twenty rounds in a row are put together to jobs. Fifteen minutes on two idle cores.
"""

import math
import subprocess
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from bench.analysis import sign_test
from bench.compare.compare import Settings
from bench.records.comparison import ArmReadings, ArmRecord, Comparison, RoundRecord
from bench.records.outcome import Outcome, SideRecord
from bench.records.record import Measures, Record
from bench.regression import planning
from bench.regression import verdicts as judging
from bench.regression.examine import Examined, examine
from bench.regression.gate import RevisionTimer
from bench.regression.planning import PLANTED, Plan
from bench.regression.requests import Ask
from bench.regression.revisions import sides

CELLS = 3
JOBS, FEW_JOBS = 300, 100
LAPS = 12
TENTH = 1.1
REAL_ROUNDS = 40
WINDOW = 20
# Standard deviation of a process's luck: a GPU, two shared cores, and two that are worse.
LUCK = {"gpu": 0.003, "two cores": 0.01, "busy": 0.025, "hopeless": 0.05}


def log_ratios(draw, *, luck, rounds=sign_test.ROUNDS):
    """Of an arm and of the control over the first arm, one each a round, both truly one."""
    turns = 2 * LAPS
    own = draw.normal(0, luck, (3, rounds, 1))
    drift = draw.normal(0, 0.005, (rounds, turns)).cumsum(axis=1)
    jumps = np.where(draw.random((rounds, turns)) < 0.05, 0.4, 0.0).cumsum(axis=1) % 0.8
    # Neighbours take their turns a moment apart.
    apart = draw.normal(0, 0.02, (3, rounds, turns))
    disturbed = np.where(
        draw.random((3, rounds, turns)) < 0.03, draw.exponential(0.3, (3, rounds, turns)), 0
    )
    first, control, second = own + drift + jumps + apart + disturbed
    return np.median(second - first, axis=1), np.median(control - first, axis=1)


def simulated(draw, one, role, *, luck, factor, margin, shared, controlled):
    """A comparison as a simulated machine reads it."""
    logs, controls = log_ratios(draw, luck=luck)
    planted, _ = log_ratios(draw, luck=luck) if controlled else (None, None)
    rounds = tuple(
        RoundRecord.model_construct(
            readings={
                "process": ArmReadings.model_construct(
                    first=(1.0,),
                    control=(math.exp(controls[number]),),
                    second=(factor * math.exp(logs[number]),),
                    planted=((1 + PLANTED) * math.exp(planted[number]),) if controlled else (),
                )
            },
            memory=None,
        )
        for number in range(len(logs))
    )
    return Comparison.model_construct(
        first=ArmRecord(arm="base", cell="0"),
        second=ArmRecord(arm="head", cell="0"),
        size="9x7",
        axes={"gate_role": role, "gate_cell": one.ask.arm},
        margin=margin,
        level=sign_test.LEVEL,
        comparisons=shared,
        planted=PLANTED if controlled else 0.0,
        most_rounds=sign_test.ROUNDS,
        rounds=rounds,
        failure=None,
    )


def cells(count=CELLS):
    record = Record(
        source="predicted",
        experiment="e",
        cell="0",
        subject="block",
        axes={},
        size="9x7",
        measures=Measures(),
    )
    return [
        Examined(ask=Ask(arm=f"block{number}", size="9x7"), base=record, head=record)
        for number in range(count)
    ]


def run_job(monkeypatch, play, *, margin, examined):
    """One job by the gate's own code; `play(one, role, shared, controlled)` stands for the processes."""

    def stands_in(self, one, *, role, shared, controlled=False):
        return play(one, role, shared, controlled)

    monkeypatch.setattr(RevisionTimer, "play", stands_in)
    plan = Plan(base="b", head=None, settings=Settings(margin=margin))
    made = RevisionTimer(plan=plan, sides=None).time_cells(examined)
    side = SideRecord(name="s")
    return Outcome(
        base=side,
        head=side,
        findings=judging.findings(made),
        controls=judging.controls(made),
        timed=True,
    )


def simulate(monkeypatch, *, luck, slow, margin, jobs=JOBS, seed=0):
    """Outcomes of so many jobs, whose first cell takes `slow` times as long in the head."""
    draw = np.random.default_rng(seed)
    examined = cells()

    def play(one, role, shared, controlled):
        factor = slow if one is examined[0] else 1.0
        how = {"luck": luck, "factor": factor, "margin": margin, "shared": shared}
        return simulated(draw, one, role, controlled=controlled, **how)

    return [run_job(monkeypatch, play, margin=margin, examined=examined) for _ in range(jobs)]


def tally(found, what):
    """Shares of jobs by exit status, and of cells by verdict."""
    statuses = Counter(one.status for one in found)
    verdicts = Counter(each.verdict for one in found for each in one.findings)
    print(f"\n{what}: {len(found)} jobs, status {dict(statuses)}, cells {dict(verdicts)}")  # noqa: T201
    return statuses, verdicts


@pytest.mark.parametrize(
    "noise",
    [pytest.param(noise, marks=[] if noise == "two cores" else pytest.mark.slow) for noise in LUCK],
)
def test_equal_cells_are_called_worse_in_at_most_one_percent(benchmark, monkeypatch, noise):
    margin = planning.MARGINS["cuda" if noise == "gpu" else "cpu"]
    jobs = FEW_JOBS if noise == "hopeless" else JOBS  # whose every reason takes its time
    run = partial(simulate, monkeypatch, luck=LUCK[noise], slow=1.0, margin=margin, jobs=jobs)
    found = benchmark.pedantic(run, rounds=1)
    statuses, verdicts = tally(found, f"A/A, {noise}")
    alarms = sum(verdicts[name] for name in ("SLOWER", "FASTER"))
    benchmark.extra_info.update(cells=verdicts.total(), false_alarms=alarms, jobs=dict(statuses))
    assert alarms <= 0.01 * CELLS * len(found)
    assert statuses[1] <= 0.01 * len(found)


@pytest.mark.parametrize("noise", [pytest.param("gpu", marks=pytest.mark.slow), "two cores"])
def test_a_tenth_is_found_in_at_least_95_percent_of_jobs(benchmark, monkeypatch, noise):
    margin = planning.MARGINS["cuda" if noise == "gpu" else "cpu"]
    run = partial(simulate, monkeypatch, luck=LUCK[noise], slow=TENTH, margin=margin)
    found = benchmark.pedantic(run, rounds=1)
    statuses, verdicts = tally(found, f"ten percent, {noise}")
    benchmark.extra_info.update(found=statuses[1], jobs=len(found))
    assert statuses[1] >= 0.95 * len(found)
    assert verdicts["SLOWER"] <= len(found) * (1 + 0.01 * CELLS)


@pytest.mark.slow
def test_a_machine_that_is_too_noisy_says_so_and_not_that_all_is_well(benchmark, monkeypatch):
    hopeless = {"luck": LUCK["hopeless"], "margin": 0.05, "jobs": FEW_JOBS}
    run = partial(simulate, monkeypatch, slow=TENTH, **hopeless)
    outcomes = benchmark.pedantic(run, rounds=1)
    statuses, _ = tally(outcomes, "ten percent, hopeless")
    # Where its controls held by luck, it has not called the slower cell the same either.
    slower = [next(iter(each.findings), None) for each in outcomes if each.status != 3]
    assert statuses[0] == 0
    assert statuses[3] >= 0.9 * statuses.total()
    assert {each.verdict for each in slower} <= {"SLOWER"}


WORK = """
import torch
from torch import nn

class Products(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(96, 96) / 10)

    def forward(self, x):
        tokens = x.flatten(2).mT
        for _ in range({count}):
            tokens = (tokens @ self.weight).tanh()
        return tokens

def make():
    return Products()
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two revisions: ten products, and eleven."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git = ["git", "-c", "user.name=t", "-c", "user.email=t"]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    for count in (10, 11):
        (folder / "planted_work.py").write_text(WORK.format(count=count))
        subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
        subprocess.run([*git, "commit", "-q", "-m", str(count)], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    return folder


def windows(made, *, size=WINDOW):
    return [made.rounds[start : start + size] for start in range(len(made.rounds) - size + 1)]


@pytest.mark.slow
def test_in_process_time_of_this_machine(repository, tmp_path, monkeypatch):
    """At most one percent of equal cells are called worse; ten percent is found in four of five jobs."""
    ask = Ask(arm="planted_work:make", size="32x16", channels=96)
    margin = planning.MARGINS["cpu"]
    settings = Settings(margin=margin, rounds=REAL_ROUNDS)
    monkeypatch.setattr(
        "bench.compare.compare.is_decided", lambda _: False
    )  # all rounds are wanted
    with sides(repository, "HEAD~1", "HEAD") as pair:
        (one,) = examine([ask], pair, device="cpu", on_step=lambda _: None)
        plan = Plan(base="HEAD~1", head="HEAD", settings=settings, out=tmp_path / "out")
        timer = RevisionTimer(plan=plan, sides=pair)
        slower = timer.play(one, role="cell", shared=1, controlled=True)
        timer = replace(timer, sides=(pair[0], pair[0]))
        equal = timer.play(one, role="cell", shared=1, controlled=True)
    for name, made in (("A/A", equal), ("ten percent", slower)):
        assert made.failure is None
        ratio = sign_test.decide_comparison(made, "process").ratio
        print(f"\n{name}: {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")  # noqa: T201
    for truth, source in (("A/A", equal), ("ten percent", slower)):
        starts = range(len(windows(source)))
        found = [
            run_job(monkeypatch, drawn(source, start), margin=margin, examined=[one])
            for start in starts
        ]
        statuses, verdicts = tally(found, f"{truth}, process time")
        if truth == "A/A":
            assert verdicts["SLOWER"] + verdicts["FASTER"] <= 0.01 * len(found)
        else:
            assert statuses[1] >= 0.8 * len(found)


def drawn(source, start):
    """A job of windows that begin there; its second measurement is the window half the rounds on."""

    def play(one, role, shared, controlled):
        found = windows(source)
        at = (start + (len(found) // 2 if role == "again" else 0)) % len(found)
        axes = {**source.axes, "gate_role": role}
        return source.model_copy(
            update={
                "rounds": found[at],
                "axes": axes,
                "most_rounds": sign_test.ROUNDS,
                "planted": PLANTED if controlled else 0.0,
            }
        )

    return play
