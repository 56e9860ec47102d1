"""A side's process: started with its interpreter and path, spoken to in JSON.

JSON and not pickle, since the two interpreters may have other versions of what would be pickled.
"""

import json
import multiprocessing
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from bench.compare import Ready
from bench.records import Failure, Model, Record
from bench.regression.revisions import RevisionSide

WORKER = "bench.regression.worker"
MODELS: dict[str, type[Model]] = {model.__name__: model for model in (Ready, Failure, Record)}


class Wire:
    """A connection that carries what is JSON, and the models above."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, item: object) -> None:
        """Send one item."""
        kind, content = "", item
        if isinstance(item, Model):
            kind, content = type(item).__name__, json.loads(item.model_dump_json())
        self._connection.send_bytes(json.dumps([kind, content]).encode())

    def recv(self) -> Any:  # noqa: ANN401
        """Wait for one item.

        Raises:
            EOFError: the other side has gone.
        """
        kind, content = json.loads(self._connection.recv_bytes())
        return MODELS[kind].model_validate(content) if kind else content

    def poll(self, seconds: float) -> bool:
        """Whether there is an item within so many seconds."""
        return self._connection.poll(seconds)

    def close(self) -> None:
        """Let the other side know that nothing more comes."""
        self._connection.close()


class Child:
    """A started process, as `multiprocessing` has one; it ends when its standard input does."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._process = process
        self._said = said

    @property
    def exitcode(self) -> int | None:
        """Exit status, or minus the signal; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or so many seconds, and let go of its pipe."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def last_words(self) -> str:
        """Last line that it wrote to standard error."""
        self._said.flush()
        path = Path(self._said.name)
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return lines[-1] if lines else ""


def start(
    side: RevisionSide,
    request: Mapping[str, object],
    *,
    said: Path,
    variables: Mapping[str, str] | None = None,
) -> tuple[Wire, Child]:
    """Start a process of a side and tell it what to do.

    Args:
        side: whose code and interpreter.
        request: see `bench.regression.worker`.
        said: file for its standard output and error.
        variables: environment variables beside the side's own.
    """
    ours, theirs = multiprocessing.Pipe()
    with said.open("ab") as file:
        # The interpreter is the running one or that of an environment made here.
        process = subprocess.Popen(  # noqa: S603
            [side.python, "-m", WORKER, str(theirs.fileno())],
            cwd=side.path,
            env={**side.variables, **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            pass_fds=[theirs.fileno()],
        )
    theirs.close()
    wire = Wire(ours)
    with suppress(BrokenPipeError):  # whoever waits for its answer learns how it ended
        wire.send(request)
    return wire, Child(process, file)
