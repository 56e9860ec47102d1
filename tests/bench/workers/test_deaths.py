"""The same death has the same name in a cell, an arm, a side of the gate and a counter."""

import os
import select
import signal
import subprocess
import sys
from multiprocessing import resource_tracker

import psutil
import pytest

from tests.bench.workers.dying import ASKED, ROOT

DEATHS = {
    "no memory": ("out-of-memory", "RuntimeError: CUDA error: out of memory"),
    f"signal {signal.SIGKILL:d}": (
        "out-of-memory",
        "the process was killed (signal 9); the machine was most likely out of memory",
    ),
    f"signal {signal.SIGSEGV:d}": (
        "error",
        "the process died of signal 11 (Segmentation fault)",
    ),
    "exit": ("error", "the process died with exit status 1"),
    "hang": ("timeout", "not done after 1 s; ended"),
}


# Of a cell what full memory and a hang bring, of all the death that leaves no word; the rest takes a minute.
PAIRS = [
    (who, death)
    if (who == "cell" and death in (f"signal {signal.SIGKILL:d}", "hang"))
    or death == f"signal {signal.SIGSEGV:d}"
    else pytest.param(who, death, marks=pytest.mark.slow)
    for death in DEATHS
    for who in ASKED
]


@pytest.mark.parametrize(("who", "death"), PAIRS)
def test_the_same_death_is_the_same_failure(monkeypatch, who, death):
    monkeypatch.setenv("DEATH", death)
    resource_tracker.ensure_running()  # by the first process that is spawned here; it stays
    before = psutil.Process().children()
    outcome = ASKED[who](1.0 if death == "hang" else 60.0)
    kind, reason = DEATHS[death]
    assert outcome.reason.startswith(reason)  # where an error is raised, its place stands behind
    assert who == "counter" or outcome.kind == kind  # a tool's row has a reason alone
    assert set(psutil.Process().children()) <= set(before)


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(who, marks=[] if who in ("cell", "forked side") else pytest.mark.slow)
        for who in ASKED
    ],
)
def test_nothing_outlives_a_run_that_is_killed(tmp_path, who):
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    code = f"from tests.bench.workers.dying import ASKED; ASKED[{who!r}](60.0)"
    environment = {**os.environ, "DEATH": str(fifo), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment) as run:
        assert select.select([reader], [], [], 60)[0]
        child = psutil.Process(int(os.read(reader, 99)))
        os.close(reader)
        run.kill()
    child.wait(10)
