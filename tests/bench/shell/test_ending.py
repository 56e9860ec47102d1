"""Ctrl-C, a scheduler's end and a closed pipe: within seconds, with where records are, and no process left."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bench import __main__ as door
from bench import shell
from bench.shell import ending

ROOT = Path(__file__).resolve().parents[3]
# A command that has a worker, and waits as one does whose operator takes long.
COMMAND = """
import signal, sys, time
from contextlib import nullcontext
from pathlib import Path
from bench import cli, shell
from bench.workers import Worker
def main(_):
    with cli.locked(Path(sys.argv[1])), Worker("time:sleep") as worker:
        worker.send(600)
        with shell.undisturbed() if sys.argv[2] == "operator" else nullcontext():
            print(worker.process.pid, flush=True)
            time.sleep(600)
# A background job of a script is told to ignore Ctrl-C, and this test with it.
signal.signal(signal.SIGINT, signal.default_int_handler)
shell.guarded("prog", main)
"""


def started(folder, waits_in):
    command = [sys.executable, "-c", COMMAND, str(folder), waits_in]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes)
    return running, int(running.stdout.readline())


def is_gone(pid):
    """Whether a process ends within two seconds: one that was killed is there until the system has taken it down."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        _, left = psutil.wait_procs([process], timeout=2)
        return not left or process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("waits_in", ["python", "operator"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_its_workers_within_seconds(tmp_path, number, waits_in):
    (tmp_path / "records.jsonl").write_text("{}\n")
    running, worker = started(tmp_path, waits_in)
    began_s = time.monotonic()
    os.killpg(running.pid, number) if number == signal.SIGINT else os.kill(running.pid, number)
    _, said = running.communicate(timeout=30)
    spent_s = time.monotonic() - began_s
    assert running.returncode == shell.INTERRUPTED
    assert said == (
        f"prog: interrupted; finished records are in {tmp_path}; to go on: prog {tmp_path} {waits_in}\n"
    )
    assert is_gone(worker)
    assert spent_s < 6  # 1.3 where nothing else runs


def test_what_a_run_was_told_to_ignore_stays_ignored():
    code = (
        "import signal; from bench import shell; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "def main(_): signal.raise_signal(signal.SIGHUP); return 0\n"
        "shell.guarded('prog', main)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_who_has_read_enough_gets_no_error():
    code = (
        "from bench import shell\n"
        "def main(_):\n    for _ in range(100000): print('a line')\n    return 0\n"
        "shell.guarded('prog', main)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, **pipes) as running:
        running.stdout.readline()
        running.stdout.close()
        assert "standard output was closed" in running.stderr.read()
    assert running.returncode == shell.INTERRUPTED


def test_an_interruption_waits_for_what_is_undisturbed(monkeypatch):
    ending = shell.ending._Ending("prog")
    monkeypatch.setattr(ending, "watch", lambda: None)
    done = []

    def act():
        with shell.undisturbed():
            ending._interrupt(signal.SIGINT, None)
            done.append("the whole of it")

    with pytest.raises(KeyboardInterrupt):
        act()
    assert done == ["the whole of it"]


def test_to_go_on_nothing_is_measured_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prog", "--fresh", "--size", "3x4"])
    (tmp_path / "records.jsonl").write_text("{}\n")
    with shell.keeps_records(tmp_path, goes_on=True):
        text = ending.again()
    assert text == f"finished records are in {tmp_path}; to go on: prog --size 3x4"


def test_where_nothing_is_finished_no_records_are_promised(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["prog", "--size", "3x4"])
    with shell.keeps_records(tmp_path, goes_on=True):
        assert ending.again() == "nothing was finished; to begin again: prog --size 3x4"


# Once each is in the middle of its work.
COMMANDS = {
    "bench.efficiency --block nb apnb --size 128x96": 15,
    "bench.efficiency --compare nb apnb --size 96x96": 15,
    "bench.efficiency --fits": 10,
    "bench.ablations --table 7 --slots 2": 30,
    "bench.regress --base HEAD --block apnb": 15,
    "bench.reference": 15,
    "bench.reference --look": 15,
    "bench.validate --harness --real 2": 15,
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_and_leaves_no_process(command, tmp_path):
    arguments = [sys.executable, "-m", *command.split(), "--out", str(tmp_path)]
    running = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(COMMANDS[command])
    own = psutil.Process(running.pid)
    processes = own.children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == shell.INTERRUPTED
    assert ": interrupted; " in said.splitlines()[-1]
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


def test_a_command_is_told_as_it_was_typed(monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["/home/somebody/bin/ann-bench", "efficiency", "--size", "8x8"]
    )
    ran = []
    monkeypatch.setattr(shell, "guarded", lambda program, main: ran.append((program, sys.argv[1:])))
    door.main()
    assert ran == [(f"{door.COMMAND} efficiency", ["--size", "8x8"])]


def test_the_command_line_names_no_interpreter_and_no_script(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/clone/bench/efficiency.py", "--size", "8x8", "--fresh"])
    monkeypatch.setattr(ending, "_program", "python -m bench.efficiency")
    assert ending.command_line(leave_out=("--fresh",)) == "python -m bench.efficiency --size 8x8"


def test_what_is_not_installed_is_one_line_with_what_to_do(capsys):
    def main(_):
        import none_such_package  # noqa: F401

    with pytest.raises(SystemExit) as end:
        shell.guarded("prog", main)
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n")) == (shell.WRONG, 1)
    assert said.startswith("prog: error: none_such_package is not installed for ")
    assert "uv sync" in said


def test_a_module_of_ours_that_is_not_there_is_no_wrong_input():
    def main(_):
        import bench.none_such  # noqa: F401

    with pytest.raises(ModuleNotFoundError):
        shell.guarded("prog", main)
