"""Processes of cells that die, hang or lose their parent."""

import errno
import multiprocessing
import os
import select
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ann.spec import Size
from bench.compare import turns
from bench.compare.rounds import Player
from bench.records.failure import error_failure
from bench.records.record import Failure
from bench.run import pool, runner
from bench.run import process as child
from experiments.spec import Cell, OwnModule

ROOT = Path(__file__).resolve().parents[3]
# A block that says so when it runs and holds on to the pipe, whose end therefore is that of its process.
OWN = """
import os, signal
from torch import nn

class Endless(nn.Module):
    def forward(self, x):
        if x.device.type != "meta":
            os.write(os.open(os.environ["SAID"], os.O_WRONLY), b"!")
            signal.pause()
        return x
"""
# A block that has work done by processes of its own, as the loader of a training has.
PARENTAL = """
import multiprocessing
from torch import nn

def idle():
    pass

class Parental(nn.Module):
    def forward(self, x):
        if x.device.type != "meta":
            child = multiprocessing.get_context("spawn").Process(target=idle)
            child.start()
            child.join()
            assert child.exitcode == 0
        return x
"""
CELLS = tuple(
    Cell(
        experiment="test",
        axes={"block": str(number)},
        subject=OwnModule(factory="endless:Endless", channels=number),
        size=Size(height=2, width=2),
        probes=("timing",),
    )
    for number in (1, 2)
)
PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from bench.run import pool, runner
from tests.bench.run.test_process import CELLS
list(runner.run_cells(CELLS, Path({folder!r}), source="measured", device="cpu", engine=pool.local(2), slots=2))
"""
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def said(tmp_path, monkeypatch):
    """The reading end of a pipe that the cells' processes write to."""
    (tmp_path / "endless.py").write_text(OWN)
    os.mkfifo(tmp_path / "said")
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.syspath_prepend(tmp_path)
    end = os.open(tmp_path / "said", os.O_RDONLY | os.O_NONBLOCK)
    yield end
    os.close(end)


def hear(end, count):
    """Read so much, or all that comes until nobody can write any more."""
    heard = b""
    while len(heard) < count:
        assert select.select([end], [], [], 60)[0], "nothing was said for a minute"
        new = os.read(end, count - len(heard))
        if not new:
            break
        heard += new
    return heard


@pytest.fixture
def parental(tmp_path, monkeypatch):
    """A cell whose block starts processes."""
    (tmp_path / "parental.py").write_text(PARENTAL)
    monkeypatch.syspath_prepend(tmp_path)
    subject = OwnModule(factory="parental:Parental", channels=1)
    return replace(CELLS[0], subject=subject, budget_s=0.01)


def test_a_cell_may_start_processes(parental):
    found = child.run_task(child.Task(cell=parental, device="cpu"))
    assert found.timings, found


def test_an_arm_may_start_processes(parental):
    with Player(turns.ArmTask(cell=parental, device="cpu")) as player:
        assert player.ready().call_s > 0


def test_cells_end_with_a_run_that_is_killed(tmp_path, said):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(folder=str(tmp_path))],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    ) as run:
        assert hear(said, 2) == b"!!"
        run.kill()
        killed_s = time.monotonic()
    assert hear(said, 1) == b""
    assert time.monotonic() - killed_s < 10


def test_whoever_stops_asking_ends_what_runs(tmp_path, said):
    engine = pool.local(2)
    failed = Failure(kind="error", reason="at once")

    def act(cell, slot):
        if cell is CELLS[0]:
            assert hear(said, 1) == b"!"
            return failed
        return child.run_task(child.Task(cell=cell, device="cpu"))

    records = engine(CELLS, act)
    assert next(records) is failed
    records.close()
    assert hear(said, 1) == b""


def test_a_limit_of_any_length_is_waited_for():
    cell = replace(CELLS[0], time_limit_s=float("inf"), subject=OwnModule(factory="none:at_all"))
    found = child.run_task(child.Task(cell=cell, device="cpu"))
    assert "can't import 'none'" in found.reason


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EAGAIN, "error"), (errno.ENOMEM, "out-of-memory")]
)
def test_a_process_that_cannot_be_started_is_a_failure(monkeypatch, number, kind):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", refuse)
    found = runner.measured_record(CELLS[0], runner.environment_of("cpu", CELLS[0]))
    assert (found.failure.kind, found.failure.reason) == (
        kind,
        f"no process could be started for it: {os.strerror(number)}",
    )


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGKILL, "out-of-memory", "was killed (signal 9); the machine was most likely out"),
        (signal.SIGSEGV, "error", "the process died of signal 11 (Segmentation fault)"),
        (0, "error", "the process died with exit status 3"),
    ],
)
def test_a_death_in_the_middle_of_the_answer_is_told_by_its_cause(number, kind, reason):
    ours, theirs = SPAWN.Pipe()
    with ours, theirs:
        process = SPAWN.Process(target=die, args=(theirs, number))
        process.start()
        theirs.close()
        found = child._Process(process, ours).ask(child.Task(cell=CELLS[0], device="cpu")).outcome
    assert found.kind == kind
    assert reason in found.reason


def die(connection, number):
    connection.recv()
    os.write(connection.fileno(), struct.pack("!i", 1000) + b"measures\n{")
    if number:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    os._exit(3)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("Unable to allocate 8 GiB"), "out-of-memory"),
        (
            RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory"),
            "out-of-memory",
        ),
        (RuntimeError("std::bad_alloc"), "out-of-memory"),
        (RuntimeError("CUDA error: out of memory"), "out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out-of-memory"),
        (RuntimeError("CUDA driver error: out of memory"), "out-of-memory"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "out-of-memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out-of-memory"),
        (OSError(errno.ENOSPC, "x.pt: could not be saved"), "error"),
        (ValueError("the loss is nan"), "error"),
    ],
)
def test_what_ran_out_of_memory_says_so_in_a_cell_and_in_an_arm(error, kind, monkeypatch):
    assert error_failure(error).kind == kind
    told = []

    def fail(*_):
        raise error

    monkeypatch.setattr(turns, "_serve", fail)
    monkeypatch.setattr(turns.os, "dup2", lambda *_: None)
    monkeypatch.setattr(turns, "offer_to_oom_killer", lambda: None)
    monkeypatch.setattr(turns.signal, "signal", lambda *_: None)
    turns.serve(None, SimpleNamespace(send=told.append))
    assert [item.kind for item in told] == [kind]
