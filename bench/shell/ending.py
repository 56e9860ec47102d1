"""How a command ends: one table of exit statuses, and an interruption that takes seconds and says how to go on."""

import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

# Done; something measured failed or got worse; a wrong input; it could not be decided; ended from outside.
DONE, FAILED, WRONG, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130
# What may take down worktrees, processes and bars before the process ends without.
PATIENCE_S = 1.3
# Those that a terminal, a shell or a scheduler ends a program with, where the system has them.
ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
# Folders into which this process is writing, and whether a second call goes on there.
_KEPT: list[tuple[Path, bool]] = []
OUR_PACKAGES = ("ann", "ann_bench", "bench", "experiments", "reports")
NOT_INSTALLED = (
    "is not installed for {}; in a clone: uv sync, then source .venv/bin/activate (or uv run in front); "
    "elsewhere: pip install 'ann-bench[bench]' from where you had it"
)
# How this process was called, ahead of its arguments.
_program = ""


def command_line(*, leave_out: Collection[str] = ()) -> str:
    """The command that was called, as one would type it; no path of an interpreter or a script is in it."""
    given = [each for each in sys.argv[1:] if each not in leave_out]
    return shlex.join([*(_program or Path(sys.argv[0]).stem).split(), *given])


@contextmanager
def keeps_records(folder: Path, *, goes_on: bool) -> Iterator[None]:
    """Have an interruption say that records are in a folder, and whether the same command `goes_on` there."""
    _KEPT.append((folder, goes_on))
    try:
        yield
    except KeyboardInterrupt:
        raise  # for whoever says where they are
    except BaseException:
        _KEPT.pop()
        raise
    _KEPT.pop()


@dataclass
class _Undisturbed:
    """How deep the main thread is in what an interruption waits for, and whether one does."""

    depth: int = 0
    is_awaited: bool = False


_UNDISTURBED = _Undisturbed()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have an interruption of the main thread wait for the end of what is done here, or for the end of patience.

    C++ that calls Python, as torch's dispatch does, may abort the process at an exception that it does not expect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _UNDISTURBED.depth += 1
    try:
        yield
    finally:
        _UNDISTURBED.depth -= 1
    if _UNDISTURBED.is_awaited and not _UNDISTURBED.depth:
        _UNDISTURBED.is_awaited = False
        raise KeyboardInterrupt


def guarded(program: str, main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run an entry point and end the process with a status of the table.

    A wrong input ends with one line. Ctrl-C, and what a scheduler or a closed terminal sends, ends within two seconds
    with one line: where the records are, and how to go on.
    """
    global _program  # noqa: PLW0603  # of this process
    before, _program = _program, program
    ending = _Ending(program)
    ending.listen()
    try:
        status = main(None)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read has had enough, as `head` has; what is left to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = INTERRUPTED
        ending.tell("standard output was closed")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{program}: error: {error}\n")
        status = WRONG
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OUR_PACKAGES:
            raise
        sys.stderr.write(f"{program}: error: {error.name} {NOT_INSTALLED.format(sys.executable)}\n")
        status = WRONG
    except KeyboardInterrupt:
        ending.tell("interrupted")
        status = INTERRUPTED
        ending.leave()
    finally:
        ending.restore()
        _program = before
    raise SystemExit(status)


class _Ending:
    """The end of one command from outside."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._is_told = self._is_watched = False
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take what ends a program as Ctrl-C, unless who started it has it ignored, as `nohup` does."""
        for name in ENDING:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._interrupt)
        # Handlers wait until an operator of torch, or an import, gives the main thread back; this does not.
        hears, self._tells = socket.socketpair()
        self._tells.setblocking(False)  # noqa: FBT003
        signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)
        self._listener = threading.Thread(
            target=self._wait, args=(hears,), name="signals", daemon=True
        )
        self._listener.start()

    def _wait(self, hears: socket.socket) -> None:
        with hears, suppress(OSError):
            while heard := hears.recv(1):
                if heard[0] in self._before:
                    self.watch()

    def restore(self) -> None:
        """Give signals back; what was asked to end goes on being watched."""
        signal.set_wakeup_fd(-1)
        self._tells.close()  # with which the thread ends
        self._listener.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.watch()
        if _UNDISTURBED.depth:
            _UNDISTURBED.is_awaited = True
        else:
            raise KeyboardInterrupt

    def watch(self) -> None:
        """Have the process ended if it has not ended itself after so long: an operator may run for minutes."""
        if not self._is_watched:
            self._is_watched = True
            watcher = threading.Timer(PATIENCE_S, self._end)
            watcher.daemon = True
            watcher.start()

    def _end(self) -> None:
        self.tell("interrupted")
        self.leave()

    def leave(self) -> None:
        """Leave without what an interpreter does at its end, which with torch takes seconds, after a signal."""
        if self._is_watched:
            _end_children()
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h")  # the cursor, which a bar hides
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(INTERRUPTED)

    def tell(self, what: str) -> None:
        """Say once where the records are and how to go on."""
        with self._lock:
            if not self._is_told:
                self._is_told = True
                with suppress(OSError, ValueError):
                    sys.stderr.write(f"{self._program}: {what}; {again()}\n")


def _end_children() -> None:
    """End what this process has started, and what that has; by themselves they end once they have loaded torch."""
    try:
        import psutil  # not for --help, nor for reports alone
    except ImportError:
        return
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()


def again() -> str:
    """Where finished records are, and the command that goes on; what would set them aside is left out of it."""
    command = command_line(leave_out=("--fresh",))
    if not _KEPT:
        return f"to begin again: {command}"
    folder, goes_on = _KEPT[-1]
    if not any(path.stat().st_size for path in folder.glob("*.jsonl")):
        return f"nothing was finished; to begin again: {command}"
    return (
        f"finished records are in {folder}; to {'go on' if goes_on else 'begin again'}: {command}"
    )
