"""Processes of cells that die, hang or lose their parent."""

import errno
import os
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.compare import rounds, turns
from bench.records.record import Failure
from bench.run import job_records, pool, process
from experiments.spec import Cell, OwnModule

ROOT = Path(__file__).resolve().parents[3]
# A block that says so when it runs and holds on to the pipe, whose end therefore is that of its process.
OWN = """
import os, signal
from torch import nn

class Endless(nn.Module):
    def forward(self, x):
        if type(x).__name__ == "Tensor":  # it has values: no prediction
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
        if type(x).__name__ == "Tensor":  # it has values: no prediction
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


@pytest.mark.slow
def test_a_cell_may_start_processes(parental):
    cell = replace(parental, probes=("memory", "timing"), time_limit_s=float("inf"))
    found = process.run_task(process.Task(cell=cell, device="cpu"))
    assert found.timings, found
    assert found.memory is not None


COUNTED = """
import os
from torch import nn

class Counted(nn.Module):
    def forward(self, x):
        if type(x).__name__ == "Tensor":  # it has values: no prediction
            with open(os.environ["SAID"], "a") as file:
                print(os.getpid(), file=file)
            if os.environ.get("DIES") and x.shape[-1] == 2:
                os._exit(3)
        return x
"""


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A cell whose block writes down in which process it runs."""
    (tmp_path / "counted.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    subject = OwnModule(factory="counted:Counted", channels=1)
    return replace(CELLS[0], subject=subject, probes=("memory", "timing"), budget_s=0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no reading of memory")
def test_nothing_is_timed_in_the_process_in_which_memory_was_read(counted, tmp_path):
    assert process.run_task(process.Task(cell=counted, device="cpu")).timings
    first, *others = (tmp_path / "said").read_text().split()
    calls = 2  # both of the size
    assert others[: calls - 1] == [first] * (calls - 1)
    assert len(set(others[calls - 1 :])) == 1
    assert others[-1] != first


def test_memory_by_the_papers_procedure_is_not_ours(counted):
    cell = replace(counted, protocol="paper", subject=BLOCKS["apnb"], budget_s=0.01)
    found = process.run_task(process.Task(cell=cell, device="cpu"))
    assert (found.memory, len(found.timings)) == (None, 1), found


def test_a_death_while_memory_is_read_is_the_cells(counted, monkeypatch):
    monkeypatch.setenv("DIES", "yes")
    found = process.run_task(process.Task(cell=counted, device="cpu"))
    reason = "the process died with exit status 3; made by Counted()"
    assert found == Failure(kind="error", reason=reason)


@pytest.mark.slow
def test_an_arm_may_start_processes(parental):
    worker, message = rounds.start_arm("first", turns.ArmTask(cell=parental, device="cpu"))
    with worker:
        worker.send(message)
        assert rounds.receive(worker, parental).call_s > 0


@pytest.mark.slow
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
        return process.run_task(process.Task(cell=cell, device="cpu"))

    records = engine(CELLS, act)
    assert next(records) is failed
    records.close()
    assert hear(said, 1) == b""


def test_a_limit_of_any_length_is_waited_for():
    cell = replace(CELLS[0], time_limit_s=float("inf"), subject=OwnModule(factory="none:at_all"))
    found = process.run_task(process.Task(cell=cell, device="cpu"))
    assert "can't import 'none'" in found.reason


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EAGAIN, "error"), (errno.ENOMEM, "out-of-memory")]
)
def test_a_process_that_cannot_be_started_is_a_failure(monkeypatch, number, kind):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    found = job_records.measured_record(CELLS[0], job_records.environment_of("cpu", CELLS[0]))
    assert (found.failure.kind, found.failure.reason) == (
        kind,
        f"no process could be started for it: {os.strerror(number)}",
    )
