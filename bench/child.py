"""One measurement in a process of its own, which may die, hang or fill the memory and harms no other.

It ends with the run that started it, however that ends: a run that is killed leaves nothing behind
that would take the machine from the next one, or write into the same checkpoint.
"""

import errno
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from bench.record import Failure, Measures
from experiments.spec import Cell

# Nothing that waits takes more: 23 days, in milliseconds nearly what an int holds.
LONGEST_S = 2e6
GRACE_S = 5.0
# What libraries say about memory in an error that has no type of its own.
NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "bad_alloc",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)

# Starting a process asks after all others, and of two threads that ask only one learns how it ended.
_ASKING = threading.Lock()
_RUNNING: set[SpawnProcess] = set()


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a cell's process is told.

    Attributes:
        cell: what to measure.
        device: where.
        folder: of the records, for what a training leaves beside them.
        slot: which of the cells that run at once this is.
        threads: its share of the processor; None if it has the machine to itself.
    """

    cell: Cell
    device: str
    folder: Path | None = None
    slot: int = 0
    threads: int | None = None


def run(task: Task) -> Measures | Failure:
    """Measure in a new process; whatever becomes of it is the outcome."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # Not a daemon, which may start no processes: the loader of a training does, and so may a block.
    child = context.Process(target=_main, args=(task, sender))
    with receiver:
        try:
            with sender, _ASKING:
                child.start()
                _RUNNING.add(child)
        except OSError as error:
            return _not_started(error)
        try:
            return _outcome(child, receiver, min(task.cell.time_limit_s, LONGEST_S))
        finally:
            _end(child)


def end_all() -> None:
    """End all that this process has running; who waits for one learns that it was killed."""
    with _ASKING:
        for child in _RUNNING:
            child.kill()


def _outcome(child: SpawnProcess, receiver: Connection, limit_s: float) -> Measures | Failure:
    try:
        if not receiver.poll(limit_s):
            reason = f"not done after {limit_s:.0f} s; ended"
            return Failure(kind="timeout", reason=reason)
        kind, text = receiver.recv_bytes().decode().split("\n", 1)
    except (EOFError, OSError):  # it died before its answer, or in the middle of it
        return _died(child, limit_s)
    model = Measures if kind == "measures" else Failure
    return model.model_validate_json(text)


def end(process: Any) -> None:  # noqa: ANN401 - multiprocessing's, or what is like it
    """Ask a process to end, and end it if it doesn't; it may have files to close."""
    process.terminate()
    process.join(GRACE_S)
    process.kill()
    process.join()


def _end(child: SpawnProcess) -> None:
    child.terminate()
    wait([child.sentinel], GRACE_S)
    child.kill()
    wait([child.sentinel])
    _join(child)
    with _ASKING:
        _RUNNING.discard(child)


def _join(child: SpawnProcess) -> int | None:
    with _ASKING:
        child.join()
        return child.exitcode


def _not_started(error: OSError) -> Failure:
    full = error.errno == errno.ENOMEM
    reason = f"no process could be started for it: {error.strerror}"
    return Failure(kind="out-of-memory" if full else "error", reason=reason)


def _died(child: SpawnProcess, limit_s: float) -> Failure:
    if not wait([child.sentinel], limit_s):
        return Failure(kind="timeout", reason="the process neither answers nor ends; ended")
    code = _join(child)
    if code == -signal.SIGKILL:
        reason = "the process was killed (signal 9); the machine was most likely out of memory"
        return Failure(kind="out-of-memory", reason=reason)
    if code is not None and code < 0:
        reason = f"the process died of signal {-code} ({signal.strsignal(-code)})"
        return Failure(kind="error", reason=reason)
    return Failure(kind="error", reason=f"the process died with exit status {code}")


def _main(task: Task, sender: Connection) -> None:
    """Measure in this process and send the outcome as text; what a module prints goes to standard error."""
    end_with_parent()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _offer_to_oom_killer()
    if task.threads is not None:
        _settle(task)
    try:
        from bench import readings  # brings torch, seconds

        found = readings.measure(task.cell, task.device, task.folder)  # type: ignore[arg-type]
        text = "measures\n" + found.model_dump_json()
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a cell is that cell's record
        text = "failure\n" + _failure(error).model_dump_json()
    sender.send_bytes(text.encode())


def end_with_parent() -> None:
    """End this process when the one that started it ends, which may be killed before it can say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"

    def watch() -> None:
        parent.join()
        os._exit(1)

    # Not the kernel's signal at the death of a parent: that comes when the thread ends that started us.
    threading.Thread(target=watch, name="parent", daemon=True).start()


def _offer_to_oom_killer() -> None:
    """Ask the kernel to end this process rather than the run, should memory end."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _settle(task: Task) -> None:
    """Take this slot's GPU, or its share of the processor, before torch is loaded."""
    if task.device == "cuda":
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = shown.split(",") if shown else None
        os.environ["CUDA_VISIBLE_DEVICES"] = names[task.slot] if names else str(task.slot)
    else:
        os.environ["OMP_NUM_THREADS"] = str(task.threads)


def _failure(error: Exception) -> Failure:
    # By name, as torch itself may be what did not fit.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    full = full or any(words in str(error) for words in NO_MEMORY)
    if type(error).__name__ == "UnavailableError":  # of ann.implementations
        return Failure(kind="unavailable", reason=one_line(error))
    return Failure(kind="out-of-memory" if full else "error", reason=one_line(error))


def one_line(error: Exception) -> str:
    """Name and first line of an error, short enough for a table's note."""
    text = str(error).strip().split("\n", 1)[0][:300]
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
