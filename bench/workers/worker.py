"""Runs a worker process; a crash, a hang or full memory there affects nothing else."""

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Self

from bench.records import Failure, exit_failure, start_failure, timeout_failure
from bench.workers import child
from bench.workers.child import LONGEST_S, Format, decode, encode, uninterrupted
from bench.workers.fork_server import Fork, ForkServer
from bench.workers.spawned import Spawned, Surroundings

GRACE_S = 5.0
NO_INTERPRETERS = "another interpreter is not asked on this system; use Linux, macOS or WSL"
# Lines of `faulthandler`'s report.
FATAL = "Fatal Python error:"
PLACE = re.compile(r'  File "(?P<path>.+)", line (?P<line>\d+) in (?P<name>.+)')
LIBRARIES = re.compile(r"/(site-packages|dist-packages|lib/python3\.\d+)/")
Process = subprocess.Popen[bytes] | Fork | Spawned
RUNNING: set[Process] = set()


@dataclass(slots=True)
class Worker:
    """A process that answers messages; a context that starts it, and ends it whatever happened.

    What can't be started, dies, hangs or has no memory answers with a Failure; nothing is raised.
    `python` is another interpreter, whose path is that of its variables; messages to it are JSON, and
    what it writes is kept for the reason of its death instead of shown. With a server it is a fork of
    that, and has its interpreter.
    """

    target: str  # what answers there, `package.module:function`; see `bench.workers.child`
    python: str | None = None
    variables: Mapping[str, str] | None = None  # those of this process if None
    folder: Path | None = None  # in which it runs
    log: Path | None = None  # for what it writes, where that is to be kept
    server: ForkServer | None = None  # of which it is a fork
    goes_on: bool = field(init=False, default=False)  # whether it answers another message
    process: Process | None = field(init=False, default=None)
    _connection: Connection = field(init=False)
    _log: IO[bytes] | None = field(init=False, default=None)
    _failure: Failure | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def _form(self) -> Format:
        return "json" if self.python else "pickle"

    def start(self) -> Self:
        """Start it, for whoever ends it."""
        hands_pipes_on = hasattr(os, "fork")  # by number, to whatever interpreter
        if self.python and not hands_pipes_on:
            self._failure = Failure(kind="unavailable", reason=NO_INTERPRETERS)
            return self
        try:
            if self.log:
                self._log = self.log.open("w+b")
            elif self.python:
                self._log = tempfile.TemporaryFile()  # noqa: SIM115  # until the worker ends
            self._connection, theirs = multiprocessing.Pipe()
            with theirs:
                self.process = (
                    self._started(theirs.fileno()) if hands_pipes_on else self._spawned(theirs)
                )
        except OSError as error:
            self._failure = start_failure(error)
        else:
            RUNNING.add(self.process)
        return self

    def _spawned(self, theirs: Connection) -> Process:
        place = Surroundings(folder=self.folder, variables=self.variables, log=self.log)
        with uninterrupted():
            return Spawned(theirs, self.target, place)

    def _started(self, descriptor: int) -> Process:
        if self.server:
            return self.server.fork(
                (descriptor, self._log.fileno() if self._log else 2),
                target=self.target,
                form=self._form,
                folder=str(self.folder or ""),
                variables=dict(self.variables or {}),
            )
        code = f"from {child.__name__} import run_child; run_child{descriptor, self.target, self._form}"
        if not self.python:
            code = f"import sys; sys.path[:] = {list(map(str, sys.path))}; {code}"
        # The interpreter is the running one or that of an environment made here.
        with uninterrupted():
            return subprocess.Popen(  # noqa: S603
                [self.python or sys.executable, "-c", code],
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.PIPE,
                stdout=self._log or 2,  # standard output is for results, and a module may print
                stderr=self._log,
                pass_fds=[descriptor],
            )

    def ask(self, message: object, *, limit_s: float) -> Any:  # noqa: ANN401
        """Send a message and wait for its answer, as `receive` does."""
        self.send(message)
        return self.receive(limit_s=limit_s)

    def send(self, message: object) -> None:
        """Send a message; `receive` has its answer."""
        if self._failure is None:
            with suppress(OSError):  # it has died, as its answer will say
                self._connection.send_bytes(encode(message, self._form))

    def receive(self, *, limit_s: float) -> Any:  # noqa: ANN401
        """Wait for an answer, or the Failure in its place; after a Failure it is to be ended."""
        self.goes_on = False
        if self._failure is None:
            limit_s = min(limit_s, LONGEST_S)
            try:
                if self._connection.poll(limit_s):
                    answer, self.goes_on = decode(self._connection.recv_bytes(), self._form)
                    return answer
                self._failure = timeout_failure(limit_s)
            except (EOFError, OSError):  # it died before its answer, or in the middle of it
                self._failure = self._death(limit_s)
        return self._failure

    def _death(self, limit_s: float) -> Failure:
        assert self.process is not None, "it was started"
        try:
            return exit_failure(self.process.wait(limit_s), self.last_words())
        except subprocess.TimeoutExpired:
            reason = "the process neither answers nor ends; ended"
            return Failure(kind="timeout", reason=reason)

    def last_words(self) -> str:
        """Last line that it wrote, where that is kept, and where its code was; nothing where all is shown."""
        if self._log is None:
            return ""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace").strip()
        return _last_words(text.splitlines()).replace(f"{self.folder}/", "")

    def is_gone(self) -> bool:
        """Whether it has come to an end by itself."""
        return self.process is None or self.process.poll() is not None

    def end(self) -> None:
        """Ask it to end, and end it if it doesn't, however far it is; it may have files to close."""
        if self.process is not None:
            self._connection.close()
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_S)
            self.process.kill()
            self.process.communicate()
            RUNNING.discard(self.process)
        if self._log is not None:
            self._log.close()


def end_all() -> None:
    """End all that this process has running; who waits for one learns that it was killed."""
    for process in tuple(RUNNING):
        process.kill()


def _last_words(lines: Sequence[str]) -> str:
    """The last line; of Python's report on a fatal signal the line before it, and the innermost place of no library."""
    at = next((at for at, line in enumerate(lines) if line.startswith(FATAL)), None)
    if at is None:
        return lines[-1] if lines else ""
    places = [match for line in lines[at:] if (match := PLACE.match(line))]
    outside = [match for match in places if not LIBRARIES.search(match["path"])]
    before = [line for line in lines[:at] if line][-1:]
    where = [f"in {at['name']} ({at['path']}, line {at['line']})" for at in [*outside, *places][:1]]
    return ", ".join((*before, *where))
