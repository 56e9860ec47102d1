"""A worker's process where none is handed a pipe by its number, as on Windows: multiprocessing hands it on."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

from bench.workers.child import answer_all, end_with, leave_interruptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Where the process runs: what `Popen` would be given."""

    folder: Path | None = None
    variables: Mapping[str, str] | None = None  # those of this process if None
    log: Path | None = None


class Spawned:
    """The process, with the part of Popen's interface that a worker needs."""

    def __init__(self, connection: Connection, target: str, surroundings: Surroundings) -> None:
        """Start it.

        Raises:
            OSError: the system starts no process.
        """
        given = (connection, target, surroundings)
        self._process = multiprocessing.get_context("spawn").Process(
            target=_answer_as_told, args=given
        )
        # It would import the program that asks a second time, under another name.
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = main
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it takes longer.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def communicate(self) -> None:
        """Wait for its end."""
        self.wait()


def _answer_as_told(connection: Connection, target: str, surroundings: Surroundings) -> None:
    leave_interruptions()
    parent = multiprocessing.parent_process()
    assert parent is not None, "it was spawned"
    end_with(parent.sentinel)
    if surroundings.variables is not None:
        os.environ.clear()
        os.environ.update(surroundings.variables)
    if surroundings.folder:
        os.chdir(surroundings.folder)
    if surroundings.log:
        with surroundings.log.open("ab") as log:
            os.dup2(log.fileno(), 2)
    os.dup2(2, 1)  # standard output is for results, and a module may print
    answer_all(connection, target)
