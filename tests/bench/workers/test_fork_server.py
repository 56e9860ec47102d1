"""Forks of a server: fresh, as any other worker in what they answer and how they end."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from bench.workers import ForkServer, Worker, can_fork

HERE = "tests.bench.workers.answering"
DYING = "tests.bench.workers.dying"
pytestmark = pytest.mark.skipif(not can_fork(), reason="forks are watched under Linux since 5.3")


@pytest.fixture(scope="module")
def server():
    with ForkServer((HERE, DYING)) as server:
        yield server


def test_a_fork_answers_until_it_returns(server):
    with Worker(f"{HERE}:count", server=server) as process:
        answers = [(process.ask(None, limit_s=60), process.goes_on) for _ in range(3)]
    assert answers == [(1, True), (2, True), (3, False)]


def test_each_fork_is_fresh(server):
    seen = []
    for _ in range(2):
        with Worker(f"{HERE}:remember", server=server) as process:
            seen.append(process.ask("x", limit_s=60))
    assert seen == [1, 1]


def test_what_the_server_loads_is_there_and_nothing_runs(server):
    with Worker(f"{HERE}:loaded", server=server) as process:
        modules, threads = process.ask(DYING, limit_s=60)
    assert modules
    assert threads == 2  # one watches for the end of who started it


def test_a_fork_takes_folder_variables_and_path(server, tmp_path):
    (tmp_path / "of_this_side.py").write_text(
        "import os\n\ndef where(_):\n    return os.getcwd(), os.environ['SIDE']\n"
    )
    root = Path(__file__).resolve().parents[3]
    variables = {**os.environ, "SIDE": "head", "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    worker = Worker("of_this_side:where", server=server, folder=tmp_path, variables=variables)
    with worker as process:
        assert list(process.ask(None, limit_s=60)) == [str(tmp_path), "head"]


BOUND = """
import os
from bench.workers import leave_core

# As OpenMP does to the thread that loads it.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

def cores(leaves):
    if leaves:
        leave_core()
    return len(os.sched_getaffinity(0))
"""


@pytest.mark.skipif(
    not can_fork() or len(os.sched_getaffinity(0)) < 2, reason="one core is all that there is"
)
def test_a_fork_may_use_all_cores_again_of_a_server_that_was_bound_to_one(tmp_path, monkeypatch):
    (tmp_path / "of_one_core.py").write_text(BOUND)
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    with ForkServer(["of_one_core"]) as server:
        for leaves in (False, True):
            with Worker("of_one_core:cores", server=server) as process:
                found.append(process.ask(leaves, limit_s=60))
    assert found == [1, len(os.sched_getaffinity(0))]


@pytest.mark.parametrize(
    ("death", "reason"),
    [
        (f"signal {signal.SIGKILL:d}", "the process was killed (signal 9)"),
        (f"signal {signal.SIGSEGV:d}", "the process died of signal 11"),
        ("exit", "the process died with exit status 1"),
        ("hang", "not done after 1 s; ended"),
    ],
)
def test_the_death_of_a_fork_has_its_usual_name(server, death, reason):
    variables = {**os.environ, "DEATH": death}
    with Worker(f"{DYING}:at_once", server=server, variables=variables) as process:
        answer = process.ask(None, limit_s=1.0 if death == "hang" else 60.0)
    assert answer.reason.startswith(reason)


def test_what_a_fork_writes_is_kept_for_the_reason_of_its_death():
    with (
        ForkServer((HERE,), python=sys.executable) as server,
        Worker(f"{HERE}:last_words", server=server, python=sys.executable) as process,
    ):
        answer = process.ask("Fatal: gone", limit_s=60)
    assert answer.reason == "the process died with exit status 3: Fatal: gone"


def test_nothing_outlives_a_server_that_is_ended():
    with ForkServer((HERE,)) as server:
        process = Worker("time:sleep", server=server).start()
        process.send(60)
        child = psutil.Process(process.process.pid)
    child.wait(10)
    assert process.receive(limit_s=60).reason.startswith("the process was killed (signal 9)")


def test_without_its_server_a_worker_can_not_be_started():
    with ForkServer((HERE,)) as server:
        server.process.kill()
        server.process.wait()
        with Worker(f"{HERE}:double", server=server) as process:
            assert process.ask(1, limit_s=60).reason.startswith(
                "no process could be started for it"
            )
