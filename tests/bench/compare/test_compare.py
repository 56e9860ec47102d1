"""Comparisons by turns in real processes; the blocks are tiny."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, permutations
from pathlib import Path

import pytest
import torch

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench import efficiency
from bench.analysis import decide_comparison
from bench.compare import compare as paired
from bench.compare.rounds import (
    LAP,
    LAP_OF_FOUR,
    NAMES,
    SHORT_LAP,
    SHORT_LAP_OF_FOUR,
    SWAPPED,
    ArmError,
    Match,
    receive,
    start_arm,
)
from bench.compare.turns import ArmTask, Ready
from bench.records import comparison, exit_failure, record, timeout_failure
from bench.records.record import Failure
from experiments.spec import Cell, OwnModule

ROOT = Path(__file__).resolve().parents[3]
TINY = Size(width=9, height=7)


def cell(name="apnb", *, size=TINY, **changes):
    spec = replace(BLOCKS[name], channels=8, key_channels=4)
    return Cell(experiment="e", axes={"block": name}, subject=spec, size=size, **changes)


def call(*arguments, cwd=ROOT, **options):
    command = [sys.executable, "-m", "bench.efficiency", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


def test_two_arms_are_compared_from_the_command_line(tmp_path, capsys):
    arguments = (
        "--compare nb apnb --channels 8 --key-channels 4 --size 9x7 --rounds 2 --level 0.3 --quiet"
    )
    status = efficiency.main([*arguments.split(), "--format", "json", "--out", str(tmp_path)])
    told = capsys.readouterr()
    assert told.err == ""
    (printed,) = json.loads(told.out)
    (kept,) = comparison.read_comparisons(tmp_path)
    assert comparison.Comparison.model_validate(printed) == kept
    assert (kept.first.arm, kept.second.arm, kept.size) == ("nb", "apnb", "9x7")
    assert [one.order for one in kept.rounds] == [LAP, LAP.translate(SWAPPED[3])]
    assert kept.clocks == ("process", "wall")
    for one in kept.rounds:
        for taken in one.readings.values():
            assert len(taken.first) == len(taken.second) == len(taken.control) >= 2
    assert kept.first.macs != kept.second.macs
    assert 0 < kept.agreement.max_relative_error < 2
    verdict = decide_comparison(kept, "process").verdict
    assert status == (3 if verdict == "INCONCLUSIVE" else 0)
    assert verdict in (
        "SAME",
        "FASTER",
        "SLOWER",
        "INCONCLUSIVE",
    )
    assert kept.environment.code
    assert record.read_records(tmp_path) == ()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, torch finds none")
def test_on_a_gpu_events_decide():
    large = Size(width=96, height=96)
    made = paired.compare(
        cell("nb", size=large),
        cell("apnb", size=large),
        device="cuda",
        settings=paired.Settings(rounds=2, level=0.3),
    )
    assert made.failure is None
    assert made.clocks == ("cuda-events", "wall")
    assert made.first.memory.requested_bytes > made.second.memory.requested_bytes
    assert decide_comparison(made, "cuda-events").ratio.median > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "apbn", "apnb"], "unknown block 'apbn'; did you mean 'apnb'?"),
        (
            ["--compare", "apnb", "apnb:fats"],
            "arm 'apnb:fats': unknown implementation 'fats'; did you mean 'fast'?",
        ),
        (["--compare", "apnb"], "argument --compare: expected 2 arguments"),
        (
            ["--compare", "nb", "apnb", "--rounds", "9"],
            "9 rounds decide nothing at level 0.001, even if all agree; pass at least 10",
        ),
        (
            ["--compare", "nb", "apnb", "--margin", "2"],
            "margin 2 is not a share between 0 and 1; pass for example 0.02",
        ),
        (
            ["--compare", "nb", "apnb", "--level", "1"],
            "level 1 is not between 0 and 0.5; pass for example 0.001",
        ),
        (["--margin", "0.1"], "--margin goes with --compare; add --compare A B, or leave it out"),
        (["--compare", "nb", "apnb", "--block", "fnb"], "--block does not go with --compare"),
        (
            ["--compare", "nb", "apnb", "--device", "meta"],
            "--device meta runs nothing, so nothing can be compared; pass auto, cpu or cuda",
        ),
    ],
)
def test_a_typical_mistake_gets_one_line_and_status_2(tmp_path, arguments, message):
    done = call(*arguments, "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def asked(*arguments):
    return efficiency.pairs(efficiency.parser().parse_args(["--compare", *arguments]))


def test_arms_are_compared_at_each_size():
    found = asked("nb", "apnb:fast", "--size", "4x3", "--size", "8x6")
    assert [(str(one.size), str(other.size)) for one, other in found] == [
        ("4x3", "4x3"),
        ("8x6", "8x6"),
    ]
    assert {(one.name, other.name, other.implementation) for one, other in found} == {
        ("nb", "apnb", "fast")
    }


def test_a_whole_network_is_an_arm():
    ((plain, fast),) = asked(
        "official/ann-r101", "official/ann-r101:fast", "--size", "769x769", "--channels", "64"
    )
    assert plain.subject == fast.subject
    assert plain.name == "official/ann-r101"
    assert fast.implementation == "fast"


def test_somebodys_own_module_is_an_arm():
    ((own, _),) = asked("mine.blocks:make", "apnb", "--channels", "64")
    assert own.subject == OwnModule(factory="mine.blocks:make", channels=64)


def test_sizes_share_the_level():
    with pytest.raises(
        ValueError, match="shared by 4 comparisons, even if all agree; pass at least 12"
    ):
        paired.Settings(rounds=11, comparisons=4)
    assert paired.Settings(rounds=12, comparisons=4).rounds == 12


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 2},
        {"mode": "train"},
        {"size": Size(width=8, height=8)},
        {"dtype": "float64"},
        {"seed": 1},
    ],
)
def test_arms_that_differ_in_more_than_themselves_are_refused(change):
    with pytest.raises(ValueError, match=f"arms differ in {next(iter(change))}: "):
        paired.compare(cell(), cell(**change), device="cpu", settings=paired.Settings())


ALL_LAPS = (LAP, SHORT_LAP, LAP_OF_FOUR, SHORT_LAP_OF_FOUR)


@pytest.mark.parametrize("lap", [*ALL_LAPS, LAP.translate(SWAPPED[3])])
def test_neighbours_lie_as_often_and_as_far_apart_to_either_side(lap):
    for one, other in combinations(sorted(set(lap)), 2):
        places = ([at for at, each in enumerate(lap) if each == arm] for arm in (one, other))
        apart = [there - here for here, there in zip(*places, strict=True)]
        assert sum(apart) == 0
        assert 2 * sum(each > 0 for each in apart) == len(apart)


@pytest.mark.parametrize(("lap", "times"), [(LAP, 3), (LAP_OF_FOUR, 2)])
def test_in_a_lap_each_arm_follows_each_other_as_often_and_never_itself(lap, times):
    followers = Counter(pairwise(lap + lap[0]))
    assert followers == dict.fromkeys(permutations(sorted(set(lap)), 2), times)


def test_every_other_round_has_the_arms_swapped():
    for arms, lap in ((3, LAP), (4, LAP_OF_FOUR)):
        assert lap.translate(SWAPPED[arms]).translate(SWAPPED[arms]) == lap
    assert LAP.translate(SWAPPED[3])[:3] == "BCA"
    assert LAP_OF_FOUR.translate(SWAPPED[4])[:4] == "BPAC"


def planned(*calls_s):
    match = Match(cell(), cell(), device="cpu", settings=paired.Settings(turn_s=0.02))
    names = list(NAMES.values())[: len(calls_s)]
    match.plan({name: Ready(call_s=call_s) for name, call_s in zip(names, calls_s, strict=True)})
    return match


def test_every_arm_makes_as_many_calls_in_a_turn_however_long_they_looked():
    match = planned(5e-3, 1e-3, 1e-3)
    assert set(match.launches.values()) == {20}
    assert match.lap == LAP


@pytest.mark.parametrize(("device", "launches"), [("cpu", 5), ("cuda", 20)])
def test_a_turn_is_shorter_on_a_processor_than_on_a_gpu(device, launches):
    match = Match(cell(), cell(), device=device, settings=paired.Settings())
    match.plan({name: Ready(call_s=1e-3) for name in ("first", "control", "second")})
    assert set(match.launches.values()) == {launches}


def test_whole_calls_are_planted_on_a_gpu_so_that_a_turn_has_as_many():
    for device, launches in (("cpu", 1), ("cuda", 10)):
        match = Match(
            *[cell()] * 2, device=device, settings=paired.Settings(), slowed={"planted": 0.1}
        )
        match.plan({name: Ready(call_s=0.1) for name in match.cells})
        assert set(match.launches.values()) == {launches}


def test_a_slow_arm_keeps_turns_short():
    assert set(planned(0.1, 0.1, 1e-4).launches.values()) == {5}
    assert set(planned(8.0, 8.0, 7.0).launches.values()) == {1}


def test_long_turns_go_round_in_the_short_lap():
    assert planned(0.11, 0.1, 0.1).lap == SHORT_LAP
    assert planned(0.09, 0.09, 0.09).lap == LAP
    assert planned(0.11, 0.1, 0.1, 0.1).lap == SHORT_LAP_OF_FOUR
    assert planned(0.09, 0.09, 0.09, 0.09).lap == LAP_OF_FOUR


BROKEN = """
from torch import nn

