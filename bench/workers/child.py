"""The process of a worker: it answers messages, and ends with the one that started it.

A target is `package.module:function`. A plain function answers one message. A generator function
answers several: a message is what its `yield` gives, what it yields next is the answer, and what it
returns is the last one.
"""

import faulthandler
import inspect
import json
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from bench.records import Failure, Model, error_failure, exit_failure, timeout_failure
from bench.workers.imports import Fence

Format = Literal["json", "pickle"]
Session = Generator[Any, Any, Any]
# Nothing that waits takes more: 23 days, in milliseconds nearly what an int holds.
LONGEST_S = 2e6


def find_target(name: str) -> Any:  # noqa: ANN401
    """Import what `package.module:name` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def encode(item: object, form: Format) -> bytes:
    """Write a message; as JSON for another interpreter, whose versions of what is pickled may differ."""
    return pickle.dumps(item) if form == "pickle" else json.dumps(item, default=_as_json).encode()


def decode(data: bytes, form: Format) -> Any:  # noqa: ANN401
    """Read what `encode` wrote."""
    if form == "pickle":
        return pickle.loads(data)  # noqa: S301  # by a process of ours
    return json.loads(data, object_hook=_from_json)


def _as_json(item: Model) -> dict[str, object]:
    name = f"{type(item).__module__}:{type(item).__qualname__}"
    return {"model": name, "fields": json.loads(item.model_dump_json())}


def _from_json(content: dict[str, Any]) -> Any:  # noqa: ANN401
    if content.keys() != {"model", "fields"}:
        return content
    return find_target(content["model"]).model_validate(content["fields"])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Have a process that is started here be born without interruptions, until it calls `leave_interruptions`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_interruptions() -> None:
    """Leave those of a terminal to whoever started this process, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))


def run_child(descriptor: int, target: str, form: Format) -> None:
    """Answer on a connection until the other side goes; standard input ends with it."""
    leave_interruptions()
    end_with(os.dup(0))  # somebody may put another file in its place
    offer_to_oom_killer()
    Fence.of_environment().put_up()
    if form == "json":  # what it writes is kept, and says where it died
        faulthandler.enable(all_threads=False)
    answer_all(Connection(descriptor), target, form)


def answer_all(connection: Connection, target: str, form: Format = "pickle") -> None:
    """Answer message after message, each with whether another may follow."""
    session: Session | None = None
    goes_on = True
    while goes_on:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        try:
            session = session or _session(find_target(target))
            answer = session.send(decode(data, form))
        except StopIteration as end:
            answer, goes_on = end.value, False
        except BaseException as error:  # noqa: BLE001  # whatever goes wrong is the answer, the wish to end too
            answer, goes_on = error_failure(error), False
        connection.send_bytes(encode([answer, goes_on], form))


def _session(target: Callable[..., Any]) -> Session:
    def answer_once() -> Session:
        return target((yield))

    session: Session = target() if inspect.isgeneratorfunction(target) else answer_once()
    next(session)
    return session


def end_with(descriptor: int) -> None:
    """End this process when a descriptor comes to its end, as at the death of who holds the other one."""

    def watch() -> None:
        wait([descriptor])
        os._exit(1)

    # Not the kernel's signal at the death of a parent: that comes when the thread ends that started us.
    threading.Thread(target=watch, name="parent", daemon=True).start()


def offer_to_oom_killer() -> None:
    """Ask the kernel to end this process rather than the run, should memory end."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def ask_in_fork(function: Callable[[Any], Any], message: object, *, limit_s: float) -> Any:  # noqa: ANN401
    """Ask in a fork of this process, which has all that is loaded here; threads must not have run.

    The answer may be a Failure, as a worker's.
    """
    if not hasattr(os, "fork"):
        return Failure(kind="unavailable", reason="this system makes no forks")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def answer() -> None:
        ours.close()
        parent = multiprocessing.parent_process()
        assert parent is not None, "this is a fork"
        end_with(parent.sentinel)
        try:
            theirs.send(function(message))
        except BaseException as error:  # noqa: BLE001  # whatever goes wrong is the answer
            theirs.send(error_failure(error))

    child = context.Process(target=answer)  # a daemon may have no processes of its own
    child.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(min(limit_s, LONGEST_S)) else timeout_failure(limit_s)
    except (EOFError, OSError):
        child.join()
        return exit_failure(child.exitcode)
    finally:
        ours.close()
        child.kill()
        child.join()
