"""Comparisons of revisions as the gate plays and keeps them, with arms that are made up; and plans of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import regress
from bench.analysis import sign_test
from bench.compare.compare import Settings
from bench.compare.rounds import Match
from bench.compare.turns import Ready
from bench.records import comparison as pairing_record
from bench.records.comparison import ArmReadings, ArmRecord
from bench.records.record import (
    MeasuredMemory,
    Measures,
    PredictedMemory,
)
from bench.regression import gate
from bench.regression.gate import RevisionTimer
from bench.regression.planning import Plan
from bench.regression.requests import Ask
from bench.regression.revisions import RevisionSide
from experiments.spec import Cell
from tests.bench.regression.gated import (
    WHERE,
    comparison,
    examined,
)


class Arm:
    """The worker of an arm whose calls take so long."""

    def __init__(self, planted, seconds):
        self.planted = planted
        taken = (1 + planted) * seconds
        self.take = lambda launches: {"process": taken, "wall": taken}
        self.ready = Ready(call_s=seconds, memory=MeasuredMemory(high_water_bytes=64))

    def start(self):
        return self

    def send(self, message):
        self.answer = self.take(message) if isinstance(message, int) else self.ready

    def receive(self, *, limit_s):
        return self.answer

    def end(self):
        pass


def planted_match(share=0.1, seconds=0.01):
    arms = []

    def start(name, task):
        arms.append(Arm(task.planted, seconds))
        return arms[-1], task

    cell = Cell(experiment="regress", axes={"block": "b"}, subject=None, size=None)
    settings = {"read_memory": True, "slowed": {"planted": share}}
    times = Settings(turn_s=0.02, round_s=0.4)
    match = Match(cell, cell, device="cpu", settings=times, start=start, **settings)
    return match, arms


def test_a_call_that_adds_nothing_adds_the_least_that_can_be_seen():
    match, arms = planted_match()
    read = MeasuredMemory(high_water_bytes=0, resolution_bytes=4096)
    start = match.start

    def with_nothing(name, task):
        arm, message = start(name, task)
        if name == "first":
            arm.ready = arm.ready.model_copy(update={"memory": read})
        return arm, message

    match.start = with_nothing
    (one,) = match.play(1, {})
    assert one.memory == ArmReadings(first=(4096.0,), control=(64.0,), second=(64.0,))
    assert arms


def test_the_planted_control_is_a_fourth_arm_that_does_a_tenth_more_work():
    match, arms = planted_match()
    (one,) = match.play(1, {})
    assert match.launches == dict.fromkeys(("first", "control", "second", "planted"), 2)
    taken = one.readings["process"]
    assert set(taken.first) == set(taken.control) == set(taken.second) == {0.01}
    assert taken.planted == pytest.approx([0.011] * len(taken.first))
    assert [each.planted for each in arms] == [0, 0, 0, 0.1]
    assert one.memory == ArmReadings(first=(64.0,), control=(64.0,), second=(64.0,))


def record_with(commit):
    where = WHERE.model_copy(update={"commit": commit})
    return examined().base.model_copy(update={"environment": where})


def test_two_folders_are_judged_by_the_turns_that_their_commits_took(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    for name in ("base", "head"):
        one = record_with(name)
        line = one.model_dump_json(exclude_defaults=True)
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.jsonl").write_text(f"{line}\n")
    made = [comparison(1.1), comparison(1.1, role="again")]
    controls = [comparison(1.0, role="untouched"), comparison(1.1, role="planted")]
    controls = [one.model_copy(update={"second": one.first}) for one in controls]
    other = comparison(9.0, cell="of another commit")
    other = other.model_copy(update={"second": ArmRecord(arm="apnb@other", cell="0")})
    text = "".join(f"{one.model_dump_json()}\n" for one in (*controls, *made, other))
    (tmp_path / pairing_record.COMPARISONS_FILE).write_text(text)
    arguments = ["--base", tmp_path / "base", "--head", tmp_path / "head", "--out", tmp_path / "o"]
    accepted = ["--accepted", tmp_path / "accepted.jsonl"]
    status = regress.main([str(one) for one in (*arguments, *accepted)])
    told = capsys.readouterr().out
    assert status == 1
    assert "Worse: 1 of 2 findings; first apnb 9x7: process time SLOWER" in told


def test_the_plan_of_steps_counts_both_sides_and_all_rounds():
    ask = Ask(arm="apnb", size="9x7")
    plan = Plan(base="a", head=None, asks=(ask, ask))
    assert plan.steps == 4 + 2 * sign_test.ROUNDS
    assert replace(plan, exact_only=True).steps == 4


SIDE = RevisionSide(name="b", commit="c", code="0", path=Path(), python="p")


def timer(out):
    """A timer of ten rounds, whose sides are the same."""
    plan = Plan(base="b", head=None, settings=Settings(rounds=10), out=out)
    return RevisionTimer(plan=plan, sides=(SIDE, SIDE))


def test_a_comparison_is_written_down_as_soon_as_it_is_made(tmp_path, monkeypatch):
    given, messages = [], []

    class Told(Arm):
        def __init__(self):
            super().__init__(0.0, 0.01)

        def send(self, message):
            if isinstance(message, dict):
                messages.append(message)
                super().__init__(message["planted"], 0.01)
            super().send(message)

    def worker(side, target, **variables):
        given.append((target, variables))
        return Told()

    monkeypatch.setattr(RevisionSide, "worker", worker)
    monkeypatch.setattr(gate, "thread_variables", lambda variables, device: {"device": device})
    made = timer(tmp_path).play(examined(), role="cell", shared=1, controlled=True)
    assert pairing_record.read_comparisons(tmp_path) == (made,)
    assert (made.first.arm, made.axes["gate_role"], len(made.rounds)) == ("apnb@c", "cell", 10)
    controls = sign_test.decide_controls(made)
    assert {name: each.verdict for name, each in controls.items()} == sign_test.EXPECTED
    assert given == [("play", {"server": None, "device": "cpu"})] * 40
    assert {message["cell"]["arm"] for message in messages} == {"apnb"}


def test_what_does_not_fit_three_times_is_not_begun(tmp_path):
    huge = PredictedMemory(
        peak_bytes=2**60,
        increment_bytes=2**59,
        input_bytes=0,
        parameter_bytes=0,
        peak_operator="aten.mm",
    )
    one = examined()
    record = one.base.model_copy(update={"measures": Measures(predicted=huge)})
    made = timer(tmp_path).play(replace(one, base=record, head=record), role="cell", shared=1)
    assert made.failure.kind == "foreseen"
    assert pairing_record.read_comparisons(tmp_path) == (made,)
