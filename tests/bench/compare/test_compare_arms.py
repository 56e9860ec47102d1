"""What a comparison holds beside its verdict, from matches whose rounds are made up: no process is started."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.analysis import sign_test
from bench.compare import compare
from bench.compare.outputs import plain_outputs
from bench.compare.rounds import ArmError
from bench.compare.turns import Ready
from bench.records import comparison
from bench.records.comparison import ArmReadings, ArmRecord, RoundRecord
from bench.records.record import (
    Counts,
    Environment,
    Failure,
    MeasuredMemory,
    Measures,
    PredictedMemory,
    Record,
)
from bench.run import job_records
from experiments.spec import Cell
from tests.standing_in import stand_in

TINY = Size(width=9, height=7)
GIBI = 2**30
WHERE = Environment(
    device="cpu",
    device_name="a processor",
    cores=2,
    threads=1,
    memory_bytes=GIBI,
    os="Linux",
    python="3.11.0",
    torch="2.15.0",
)
FEW = compare.Settings(rounds=2, level=0.3)
# MACs, predicted peak and what of it a call adds.
NEEDS = {"nb": (10, 200, 80), "apnb": (20, 100, 30)}


def cell(name="apnb", **changes):
    usual = {"axes": {"block": name}, "size": TINY}
    return Cell(experiment="e", subject=BLOCKS[name], **{**usual, **changes})


def memory(size):
    return MeasuredMemory(high_water_bytes=size)


class Known:
    """A match whose every reading is known; in the first round its arms leave their outputs."""

    asked = ()
    played = False

    def __init__(self, first, second, **how):
        Known.asked = (first, second, how)
        self.first, self.settings = first, how["settings"]
        self.slowed, self.cells = how["slowed"], dict.fromkeys(("first", "control", "second"))
        self.launches = {"first": 3, "control": 4, "second": 5}
        sizes = {"first": 30, "control": 40, "second": 50}
        self.ready = {name: Ready(call_s=1.0, memory=memory(size)) for name, size in sizes.items()}

    def play(self, rounds, outputs):
        Known.played = True
        for number in range(rounds):
            torch.save(plain_outputs(torch.tensor([8.0])), outputs["first"])
            torch.save(plain_outputs(torch.tensor([4.0 - number])), outputs["second"])
            taken = ArmReadings(first=(1.0,), control=(1.0,), second=(number + 1.0,))
            yield RoundRecord(order="ACBBCA", readings={"process": taken, "wall": taken})


class Refused(Known):
    """A match of which one arm cannot be run."""

    def play(self, rounds, outputs):
        raise ArmError(Failure(kind="error", reason="no luck today"))


def predict(one, where):
    macs, peak, rise = NEEDS[one.name]
    counts = Counts(parameters=0, buffers=0, macs=macs, flops=0, ledger=())
    predicted = PredictedMemory(
        peak_bytes=peak, increment_bytes=rise, input_bytes=0, parameter_bytes=0, peak_operator="x"
    )
    return recorded(one, counts=counts, predicted=predicted)


def recorded(one, **measures):
    return Record(
        source="predicted",
        experiment="e",
        cell=one.id,
        subject=one.name,
        axes={},
        size=str(one.size),
        measures=Measures(**measures),
    )


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """Matches, predictions and the machine, all made up."""
    monkeypatch.setattr(compare, "Match", Known)
    stand_in(monkeypatch, job_records, "predicted_record", predict)
    stand_in(
        monkeypatch,
        job_records,
        "environment_of",
        lambda device, one: WHERE.model_copy(update={"device": device}),
    )
    stand_in(monkeypatch, job_records, "memory_failure", lambda *_, **__: None)


def compared(first=None, second=None, **options):
    usual = {"device": "cpu", "settings": FEW}
    return compare.compare(first or cell("nb"), second or cell("apnb"), **{**usual, **options})


def test_a_comparison_says_what_its_cells_were():
    how = {"size": Size(width=8, height=6), "batch": 3, "dtype": "float64", "mode": "train"}
    made = compared(cell("nb", **how), cell("apnb", **how))
    assert (made.size, made.batch, made.dtype, made.mode) == ("8x6", 3, "float64", "train")


def test_the_axes_of_a_comparison_leave_the_arms_names_out():
    axes = {"block": "nb", "network": "n", "size": "9x7", "key_channels": 4}
    made = compared(cell("nb", axes=axes))
    assert made.axes == {"size": "9x7", "key_channels": 4}


def test_a_comparison_has_the_settings_that_it_was_made_with():
    settings = compare.Settings(rounds=4, margin=0.1, level=0.25, comparisons=2)
    made = compared(settings=settings)
    assert (made.margin, made.level, made.comparisons) == (0.1, 0.25, 2)
    assert made.most_rounds == 4


def test_without_settings_the_usual_ones_hold():
    made = compared(settings=compare.Settings())
    assert (made.margin, made.level) == (sign_test.MARGIN, sign_test.LEVEL)
    assert (made.most_rounds, made.comparisons) == (sign_test.ROUNDS, 1)


def test_the_rounds_are_those_that_were_played_in_their_order():
    made = compared()
    assert [one.readings["process"].second for one in made.rounds] == [(1.0,), (2.0,)]


def test_the_match_is_of_both_arms_for_as_long_as_asked():
    compared(device="cuda", settings=replace(FEW, turn_s=0.3, round_s=4.0))
    first, second, how = Known.asked
    assert (first.name, second.name) == ("nb", "apnb")
    assert how["device"] == "cuda"
    assert how["settings"] == replace(FEW, turn_s=0.3, round_s=4.0)


def test_unless_said_otherwise_turns_are_as_the_device_has_them_for_three_seconds_at_most():
    compared(settings=compare.Settings())
    settings = compare.Settings(turn_s=None, round_s=3.0)
    assert Known.asked[-1]["settings"] == settings


def test_arms_that_differ_are_refused_with_what_each_has():
    with pytest.raises(ValueError, match="^arms differ in batch: 1 and 2; "):
        compared(cell("nb", batch=1), cell("apnb", batch=2))


def test_each_step_is_told_when_it_is_done():
    told = []
    compared(on_step=told.append)
    assert told == ["predicted", "outputs compared", "round 1", "round 2"]
    assert len(told) == FEW.rounds + compare.BESIDE_ROUNDS


def test_outputs_are_compared_once_as_the_first_round_leaves_them():
    assert compared().agreement.max_relative_error == 0.5


def test_an_arm_has_its_own_calls_and_memory_and_predictions():
    made = compared(cell("nb", implementation="fast"))
    assert made.first == ArmRecord(
        arm="nb:fast",
        cell=cell("nb", implementation="fast").id,
        launches=3,
        macs=10,
        predicted_peak_bytes=200,
        predicted_increment_bytes=80,
        memory=memory(30),
    )
    assert (made.second.arm, made.second.launches, made.second.macs) == ("apnb", 5, 20)
    assert made.second.memory == memory(50)


def test_an_arm_that_cannot_be_predicted_is_tried_without(monkeypatch):
    stand_in(monkeypatch, job_records, "predicted_record", lambda one, _: recorded(one))
    made = compared()
    assert made.first.macs is made.first.predicted_peak_bytes is None
    assert made.first.predicted_increment_bytes is None
    assert len(made.rounds) == 2


def test_a_failure_stands_in_place_of_the_rounds(monkeypatch):
    monkeypatch.setattr(compare, "Match", Refused)
    told = []
    made = compared(on_step=told.append)
    assert made.failure == Failure(kind="error", reason="no luck today")
    assert (made.rounds, made.first.macs, told) == ((), 10, ["predicted"])


@pytest.mark.parametrize(
    ("codes", "said"),
    [(("a", "b"), "a+b"), (("a", "a"), "a"), ((None, None), ""), ((None, "b"), "+b")],
)
def test_the_environment_has_the_code_of_both_arms_once(monkeypatch, codes, said):
    known = dict(zip(("nb", "apnb"), codes, strict=True))
    stand_in(
        monkeypatch,
        job_records,
        "environment_of",
        lambda _, one: WHERE.model_copy(update={"code": known[one.name]}),
    )
    assert compared().environment == WHERE.model_copy(update={"code": said})


def test_a_comparison_says_how_long_it_took(monkeypatch):
    clock = iter([5.0, 8.5])
    monkeypatch.setattr(compare, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert compared().seconds == 3.5


def test_a_comparison_says_when_it_began_to_the_second():
    before = datetime.now(UTC).replace(microsecond=0)
    made = datetime.fromisoformat(compared().created_at)
    assert before <= made <= datetime.now(UTC)
    assert (made.utcoffset().total_seconds(), made.microsecond) == (0, 0)


def arm(peak, rise):
    return ArmRecord(arm="a", cell="0", predicted_peak_bytes=peak, predicted_increment_bytes=rise)


@pytest.mark.parametrize(
    ("first", "second", "needs"),
    [
        # Two of the first and one of the second stand; the larger increment comes on top.
        ((100, 30), (200, 80), 70 + 70 + 120 + 80),
        ((200, 80), (100, 30), 120 + 120 + 70 + 80),
        ((100, 0), (100, 0), 300),
    ],
)
def test_three_processes_stand_and_one_is_at_its_peak(monkeypatch, first, second, needs):
    asked = []
    stand_in(
        monkeypatch, job_records, "memory_failure", lambda *given, who: asked.append((*given, who))
    )
    compare.require_room([arm(*first), arm(*second)], WHERE)
    processes = 3 * job_records.PROCESS_BYTES
    assert asked == [(needs + processes, WHERE, "three processes by turns need")]


@pytest.mark.parametrize("unknown", [(None, 30), (100, None)])
@pytest.mark.parametrize("at", [0, 1])
def test_what_an_arm_needs_is_not_asked_where_it_is_not_known(monkeypatch, unknown, at):
    asked = []
    stand_in(monkeypatch, job_records, "memory_failure", lambda *given, **_: asked.append(given))
    arms = [arm(100, 30)]
    arms.insert(at, arm(*unknown))
    compare.require_room(arms, WHERE)
    assert asked == []


def test_without_room_nothing_is_played(monkeypatch):
    failure = Failure(kind="foreseen", reason="too large")
    stand_in(monkeypatch, job_records, "memory_failure", lambda *_, **__: failure)
    Known.played = False
    assert (compared().failure, Known.played) == (failure, False)


def test_pairs_are_compared_in_their_order_as_asked_and_kept(tmp_path):
    told = []
    pairs = [(cell("nb"), cell("apnb")), (cell("apnb"), cell("nb"))]
    made = compare.compare_arms(pairs, tmp_path, device="cuda", settings=FEW, on_step=told.append)
    assert [(one.first.arm, one.second.arm) for one in made] == [("nb", "apnb"), ("apnb", "nb")]
    assert comparison.read_comparisons(tmp_path) == made
    assert len(told) == 2 * (FEW.rounds + compare.BESIDE_ROUNDS)
    assert {(one.level, one.environment.device) for one in made} == {(0.3, "cuda")}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": 0.0}, "margin 0 is not a share between 0 and 1; pass for example 0.02"),
        ({"margin": 1.0}, "margin 1 is not a share between 0 and 1"),
        ({"level": 0.0}, "level 0 is not between 0 and 0.5; pass for example 0.001"),
        ({"level": 0.5}, "level 0.5 is not between 0 and 0.5"),
        (
            {"rounds": 200_000},
            "200000 rounds would take days; pass at most 2000",
        ),
        (
            {"rounds": 9},
            "9 rounds decide nothing at level 0.001, even if all agree; pass at least 10",
        ),
        (
            {"rounds": 10, "comparisons": 2},
            "10 rounds decide nothing at level 0.001 shared by 2 comparisons, even if all agree",
        ),
    ],
)
def test_settings_that_decide_nothing_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        compare.Settings(**fields)


def test_settings_near_their_ends_are_taken():
    made = compare.Settings(margin=0.999, level=0.499, rounds=20)
    assert (made.margin, made.level) == (0.999, 0.499)
