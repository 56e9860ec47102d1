"""Time and memory from readings that are made up here: verdicts, controls, exit status, orders of a job."""

from dataclasses import replace

import pytest

from bench.records.comparison import CallsAgreement, TensorAgreement
from bench.records.outcome import Control, Finding, Outcome, SideRecord, cell_name
from bench.records.record import (
    Checksum,
    Failure,
    Measures,
)
from bench.regression import verdicts as judging
from bench.regression.examine import Examined
from bench.regression.gate import RevisionTimer
from bench.regression.planning import Plan
from bench.regression.requests import Ask
from tests.bench.regression.gated import (
    MULTIPLY,
    NOISE,
    comparison,
    counts,
    examined,
    verdicts,
)


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.0, "SAME"), (1.1, "SLOWER"), (0.9, "FASTER"), (1.02, "INCONCLUSIVE")]
)
def test_the_clock_that_decides_is_the_first(ratio, verdict):
    assert verdicts(comparison(ratio)) == {"process time": verdict}


@pytest.mark.parametrize(("ratio", "wall"), [(1.0, 9.0), (0.9, 1.1)])
def test_what_is_slower_by_the_wall_clock_alone_is_not_passed(ratio, wall):
    (waiting,) = (
        each for each in judging.findings([comparison(ratio, wall=wall)]) if each.unit == ""
    )
    assert (waiting.quantity, waiting.verdict) == ("wall time", "INCONCLUSIVE")
    assert waiting.reason.endswith("and not by process time, which decides: does it wait?")
    assert outcome(finding("SAME"), waiting, controls=(control("SAME"),), timed=True).status == 3


def test_where_an_arm_differs_from_itself_nothing_is_shown():
    (found,) = judging.findings([comparison(1.0, control=0.7)])
    assert (found.verdict, found.not_worse) == ("INCONCLUSIVE", False)


@pytest.mark.parametrize(("memory", "verdict"), [(100, "SAME"), (110, "MORE"), (90, "LESS")])
def test_memory_is_judged_by_the_same_rule(memory, verdict):
    assert verdicts(comparison(memory=memory))["memory of a call"] == verdict


def test_a_finding_has_the_ratio_its_interval_and_the_median_of_each_round():
    (found,) = judging.findings([comparison(1.1)])
    assert found.low < 1.1 < found.high
    assert found.ratio == pytest.approx(1.1)
    assert found.after_rounds == pytest.approx([1.1 * factor for factor in NOISE])
    assert (found.launches, found.unit, found.before) == (7, "s", 1.0)


def test_worse_is_what_reads_so_twice():
    slower, same = comparison(1.1), comparison(1.0, role="again")
    assert verdicts(slower, comparison(1.1, role="again")) == {"process time": "SLOWER"}
    assert verdicts(slower, same) == {"process time": "INCONCLUSIVE"}
    failed = comparison(role="again", failure=Failure(kind="timeout", reason="late"))
    assert verdicts(slower, failed) == {"process time": "INCONCLUSIVE"}


def test_a_cell_that_could_not_be_timed_was_not_examined_and_says_why():
    (found,) = judging.findings([comparison(failure=Failure(kind="foreseen", reason="too large"))])
    assert (found.verdict, found.reason) == ("UNEXAMINED", "not measured: too large")


def outcome(*findings, controls=(), timed=False):
    side = SideRecord(name="s")
    return Outcome(base=side, head=side, findings=findings, controls=controls, timed=timed)


def finding(verdict, kind="exact", **fields):
    return Finding(cell="c", quantity="q", kind=kind, verdict=verdict, **fields)


def control(verdict, expected="SAME"):
    return Control(name="untouched", cell="c", expected=expected, verdict=verdict)


