"""Workers: what they answer, and what becomes of one that does not."""

import errno
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.compare.turns import Ready
from bench.records.failure import error_failure
from bench.records.record import Failure, MeasuredMemory
from bench.workers import child, worker
from bench.workers.worker import Worker
from tests.bench.workers.answering import call

ROOT = Path(__file__).resolve().parents[3]
HERE = "tests.bench.workers.answering"


def of_another_interpreter(target):
    return Worker(f"{HERE}:{target}", python=sys.executable, variables={"PYTHONPATH": str(ROOT)})


def test_a_function_answers_one_message():
    with Worker(f"{HERE}:double") as process:
        assert process.ask(21, limit_s=60) == 42
        assert not process.goes_on
        assert process.ask(21, limit_s=60).reason == "the process died with exit status 0"


def test_a_generator_answers_until_it_returns():
    with Worker(f"{HERE}:count") as process:
        answers = [(process.ask(None, limit_s=60), process.goes_on) for _ in range(3)]
    assert answers == [(1, True), (2, True), (3, False)]


@pytest.mark.parametrize("where", ["here", "there"])
def test_what_a_target_prints_is_no_result(where):
    make = of_another_interpreter if where == "there" else lambda name: Worker(f"{HERE}:{name}")
    with make("where_it_prints") as process:
        assert process.ask(None, limit_s=60) is True


def test_an_interruption_is_the_runs_alone():
    # A terminal sends it to all processes; the run ends the others.
    assert call(f"{HERE}:interrupted", None, limit_s=60) == "goes on"


def test_a_target_that_is_not_there_is_a_failure():
    outcome = call("none_at_all:target", None, limit_s=60)
    assert outcome.reason == "ModuleNotFoundError: No module named 'none_at_all'"


def test_a_worker_that_cannot_be_started_answers_so(tmp_path):
    before = set(worker.RUNNING)
    with Worker(f"{HERE}:double", python=str(tmp_path / "python")) as process:
        assert process.is_gone()
        reason = "no process could be started for it: No such file or directory"
        assert process.ask(1, limit_s=60) == Failure(kind="error", reason=reason)
    assert before == worker.RUNNING


def test_after_its_limit_a_worker_answers_no_more():
    with Worker("time:sleep") as process:
        for _ in range(2):
            answer = process.ask(60, limit_s=0.1)
            assert (answer.kind, answer.reason) == ("timeout", "not done after 0 s; ended")
    assert process.process.returncode == -signal.SIGTERM


def test_the_last_line_of_another_interpreter_is_the_reason_of_its_death():
    with of_another_interpreter("last_words") as process:
        answer = process.ask("Fatal: gone", limit_s=60)
        assert process.last_words() == "Fatal: gone"
    assert answer.reason == "the process died with exit status 3: Fatal: gone"


def test_another_interpreter_that_dies_of_a_signal_says_where_it_was():
    with of_another_interpreter("dies_of_a_signal") as process:
        answer = process.ask("no luck", limit_s=60)
    assert answer.reason.startswith(
        "the process died of signal 11 (Segmentation fault): no luck, in "
    )
    assert re.search(r"in <lambda> \(.*answering.py, line \d+\)$", answer.reason)


def test_all_are_ended_at_once():
    with Worker("time:sleep") as process:
        process.send(60)
        worker.end_all()
        assert process.receive(limit_s=60).reason.startswith("the process was killed (signal 9)")


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGKILL, "out-of-memory", "was killed (signal 9); the machine was most likely out"),
        (signal.SIGSEGV, "error", "the process died of signal 11 (Segmentation fault)"),
        (0, "error", "the process died with exit status 3"),
    ],
)
def test_a_death_in_the_middle_of_the_answer_is_told_by_its_cause(number, kind, reason):
    found = call(f"{HERE}:dies_in_its_answer", number, limit_s=60)
    assert found.kind == kind
    assert reason in found.reason


@pytest.mark.parametrize(
    "item",
    [
        7,
        {"process": 0.5},
        Ready(call_s=0.1, memory=MeasuredMemory(high_water_bytes=5)),
        Failure(kind="error", reason="r\n\u2028"),
    ],
)
@pytest.mark.parametrize("form", ["json", "pickle"])
def test_items_come_out_of_a_connection_as_they_went_in(item, form):
    assert child.decode(child.encode([item, True], form), form) == [item, True]


def test_a_worker_of_another_interpreter_answers_in_json():
    with of_another_interpreter("double") as process:
        assert process.ask("ab", limit_s=60) == "abab"


def test_a_fork_answers_with_what_is_loaded_here():
    answer = child.ask_in_fork(lambda message: (message, "pytest" in sys.modules), 3, limit_s=60)
    assert answer == (3, True)


def test_a_worker_is_offered_to_the_oom_killer():
    if not Path("/proc/self/oom_score_adj").exists():
        pytest.skip("no such file on this system")
    command = [
        "-c",
        "from bench.workers import child; child.offer_to_oom_killer(); print(open('/proc/self/oom_score_adj').read())",
    ]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1000"


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
def test_what_ran_out_of_memory_says_so_wherever_it_is_raised(error, kind, monkeypatch):
    assert error_failure(error).kind == kind

    def fail(_):
        raise error

    sent = []
    monkeypatch.setattr(child, "find_target", lambda _: fail)
    connection = SimpleNamespace(
        recv_bytes=lambda: child.encode("message", "pickle"), send_bytes=sent.append
    )
    child.answer_all(connection, "module:target")
    (answer,) = (child.decode(data, "pickle") for data in sent)
    assert (answer[0].kind, answer[1]) == (kind, False)
    assert child.ask_in_fork(fail, None, limit_s=60).kind == kind
