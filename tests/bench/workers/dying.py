"""A process that dies as the variable DEATH says, asked as a cell, an arm, a side of the gate and a counter are."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

from ann.spec import Size
from bench.compare.rounds import ArmError, receive
from bench.measure import other_counters
from bench.regression import examine
from bench.regression.requests import Ask, outline
from bench.regression.revisions import RevisionSide
from bench.run import process
from bench.workers import ForkServer, Worker, can_fork
from experiments.spec import Cell, OwnModule

ROOT = Path(__file__).resolve().parents[3]
CELL = Cell(
    experiment="test",
    axes={"block": "apnb"},
    subject=OwnModule(factory="a:b"),
    size=Size(width=5, height=4),
)


def die():
    """Die, or tell a pipe who this is and wait."""
    death = os.environ["DEATH"]
    if death == "no memory":
        msg = "CUDA error: out of memory"
        raise RuntimeError(msg)
    if death.startswith("signal"):
        number = int(death.split()[1])
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    if death == "exit":
        os.close(2)
        os._exit(1)
    if death != "hang":
        Path(death).write_text(str(os.getpid()))
    time.sleep(100)


def at_once():
    """Die at the first message."""
    yield
    die()


def when_ready():
    """Die at the second message."""
    yield
    yield "ready"
    die()


def of_cell(limit_s):
    with mock.patch.object(process, "TARGET", f"{__name__}:at_once"):
        cell = replace(CELL, time_limit_s=limit_s)
        return process.run_task(process.Task(cell=cell, device="cpu"))


def of_spawned_cell(limit_s):
    # As under Windows.
    with mock.patch.object(os, "fork"):
        del os.fork
        return of_cell(limit_s)


def of_arm(limit_s):
    with Worker(f"{__name__}:at_once") as worker:
        worker.send("first")
        try:
            return receive(worker, replace(CELL, time_limit_s=limit_s))
        except ArmError as error:
            reason = error.failure.reason.removeprefix("apnb: ")
            return error.failure.model_copy(update={"reason": reason})


def of_side(limit_s, server=None):
    def worker(side, target, server):
        name, there = f"{__name__}:when_ready", {"folder": side.path, "server": server}
        return Worker(name, python=side.python, variables=side.variables, **there)

    def limited(ask):
        return replace(outline(ask), time_limit_s=limit_s)

    side = RevisionSide(name="base", commit="c", code="0", path=ROOT, python=sys.executable)
    with (
        mock.patch.object(RevisionSide, "worker", worker),
        mock.patch.object(examine, "outline", limited),
        examine.Examiner(side, "cpu", server=server) as examiner,
    ):
        ask = Ask(arm="apnb", size="5x4")
        return examiner.examine(ask, weights=Path("w"), outputs=Path("o")).failure


def of_forked_side(limit_s):
    # As both sides of the gate are, under Linux.
    with ForkServer(()) as server:
        return of_side(limit_s, server)


def of_counter(limit_s):
    with (
        mock.patch.object(other_counters, "_count_here", side_effect=lambda _: die()),
        mock.patch.object(other_counters, "TOOL_LIMIT_S", limit_s),
    ):
        return other_counters.count_with(other_counters.Tool("own", "pytest", len), CELL)


ASKED = {
    "cell": of_cell,
    "spawned cell": of_spawned_cell,
    "arm": of_arm,
    "side": of_side,
    "counter": of_counter,
}
if can_fork():
    ASKED["forked side"] = of_forked_side
