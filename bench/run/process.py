"""Measurements in processes that may die, hang or fill the memory, and harm no other.

They end with the run that started them, however that ends: a run that is killed leaves nothing behind
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
from typing import Any, NamedTuple, Self

from bench.records import NO_GRAPH, Failure, Measures, error_failure, exit_failure
from experiments.spec import Job, MachineCheck, Measurement, OwnModule

# Nothing that waits takes more: 23 days, in milliseconds nearly what an int holds.
LONGEST_S = 2e6
GRACE_S = 5.0
# Starting a process asks after all others, and of two threads that ask only one learns how it ended.
_ASKING = threading.Lock()
_RUNNING: set[SpawnProcess] = set()
# The process that cells share, between two of them.
_KEPT: "list[_Process]" = []
_KEEPING = threading.Lock()
# What a process does after an answer, as its first line says.
GOES_ON, ENDS = "goes on", "ends"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What a process is told to measure.

    Attributes:
        cell: what to measure.
        device: where.
        folder: of the records, for what a training leaves beside them.
        slot: which of the cells that run at once this is.
        threads: its share of the processor; None if it has the machine to itself.
        gpus: how many the machine has.
        waits_on_device: whether the process that asks has a context on the device, where it idles.
    """

    cell: Job
    device: str
    folder: Path | None = None
    slot: int = 0
    threads: int | None = None
    gpus: int = 1
    waits_on_device: bool = False


def run_task(task: Task) -> Measures | Failure:
    """Measure in a process that is not this one; whatever becomes of it is the outcome.

    On a GPU cells that leave a process as they found it follow one another in one, which is kept
    until `end_kept`: to load torch and CUDA takes longer there than most cells. All others have
    one of their own.
    """
    if shares(task):
        with _KEEPING:
            return _run_in_kept(task)
    end_kept()  # it would hold memory of the device, and be another process on it
    try:
        process = _Process.start()
    except OSError as error:
        return _not_started(error)
    with process:
        return process.ask(task).outcome


def shares(task: Task) -> bool:
    """Whether a cell may follow others in one process.

    Its readings then are what they would be in its own: memory is a rise over what stands, its peak
    is set back ahead of the call, and clocks wait until they are steady. But the paper's procedure
    never sets a maximum back, compiled code stays, somebody's own module may leave anything behind,
    and a training starts processes.
    """
    match task.cell:
        case Measurement() as cell:
            leaves_traces = (
                cell.protocol == "paper"
                or cell.implementation in ("compiled", "fast-compiled")
                or isinstance(cell.subject, OwnModule)
            )
        case other:
            leaves_traces = not (isinstance(other, MachineCheck) and other.reads == "ceilings")
    return task.device == "cuda" and task.threads is None and not leaves_traces


def end_kept() -> None:
    """End the process that cells share, if there is one."""
    with _KEEPING:
        while _KEPT:
            _KEPT.pop().end()


def _run_in_kept(task: Task) -> Measures | Failure:
    process = _KEPT.pop() if _KEPT else None
    if process is not None and process.is_gone():
        process.end()
        process = None
    try:
        process = process or _Process.start(daemon=True)
    except OSError as error:
        return _not_started(error)
    goes_on = False
    try:
        answer = process.ask(task)
        goes_on = answer.goes_on
        return answer.outcome
    finally:
        if goes_on:
            _KEPT.append(process)
        else:
            process.end()


class _Answer(NamedTuple):
    outcome: Measures | Failure
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class _Process:
    """A process that measures what it is told, one cell after the other; a context that ends it."""

    child: SpawnProcess
    connection: Connection

    @classmethod
    def start(cls, *, daemon: bool = False) -> Self:
        """Start one.

        Args:
            daemon: it starts no processes of its own, and may be ended by the interpreter's end.

        Raises:
            OSError: it can't be started.
        """
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(target=_serve, args=(theirs,), daemon=daemon)
        with theirs, _ASKING:
            child.start()
            _RUNNING.add(child)
        return cls(child, ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, task: Task) -> _Answer:
        """Have a cell measured; the process goes on after it or not."""
        limit_s = min(task.cell.time_limit_s, LONGEST_S)
        try:
            self.connection.send(task)
            if not self.connection.poll(limit_s):
                reason = f"not done after {limit_s:.0f} s; ended"
                return _Answer(Failure(kind="timeout", reason=reason))
            head, text = self.connection.recv_bytes().decode().split("\n", 1)
        except (EOFError, OSError):  # it died before its answer, or in the middle of it
            return _Answer(_died(self.child, limit_s))
        kind, _, state = head.partition(" ")
        model = Measures if kind == "measures" else Failure
        return _Answer(model.model_validate_json(text), goes_on=state == GOES_ON)

    def is_gone(self) -> bool:
        """Whether it has come to an end by itself."""
        return bool(wait([self.child.sentinel], 0))

    def end(self) -> None:
        """End it, however far it is."""
        self.connection.close()
        _end(self.child)


def end_all() -> None:
    """End all that this process has running; who waits for one learns that it was killed."""
    with _ASKING:
        for child in _RUNNING:
            child.kill()


def end_process(process: Any) -> None:  # noqa: ANN401 - multiprocessing's, or what is like it
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
    return exit_failure(_join(child))


def _serve(connection: Connection) -> None:
    """Measure what is told and answer in text; what a module prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the run ends us
    end_with_parent()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    offer_to_oom_killer()
    goes_on = True
    while goes_on:
        try:
            task = connection.recv()
        except EOFError:
            return
        outcome = _measured(task)
        goes_on = shares(task) and _is_clean(outcome) and tidy_process()
        kind = "measures" if isinstance(outcome, Measures) else "failure"
        head = f"{kind} {GOES_ON if goes_on else ENDS}"
        connection.send_bytes(f"{head}\n{outcome.model_dump_json()}".encode())


def _measured(task: Task) -> Measures | Failure:
    if task.threads is not None:
        _settle(task)
    try:
        from bench.measure import waiting
        from bench.measure.readings import measure_cell

        waiting.count = int(task.waits_on_device)
        return measure_cell(task.cell, task.device, task.folder)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a cell is that cell's record
        return error_failure(error)


def _is_clean(outcome: Measures | Failure) -> bool:
    """Whether what a cell leaves behind is known.

    Not after a failure, unless nothing was run, and not after a capture that failed: nobody knows in
    what state that leaves the allocator and the streams.
    """
    if isinstance(outcome, Failure):
        return outcome.kind == "unavailable"
    notes = (note for timing in outcome.timings for note in timing.notes)
    return not any(note.startswith(NO_GRAPH) for note in notes)


def tidy_process() -> bool:
    """Give back what tensors of a GPU took that are gone; return whether it still computes."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
            torch.cuda.synchronize()
        except RuntimeError:  # what was measured before is good
            return False
    return True


def end_with_parent() -> None:
    """End this process when the one that started it ends, which may be killed before it can say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"

    def watch() -> None:
        parent.join()
        os._exit(1)

    # Not the kernel's signal at the death of a parent: that comes when the thread ends that started us.
    threading.Thread(target=watch, name="parent", daemon=True).start()


def offer_to_oom_killer() -> None:
    """Ask the kernel to end this process rather than the run, should memory end."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return


def _settle(task: Task) -> None:
    """Take this slot's GPU and its share of the processor, before torch is loaded.

    Where there are more slots than GPUs, some share one.
    """
    os.environ["OMP_NUM_THREADS"] = str(task.threads)
    if task.device == "cuda":
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = shown.split(",") if shown else list(map(str, range(task.gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = names[task.slot % len(names)]