@pytest.mark.parametrize(
    ("findings", "verdict_of_control", "status"),
    [
        ([finding("SAME"), finding("SAME", "time")], "SAME", 0),
        ([finding("ACCEPTED"), finding("FASTER", "time")], "SAME", 0),
        ([finding("SAME"), finding("INCONCLUSIVE", "time")], "SAME", 3),
        ([finding("SAME"), finding("INCONCLUSIVE", "time", not_worse=True)], "SAME", 0),
        ([finding("SAME", "time"), finding("INCONCLUSIVE", "memory")], "SAME", 0),
        (
            [finding("SAME", "time"), finding("INCONCLUSIVE", "memory", was_worse=True)],
            "SAME",
            3,
        ),
        ([finding("SAME"), finding("SLOWER", "time")], "SAME", 1),
        ([finding("SAME"), finding("MORE", "memory")], "SAME", 1),
        ([finding("SAME"), finding("SLOWER", "time")], "INCONCLUSIVE", 3),
        ([finding("SAME"), finding("SAME", "time")], "FASTER", 3),
        ([finding("CHANGED"), finding("SAME", "time")], "INCONCLUSIVE", 1),
        ([finding("FAILED"), finding("SAME", "time")], "SAME", 1),
        ([finding("SAME"), finding("SHOWN", "time")], "SAME", 3),
        ([finding("SAME")], "SAME", 3),
        ([finding("SAME"), finding("UNEXAMINED"), finding("SAME", "time")], "SAME", 3),
        ([finding("SAME", "time"), finding("UNEXAMINED", "time")], "SAME", 3),
    ],
)
def test_status_of_a_timed_run(findings, verdict_of_control, status):
    made = outcome(*findings, controls=(control(verdict_of_control),), timed=True)
    assert made.status == status
    assert bool(made.undecided) == (status == 3 or verdict_of_control != "SAME")


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["SAME"], 0),
        (["CHANGED"], 1),
        (["NEW"], 3),
        (["FIXED"], 3),
        ([], 3),
        (["NEW", "SAME"], 0),
        (["SAME", "UNEXAMINED"], 3),
        (["CHANGED", "UNEXAMINED"], 1),
        (["UNEXAMINED"], 3),
    ],
)
def test_status_of_exact_gates_alone(verdicts, status):
    assert outcome(*map(finding, verdicts)).status == status


def test_what_was_not_examined_does_not_make_a_slower_cell_less_slow():
    findings = [finding("UNEXAMINED"), finding("SLOWER", "time")]
    assert outcome(*findings, controls=(control("SAME"),), timed=True).status == 1


def test_cells_that_were_not_examined_are_named_with_the_first_reason():
    lost = finding("UNEXAMINED").model_copy(update={"cell": "c", "quantity": "runs", "reason": "r"})
    made = outcome(
        finding("SAME").model_copy(update={"cell": "b"}),
        lost,
        lost.model_copy(update={"cell": "d"}),
    )
    assert made.undecided == "2 of 3 cells not examined: c, runs: r; also d"


def test_a_time_of_which_nothing_is_decided_is_named_with_its_reason():
    open_time = finding("INCONCLUSIVE", "time", reason="at most 9 of 60 rounds agree")
    made = outcome(finding("SAME"), open_time, controls=(control("SAME"),), timed=True)
    assert made.undecided == "1 of 1 cells not decided: c, q: at most 9 of 60 rounds agree"


ERROR = Failure(kind="error", reason="r")
HELD = Checksum(shape=(2,), mean=0.0, spread=1.0, mix=0.5, largest=1.0)


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ((ERROR, ERROR), {"runs": "UNEXAMINED"}),
        ((ERROR, None), {"runs": "FIXED"}),
        ((None, ERROR), {"runs": "FAILED"}),
        ((Failure(kind="import", reason="r"), None), {"runs": "UNEXAMINED"}),
        ((Failure(kind="unavailable", reason="r"), None), {"cell": "NEW"}),
        ((None, Failure(kind="unavailable", reason="r")), {"cell": "CHANGED"}),
        ((None, None), {"outputs": "UNEXAMINED"}),
    ],
)
def test_what_could_not_be_looked_at_is_told_and_not_green(failures, told):
    base, head = (examined(failure=failure).base for failure in failures)
    cell = Examined(ask=Ask(arm="apnb", size="9x7"), base=base, head=head)
    assert {each.quantity: each.verdict for each in cell.findings} == told


def test_outputs_of_what_cannot_be_predicted_are_compared_and_timed(monkeypatch, tmp_path):
    record = examined(failure=ERROR).base
    record = record.model_copy(update={"measures": Measures(outputs=(HELD,))})
    groups = {"outputs": (TensorAgreement(max_relative_error=0.5),)}
    agreement = CallsAgreement(groups=groups)
    ask = Ask(arm="apnb", size="9x7")
    cell = Examined(ask=ask, base=record, head=record, agreement=agreement)
    told = {each.quantity: each.verdict for each in cell.findings}
    assert told == {"runs": "UNEXAMINED", "outputs": "CHANGED"}
    one, played = job(monkeypatch, tmp_path, {"cell": 1.0})
    one.time_cells([cell])
    assert len(played) == 1


def job(monkeypatch, tmp_path, ratios, **controls):
    """A job whose comparisons are made up: by role, the ratio that is read."""
    played = []

    def play(self, one, *, role, shared, controlled=False):
        played.append((one.ask.arm, role, shared, controlled))
        ratio = ratios.get(one.ask.arm, ratios.get(role))
        failure = ratio if isinstance(ratio, Failure) else None
        beside = {"planted": 1.1, **controls} if controlled else {}
        cell = cell_name(one.head)
        return comparison(0 if failure else ratio, role=role, cell=cell, failure=failure, **beside)

    monkeypatch.setattr(RevisionTimer, "play", play)
    plan = Plan(base="b", head=None, out=tmp_path)
    return RevisionTimer(plan=plan, sides=(None, None)), played


