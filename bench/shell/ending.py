"""How a command ends: one table of exit statuses, and an interruption that takes seconds and says how to go on."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

# Done; something measured failed or got worse; a wrong input; it could not be decided; ended from outside.
DONE, FAILED, WRONG, UNDECIDED, INTERRUPTED = 0, 1, 2, 3, 130
# What may take down worktrees, processes and bars before the process ends without.
PATIENCE_S = 1.5
# Those that a terminal, a shell or a scheduler ends a program with, where the system has them.
ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
# Folders into which this process is writing, and whether a second call goes on there.
_KEPT: list[tuple[Path, bool]] = []


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


def guarded(program: str, main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run an entry point and end the process with a status of the table.

    A wrong input ends with one line. Ctrl-C, and what a scheduler or a closed terminal sends, ends within two seconds
    with one line: where the records are, and how to go on.
    """
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
    except KeyboardInterrupt:
        ending.tell("interrupted")
        status = INTERRUPTED
    finally:
        ending.restore()
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

    def restore(self) -> None:
        """Give signals back; what was asked to end goes on being watched."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.watch()
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
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(INTERRUPTED)  # its workers end with it

    def tell(self, what: str) -> None:
        """Say once where the records are and how to go on."""
        with self._lock:
            if not self._is_told:
                self._is_told = True
                with suppress(OSError, ValueError):
                    sys.stderr.write(f"{self._program}: {what}; {again(self._program, sys.argv)}\n")


def again(program: str, arguments: Sequence[str]) -> str:
    """Where finished records are, and the command that goes on; what would set them aside is left out of it."""
    given = [each for each in arguments[1:] if each != "--fresh"]
    command = f"{program} {shlex.join(given)}".strip()
    if not _KEPT:
        return f"to begin again: {command}"
    folder, goes_on = _KEPT[-1]
    return (
        f"finished records are in {folder}; to {'go on' if goes_on else 'begin again'}: {command}"
    )
