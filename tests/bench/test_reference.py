import subprocess

from bench import reference
from bench.record import Failure, Record
from experiments.catalogue import EXPERIMENTS


def made(**fields):
    return Record(
        source="measured", experiment="e", cell="c", subject="nb", axes={}, size="1x1", **fields
    )


def test_everything_is_planned_in_order_of_worth():
    planned = reference.planned()
    assert len(planned) > sum(len(item.cells) for item in EXPERIMENTS.values())
    assert list(dict.fromkeys(cell.experiment for cell in planned)) == list(reference.ORDER)


def test_nothing_is_begun_when_the_time_is_up(tmp_path):
    clock = reference.Clock(limit_s=5, now=lambda: 5.0)
    assert list(reference.measured(reference.planned(), tmp_path, device="cpu", clock=clock)) == []


def test_what_was_begun_in_time_is_predicted_then_measured(tmp_path, monkeypatch):
    moments = iter([0.0, 1.0, 9.0])
    clock = reference.Clock(limit_s=8, now=lambda: next(moments))
    asked = []

    def run(cells, out, *, source, device):
        asked.append((source, cells[0].time_limit_s))
        return iter(())

    monkeypatch.setattr("bench.runner.run", run)
    assert list(reference.measured(reference.planned(), tmp_path, device="cpu", clock=clock)) == []
    assert asked == [("predicted", 600.0), ("measured", 2.0)]


def test_the_summary_says_what_is_missing_and_what_failed():
    cells = reference.planned()[:3]
    records = (made(), made(failure=Failure(kind="timeout", reason="not done after 3 s; ended")))
    text = reference.summary(records, cells, clock=reference.Clock(limit_s=60, now=lambda: 50.0))
    assert text.splitlines() == [
        "1 of 3 cells measured in 50 s",
        "1 not begun: the time was up; call again to go on",
        "nb 1x1 eval: timeout: not done after 3 s; ended",
    ]


def test_the_gpu_tests_leave_their_output_and_say_how_they_ended(tmp_path, capsys, monkeypatch):
    class Done:
        returncode = 0

    def run(command, *, stdout, **_):
        assert command[-4:-2] == ["-m", "gpu"]
        stdout.write("dots\n3 passed in 1 s\n")
        return Done()

    monkeypatch.setattr(reference.subprocess, "run", run)
    assert reference._run_tests(tmp_path / "log.txt", limit_s=5) == 0
    assert capsys.readouterr().out == "GPU tests: 3 passed in 1 s; see log.txt\n"


def test_gpu_tests_that_take_too_long_are_ended_and_said_so(tmp_path, capsys, monkeypatch):
    def run(command, *, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(reference.subprocess, "run", run)
    assert reference._run_tests(tmp_path / "log.txt", limit_s=5) == 1
    assert capsys.readouterr().out == "GPU tests: not done after 5 s; see log.txt\n"


def test_the_command_measures_into_its_folder_and_says_how_far_it_came(tmp_path, capsys):
    arguments = [
        "--minutes",
        "0.0001",
        "--no-tests",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    assert reference.main(arguments) == 0
    assert "cells measured in" in capsys.readouterr().out
