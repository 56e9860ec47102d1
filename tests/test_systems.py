"""What works on macOS and Windows works, and what does not says so in a line; both by what Linux has and they lack."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ann.spec import Size
from bench import cli, shell
from bench.compare.instructions import open_counter
from bench.measure.memory import measure_cpu
from bench.records import Failure, MeasuredMemory
from bench.regression import revisions
from bench.run import environment, process
from bench.workers import Worker, ask_in_fork, can_fork
from bench.workers.child import leave_interruptions, uninterrupted
from experiments import select

ROOT = Path(__file__).resolve().parents[1]
# What Python has on Linux alone, or nowhere on Windows.
OF_LINUX = ("sched_getaffinity", "pidfd_open", "posix_fallocate")
OF_POSIX = (*OF_LINUX, "fork", "getloadavg")
TIMED = select.arm_cell(
    "nb", Size(width=9, height=7), experiment="e", **select.USUAL, input_gradient=False
)


@pytest.fixture(params=["darwin", "win32"])
def elsewhere(request, monkeypatch):
    """This process as if on another system."""
    for name in OF_LINUX if request.param == "darwin" else OF_POSIX:
        monkeypatch.delattr(os, name, raising=False)
    if request.param == "win32":
        monkeypatch.delattr(signal, "pthread_sigmask")
        monkeypatch.delattr(signal, "SIGHUP")
        # Since Python 3.12 it asks Windows itself.
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(sys, "platform", request.param)
    return request.param


def test_nothing_is_forked_elsewhere(elsewhere):
    assert not can_fork()
    task = process.Task(cell=TIMED, device="cpu")
    assert not process.forks(task)
    assert not process.reads_apart(TIMED, "cpu")


def test_a_machine_is_described_elsewhere(elsewhere):
    where = environment.describe("cpu")
    assert where.memory_bytes > 0
    assert where.threads > 0


def test_a_processor_without_proc_has_a_name(tmp_path):
    assert environment.processor_name(tmp_path / "none")


def test_without_proc_there_is_no_high_water_mark(tmp_path):
    assert measure_cpu(lambda: None, tmp_path / "none") == MeasuredMemory()


def test_instructions_say_why_they_are_not_counted(elsewhere):
    with pytest.raises(OSError, match=f"not known how on {elsewhere}"):
        open_counter()


def test_a_folder_is_locked_elsewhere(elsewhere, tmp_path):
    with cli.locked(tmp_path / "out") as folder:
        assert folder.is_dir()


def test_a_process_is_started_without_masks(monkeypatch):
    monkeypatch.delattr(signal, "pthread_sigmask")
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        leave_interruptions()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


def test_signals_that_a_system_lacks_are_left_out(elsewhere):
    ending = shell.ending._Ending("prog")
    ending.listen()
    ending.restore()
    assert ("SIGHUP" in {signal.Signals(each).name for each in ending._before}) == (
        elsewhere == "darwin"
    )


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.delattr(os, "fork", raising=False)  # under Windows itself it is not there


def test_a_worker_is_started_without_a_fork(windows):
    with Worker("tests.bench.workers.answering:count") as worker:
        answers = [(worker.ask(None, limit_s=60), worker.goes_on) for _ in range(3)]
        assert answers == [(1, True), (2, True), (3, False)]
        assert worker.ask(None, limit_s=60).reason == "the process died with exit status 0"
    assert worker.is_gone()


def test_a_worker_without_a_fork_runs_where_it_is_told_to(windows, tmp_path):
    log = tmp_path / "log.txt"
    there = {"folder": tmp_path, "log": log, "variables": {**os.environ, "SAID": "so"}}
    with Worker("tests.bench.workers.answering:where_it_is", **there) as worker:
        assert worker.ask("SAID", limit_s=60) == (str(tmp_path), "so")
    assert log.read_text() == "on the way\n"


def test_what_wants_a_fork_is_not_there(windows):
    outcome = ask_in_fork(len, "abc", limit_s=60)
    assert (outcome.kind, outcome.reason) == ("unavailable", "this system makes no forks")


def test_another_interpreter_is_not_asked(windows):
    with Worker("time:sleep", python=sys.executable) as worker:
        outcome = worker.ask(0, limit_s=60)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.reason.partition(";")[2]) == (
        "unavailable",
        " use Linux, macOS or WSL",
    )


def test_revisions_are_refused_with_the_other_way(windows):
    with (
        pytest.raises(ValueError, match="pass two folders of records"),
        revisions.sides(ROOT, "HEAD", None),
    ):
        pass


# What Windows has not, taken from each process as it starts; packages have some of their own for each system.
WITHOUT = """
import os, sys
import filelock, matplotlib.pyplot, pandas, psutil, scipy.special, torch
import multiprocessing.resource_tracker, multiprocessing.popen_spawn_posix
sys.modules.update(dict.fromkeys(("fcntl", "resource", "termios", "pwd", "grp", "pty", "tty")))
for name in ("fork", "sched_getaffinity", "pidfd_open", "posix_fallocate", "getloadavg"):
    delattr(os, name)
sys.platform = "none"
"""
RUN = """
import bench.ablations, bench.efficiency, bench.reference, bench.regress, bench.validate, reports.__main__
sys.exit(bench.efficiency.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_block_is_counted_and_timed_without_what_windows_lacks(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    given = "--channels 8 --key-channels 4 --size 9x7 --block nb --budget 1 --json --out".split()
    command = [sys.executable, "-c", f"import sys{RUN}", *given, str(tmp_path / "out")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout)["records"]
    assert predicted["measures"]["counts"]["macs"] > 0
    assert {each["clock"] for each in measured["measures"]["timings"]} == {"process", "wall"}
