"""How often the comparison by turns is wrong on this machine, and how often it finds ten percent.

    python -m pytest tests/benchmarks/test_paired.py -m slow -s

Real rounds in fresh processes, of a short kernel three times over, and beside one that does a tenth
more of the same work. Every twenty rounds in a row are an experiment, which is judged by process
time; of three equal arms each is compared with each. Six minutes on two idle cores; the detection is
to be read on an idle machine.
"""

import os
import statistics
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest

from ann.spec import Size
from bench.analysis import sign_test
from bench.compare.compare import Settings, compare
from bench.compare.rounds import LOADED_FIRST, Match, start_arm
from bench.compare.turns import thread_variables
from bench.records.comparison import ArmReadings
from bench.workers import ForkServer, can_fork
from experiments.spec import Cell, OwnModule

pytestmark = pytest.mark.slow
EQUAL_ROUNDS = 40
PLANTED_ROUNDS = 30
WINDOW = 20
LAYOUT_ROUNDS = 14
WORK = """
import torch
from torch import nn

class Products(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(96, 96) / 10)
        self.count = count

    def forward(self, x):
        tokens = x.flatten(2).mT
        for _ in range(self.count):
            tokens = (tokens @ self.weight).tanh()
        return tokens

def ten():
    return Products(10)

def eleven():
    return Products(11)
"""


@pytest.fixture
def arms(tmp_path, monkeypatch):
    (tmp_path / "planted_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    ten = Cell(
        experiment="planted",
        axes={"block": "planted_work:ten"},
        subject=OwnModule(factory="planted_work:ten", channels=96),
        size=Size(width=32, height=16),
    )
    eleven = replace(
        ten,
        axes={"block": "planted_work:eleven"},
        subject=replace(ten.subject, factory="planted_work:eleven"),
    )
    return ten, eleven


@pytest.fixture(autouse=True)
def every_round(monkeypatch):
    """All rounds are wanted, whether it is decided or not."""
    monkeypatch.setattr("bench.compare.compare.is_decided", lambda _: False)


def play(first, second, *, rounds):
    made = compare(first, second, device="cpu", settings=Settings(rounds=rounds))
    assert made.failure is None
    whole = sign_test.decide_comparison(made, "process")
    print(  # noqa: T201  # the figures are what it is for
        f"\n{second.name} against {first.name}, {rounds} rounds: {whole.verdict}, ratio "
        f"{whole.ratio.median:.3f} [{whole.ratio.low:.3f}, {whole.ratio.high:.3f}], "
        f"A/A {whole.control.median:.3f} [{whole.control.low:.3f}, {whole.control.high:.3f}]"
    )
    return sign_test.rounds_of(made, "process")


def shares(rounds):
    """How often each verdict comes out of twenty rounds in a row."""
    starts = range(len(rounds) - WINDOW + 1)
    drawn = [
        sign_test.decide(rounds[start : start + WINDOW], most=sign_test.ROUNDS).verdict
        for start in starts
    ]
    found = Counter(drawn)
    print(dict(found))  # noqa: T201
    return found


def roles(one):
    """A round of three equal arms, each of them in each role."""
    arms = (one.first, one.second, one.control)
    return [
        ArmReadings(first=first, second=second, control=control)
        for first, second, control in (arms, arms[1:] + arms[:1], arms[2:] + arms[:2])
    ]


def test_equal_arms_are_called_different_in_at_most_one_percent(arms):
    ten, _ = arms
    rounds = play(ten, ten, rounds=EQUAL_ROUNDS)
    found = sum((shares(each) for each in zip(*map(roles, rounds), strict=True)), Counter())
    assert found["FASTER"] + found["SLOWER"] <= 0.01 * found.total()


def test_a_tenth_more_work_is_found(arms):
    ten, eleven = arms
    found = shares(play(ten, eleven, rounds=PLANTED_ROUNDS))
    assert found["SLOWER"] >= 0.95 * found.total()
    assert found["FASTER"] == 0


def log_ratios(cell, servers):
    """Of the control over the first arm, one a round; each arm is a fork of its server, or spawned."""

    def start(name, task):
        place = ("first", "control", "second").index(name)
        return start_arm(name, task, servers=servers[place : place + 1])

    settings = Settings(rounds=LAYOUT_ROUNDS, round_s=1.5)
    match = Match(cell, cell, device="cpu", settings=settings, start=start)
    rounds = [record.readings["process"] for record in match.play(LAYOUT_ROUNDS, {})]
    return [sign_test.log_ratio(each.control, each.first) for each in rounds]


@pytest.mark.skipif(not can_fork(), reason="arms are forks under Linux since 5.3")
def test_the_luck_of_a_layout(arms):
    """Scatter of spawned processes, of forks of one, and of two: what the means of the last differ by is shared."""
    cell, _ = arms
    variables = {**os.environ, **thread_variables(os.environ, "cpu")}
    with ExitStack() as stack:
        one, *others = (
            stack.enter_context(ForkServer(LOADED_FIRST, variables=variables)) for _ in range(4)
        )
        ways = {"spawned": (), "forks of one": (one, one, one)}
        ways |= {f"forks of two, {n}": (one, other, one) for n, other in enumerate(others)}
        for way, servers in ways.items():
            logs = log_ratios(cell, servers)
            print(  # noqa: T201  # the figures are what it is for
                f"\n{way}: mean {100 * statistics.fmean(logs):.2f} %, scatter {100 * statistics.stdev(logs):.2f} %, "
                f"of {len(logs)} rounds"
            )
            assert abs(statistics.median(logs)) < 0.1