class Broken(nn.Module):
    def forward(self, x):
        raise RuntimeError("no luck today")

def make(channels):
    return Broken()
"""


def test_an_arm_that_raises_ends_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "broken_arm.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    own = replace(cell(), subject=OwnModule(factory="broken_arm:make", channels=8))
    worker, message = start_arm("first", ArmTask(cell=own, device="cpu"))
    with worker:
        worker.send(message)
        with pytest.raises(ArmError) as seen:
            receive(worker, own)
    reason = r"apnb: RuntimeError: no luck today \(.*broken_arm\.py, line 6\)"
    assert re.fullmatch(reason, seen.value.failure.reason)


SPINS = """
import os
import torch
from torch import nn

class Spins(nn.Module):
    def forward(self, x):
        return torch.full_like(x, float(os.environ.get("GOMP_SPINCOUNT", "0")))

def make(channels):
    return Spins()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are placed on Linux alone")
def test_an_arms_process_has_its_threads_placed_and_ours_has_not(tmp_path, monkeypatch):
    (tmp_path / "spinning_arm.py").write_text(SPINS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    own = replace(cell(), subject=OwnModule(factory="spinning_arm:make", channels=8))
    task = ArmTask(cell=own, device="cpu", outputs=tmp_path / "out.pt")
    worker, message = start_arm("first", task)
    with worker:
        worker.send(message)
        receive(worker, own)
    _, (left,) = torch.load(tmp_path / "out.pt", weights_only=True)["outputs"][""]
    assert left.unique().item() == 20_000
    assert dict(os.environ) == before


def test_what_cannot_fit_is_not_started_and_the_comparison_says_so(tmp_path, capsys):
    arguments = "--compare nb apnb --channels 8 --key-channels 4 --size 4096x4096 --device cpu"
    status = efficiency.main([*arguments.split(), "--out", str(tmp_path)])
    assert status == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "apnb against nb at 4096x4096: not compared (three processes by turns need" in said
    (kept,) = comparison.read_comparisons(tmp_path)
    assert (kept.failure.kind, kept.rounds) == ("foreseen", ())


class Silent:
    """A process that ended by a signal or goes on, and answers nothing."""

    def __init__(self, exitcode):
        self.exitcode = exitcode

    def receive(self, *, limit_s):
        return timeout_failure(limit_s) if self.exitcode is None else exit_failure(self.exitcode)


@pytest.mark.parametrize(
    ("exitcode", "kind", "reason"),
    [
        (-9, "out-of-memory", "apnb: the process was killed (signal 9)"),
        (3, "error", "apnb: the process died with exit status 3"),
        (None, "timeout", "apnb: not done after 5 s; ended"),
    ],
)
def test_a_process_that_dies_or_hangs_is_the_arms_failure(exitcode, kind, reason):
    with pytest.raises(ArmError) as seen:
        receive(Silent(exitcode), cell(time_limit_s=5))
    assert seen.value.failure.kind == kind
    assert reason in seen.value.failure.reason


def test_a_comparison_that_is_interrupted_leaves_the_finished_ones(tmp_path, monkeypatch):
    failed = comparison.Comparison.model_validate(
        {
            "first": {"arm": "nb", "cell": "a"},
            "second": {"arm": "apnb", "cell": "b"},
            "size": "9x7",
            "axes": {},
            "margin": 0.02,
            "level": 0.001,
            "failure": Failure(kind="error", reason="a trial"),
        }
    )
    outcomes = iter([failed])

    def compare(*_, **__):
        for outcome in outcomes:
            return outcome
        raise KeyboardInterrupt

    monkeypatch.setattr(paired, "compare", compare)
    with pytest.raises(KeyboardInterrupt):
        paired.compare_arms(
            [(cell(), cell())] * 2, tmp_path, device="cpu", settings=paired.Settings()
        )
    with (tmp_path / "comparisons.jsonl").open("a") as file:
        file.write('{"first": {"arm": "torn')
    assert comparison.read_comparisons(tmp_path) == (failed,)


def test_a_line_that_is_no_comparison_is_named(tmp_path):
    (tmp_path / "comparisons.jsonl").write_text('{"margin": 0.02}\n')
    with pytest.raises(ValueError, match=r"comparisons\.jsonl:1: first: Field required"):
        comparison.read_comparisons(tmp_path)