def test_the_first_cell_has_the_controls_beside_it_and_a_slower_one_is_measured_again(
    monkeypatch, tmp_path
):
    one, played = job(monkeypatch, tmp_path, {"cell": 1.1, "again": 1.1})
    made = one.time_cells([examined("apnb"), examined("nb")])
    assert played == [
        ("apnb", "cell", 2, True),
        ("apnb", "again", 2, False),
        ("nb", "cell", 2, False),
        ("nb", "again", 2, False),
    ]
    assert [one.verdict for one in judging.findings(made)] == ["SLOWER", "SLOWER"]
    assert [one.name for one in judging.controls(made)] == ["untouched", "planted"]
    assert all(one.holds for one in judging.controls(made))


def test_the_cell_with_the_least_work_has_the_controls_and_keeps_its_place(monkeypatch, tmp_path):
    one, played = job(monkeypatch, tmp_path, {"cell": 1.0})
    light = examined("nb")
    measures = Measures(counts=counts(MULTIPLY))
    light = replace(light, base=light.base.model_copy(update={"measures": measures}))
    made = one.time_cells([examined("apnb"), light])
    assert [name for name, *_ in played] == ["nb", "apnb"]
    assert [each.gate_cell for each in made] == ["apnb 9x7", "nb 9x7"]


def test_a_cell_that_is_the_same_is_measured_once(monkeypatch, tmp_path):
    one, played = job(monkeypatch, tmp_path, {"cell": 1.0})
    one.time_cells([examined()])
    assert [role for _, role, *_ in played] == ["cell"]


@pytest.mark.parametrize(
    ("controls", "failing"),
    [({"control": 1.1}, "untouched"), ({"planted": 1.0}, "planted")],
)
def test_where_a_control_reads_wrong_nothing_else_is_run(monkeypatch, tmp_path, controls, failing):
    one, played = job(monkeypatch, tmp_path, {"cell": 1.3}, **controls)
    made = one.time_cells([examined("apnb"), examined("nb")])
    assert [name for name, *_ in played] == ["apnb"]
    assert judging.findings(made) == ()
    found = outcome(finding("SAME"), controls=judging.controls(made), timed=True)
    assert found.status == 3
    assert found.undecided.startswith(f"this machine cannot decide: the control {failing!r}")


def test_a_cell_that_could_not_be_played_leaves_the_controls_to_the_next(monkeypatch, tmp_path):
    died = Failure(kind="error", reason="died")
    one, played = job(monkeypatch, tmp_path, {"apnb": died, "cell": 1.0})
    made = one.time_cells([examined("apnb"), examined("nb"), examined("gc")])
    assert [(name, controlled) for name, _, _, controlled in played] == [
        ("apnb", True),
        ("nb", True),
        ("gc", False),
    ]
    assert [each.verdict for each in judging.findings(made)] == ["UNEXAMINED", "SAME", "SAME"]
    assert [(each.cell, each.holds) for each in judging.controls(made)] == [("nb 9x7", True)] * 2


def test_what_is_not_decided_may_be_shown_not_to_be_worse():
    # Between the same and faster: below the upper margin in every round, above the lower one in too few.
    (found,) = judging.findings([comparison(0.98)])
    assert (found.verdict, found.not_worse) == ("INCONCLUSIVE", True)
    assert found.reason.endswith("not worse: 20 of 20 rounds below the upper margin")
    (found,) = judging.findings([comparison(1.02)])
    assert (found.verdict, found.not_worse) == ("INCONCLUSIVE", False)


def test_a_cell_is_judged_by_the_boundary_of_a_comparison_that_was_looked_at_after_each_round():
    noise = [1.1] * 11 + [1.0] + [1.1] * 4  # 15 of 16: enough at one look, and at any
    one = comparison(noise=noise).model_copy(update={"most_rounds": 60})
    (found,) = judging.findings([one])
    assert found.verdict == "SLOWER"
    assert "15 needed" in found.reason
    early = comparison(noise=[1.1] * 10).model_copy(update={"most_rounds": 60})
    assert judging.findings([early])[0].verdict == "INCONCLUSIVE"  # 10 of 10 are enough at one look


def test_a_control_that_could_not_be_run_does_not_hold():
    failed = comparison(role="planted", failure=Failure(kind="error", reason="died"))
    (found,) = judging.controls([failed])
    assert (found.holds, found.reason) == (False, "died")


def test_what_does_not_run_on_both_sides_is_not_timed(monkeypatch, tmp_path):
    one, played = job(monkeypatch, tmp_path, {})
    assert one.time_cells([examined(failure=Failure(kind="error", reason="r"))]) == ()
    assert played == []
