"""A process that has loaded what its workers need, and makes each of them as a fresh fork of itself.

To load torch takes two seconds of a core, a fork some hundredths. The server runs nothing of it: no
thread of OpenMP is there that a fork would lack, and no context on a device. Linux alone.
"""

import faulthandler
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from typing import NoReturn, Self

from bench.workers.child import (
    Format,
    answer_all,
    end_with,
    leave_interruptions,
    offer_to_oom_killer,
    uninterrupted,
)
from bench.workers.imports import Fence

MESSAGE_BYTES = 2**16
# Cores that the server might use before a library bound its first thread to one of them.
_CORES: set[int] = set()


def can_fork() -> bool:
    """Whether this system makes forks that can be watched: Linux since 5.3."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def run_server(descriptor: int, modules: Sequence[str]) -> None:
    """Load modules, then fork a worker for each message until the other side goes; standard input ends with it."""
    leave_interruptions()
    server = socket.socket(fileno=descriptor)
    _CORES.update(os.sched_getaffinity(0))
    Fence.of_environment().put_up()
    for name in modules:
        with suppress(ImportError):  # the worker that needs it says so
            import_module(name)
    gc.freeze()  # a worker's collections need not look through all of it, and touch none of its pages
    while True:
        ready, _, _ = select.select([descriptor, 0], [], [])
        if descriptor not in ready:
            return
        message, descriptors, _, _ = socket.recv_fds(server, MESSAGE_BYTES, 2)
        if not message:  # who started this has gone
            return
        request = json.loads(message)
        if "status" in request:
            _, status = os.waitpid(request["status"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                server.close()
                _run_worker(*descriptors, **request)
        for each in descriptors:
            os.close(each)
        server.send(json.dumps(answer).encode())


def _run_worker(
    connection: int,
    output: int,
    *,
    target: str,
    form: Format,
    folder: str,
    variables: dict[str, str],
) -> NoReturn:
    code = 1
    try:
        _move(folder, variables)
        os.dup2(output, 1)
        os.dup2(output, 2)
        end_with(os.dup(0))
        offer_to_oom_killer()
        if form == "json":  # what it writes is kept, and says where it died
            faulthandler.enable(all_threads=False)
        answer_all(Connection(connection), target, form)
        code = 0
    except BaseException:  # noqa: BLE001  # nothing of this process may go on as the server
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def leave_core() -> None:
    """Let a fork use every core again, of a server that OMP_PROC_BIND had bound to one."""
    if _CORES:
        os.sched_setaffinity(0, _CORES)


def _move(folder: str, variables: dict[str, str]) -> None:
    """Be in another folder, with other variables, and look for modules where an interpreter with these would."""
    if folder:
        os.chdir(folder)
    if variables:
        before, after = (
            each.get("PYTHONPATH", "").split(os.pathsep) for each in (os.environ, variables)
        )
        sys.path[:] = [*after, *(place for place in sys.path if place not in before)]
        os.environ.clear()
        os.environ.update(variables)
    Fence.of_environment().put_up()


@dataclass(slots=True)
class ForkServer:
    """The server of one interpreter and environment; a context, or started and ended.

    `modules` are what it loads. It is ready when it answers the first fork. What libraries read of the
    environment when they are loaded, they have read.
    """

    modules: Sequence[str]
    _: KW_ONLY
    python: str | None = None
    variables: Mapping[str, str] | None = None
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _socket: socket.socket = field(init=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> Self:
        """Start it; it loads its modules while this process goes on.

        Raises:
            OSError: no process can be started.
        """
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        call = f"run_server{theirs.fileno(), tuple(self.modules)}"
        code = f"from {__name__} import run_server; {call}"
        if not self.python:
            code = f"import sys; sys.path[:] = {list(map(str, sys.path))}; {code}"
        with theirs, uninterrupted():
            # The interpreter is the running one or that of an environment made here.
            self.process = subprocess.Popen(  # noqa: S603
                [self.python or sys.executable, "-c", code],
                env=self.variables,
                stdin=subprocess.PIPE,
                stdout=2,  # standard output is for results
                pass_fds=[theirs.fileno()],
            )
        return self

    def fork(self, descriptors: tuple[int, int], **request: object) -> "Fork":
        """Make a worker of a connection, and of the file that it writes to.

        The request has its `target` and `form`, and the `folder` and `variables` that it changes to, if any.

        Raises:
            OSError: the server has gone.
        """
        socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
        return Fork(self._answer(), server=self)

    def status(self, pid: int) -> int:
        """Exit status of a worker that has ended; it is forgotten."""
        self._socket.send(json.dumps({"status": pid}).encode())
        return self._answer()

    def _answer(self) -> int:
        answer = self._socket.recv(MESSAGE_BYTES)
        if not answer:
            msg = "the process that makes workers has died"
            raise OSError(msg)
        return int(json.loads(answer))

    def end(self) -> None:
        """End it and every worker of it."""
        if self.process is not None:
            self._socket.close()
            self.process.terminate()
            self.process.communicate()
            self.process = None


@dataclass(slots=True, eq=False)
class Fork:
    """A worker's process, with the part of Popen's interface that a worker needs."""

    pid: int
    _: KW_ONLY
    server: ForkServer
    returncode: int | None = None
    _descriptor: int = field(init=False)

    def __post_init__(self) -> None:
        self._descriptor = os.pidfd_open(
            self.pid
        )  # it is not waited for yet, so that its number is its own

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it takes longer.
        """
        if self.returncode is None:
            ready, _, _ = select.select([self._descriptor], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            try:
                self.returncode = self.server.status(self.pid)
            except OSError:  # nobody is left who could tell
                self.returncode = -signal.SIGKILL
            os.close(self._descriptor)
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def communicate(self) -> None:
        """Wait for its end."""
        self.wait()

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)
