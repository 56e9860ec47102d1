"""Command-line parts that the entry points share: options, errors of one line, progress on standard error."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from ann.spec import Size
from bench import completion
from experiments.spec import Dtype, Mode
from experiments.training import DATASETS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.records import Record


LOCK = ".lock"
COMPUTING = ("auto", "cpu", "cuda")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        """Add the default where there is one that says something."""
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit status 2."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(formatter_class=_Help, **options)

    def parse_args(self, *given: Any, **options: Any) -> Any:  # noqa: ANN401
        """Parse, or tell the shell what could come next."""
        completion.offer(self)
        return super().parse_args(*given, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and nothing else."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def option(parser: argparse._ActionsContainer, name: str, **changes: Any) -> None:  # noqa: ANN401
    """Add an option to a parser or a group of it; what all commands say of it is in `SHARED`."""
    parser.add_argument(name, **SHARED.get(name, {}) | changes)


def size(text: str) -> Size:
    """Read a size; argparse drops the text of a ValueError, so that it is passed on as its own error."""
    try:
        return Size.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or not int(text[:9]) >= 1 or len(text) > 9:
        msg = f"{text!r} is not a whole number from 1 to 999999999; write for example 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def positive_seconds(text: str) -> float:
    """Read a positive number of seconds or minutes."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        msg = f"{text!r} is not a positive number; write for example 60"
        raise argparse.ArgumentTypeError(msg)
    return value


SHARED: dict[str, dict[str, Any]] = {
    "--block": {"action": "extend", "nargs": "+", "metavar": "NAME"},
    "--size": {"type": size, "action": "append", "metavar": "WxH"},
    "--channels": {"type": positive},
    "--key-channels": {"type": positive},
    "--batch": {"type": positive, "default": 1, "help": "maps at once"},
    "--dtype": {"choices": get_args(Dtype), "default": "float32"},
    "--mode": {
        "choices": get_args(Mode),
        "default": "eval",
        "help": "forward, or forward and backward",
    },
    "--device": {"choices": (*COMPUTING, "meta"), "default": "auto"},
    "--experiment": {"action": "append", "default": [], "metavar": "NAME"},
    "--dataset": {"choices": tuple(DATASETS), "default": "scenes", "help": "what to train on"},
    "--root": {
        "default": "",
        "metavar": "PATH",
        "help": "folder of the data set; the scenes need none",
    },
    "--out": {
        "type": Path,
        "metavar": "DIR",
        "help": "folder of the records; a run that was ended goes on there",
    },
    "--fresh": {"action": "store_true", "help": "measure again what has records"},
    "--margin": {"type": float, "metavar": "SHARE"},
    "--rounds": {"type": positive},
    "--level": {"type": float, "metavar": "CHANCE"},
}


def guarded(program: str, main: Callable[[Sequence[str] | None], int]) -> NoReturn:
    """Run an entry point; a wrong input ends with one line and status 2, an interruption with 130."""
    try:
        status = main(None)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{program}: error: {error}\n")
        status = 2
    except KeyboardInterrupt:
        sys.stderr.write(
            f"{program}: interrupted; finished records are kept, call again to go on\n"
        )
        status = 130
    raise SystemExit(status)


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """Make a folder for records and keep other runs out of it.

    Two runs that write into one folder would measure everything twice, and each while the other does.
    The lock is the operating system's and goes with the process, however it ends.

    Raises:
        ValueError: it can't be made or written to, or another run holds it.
    """
    from filelock import FileLock, Timeout  # not for --help

    lock = FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        msg = (
            f"another run is writing into {str(folder)!r}; wait until it has ended, or pass another "
            "folder with --out"
        )
        raise ValueError(msg) from error
    except OSError as error:
        msg = f"folder {str(folder)!r} can't be written ({error.strerror}); pass another with --out"
        raise ValueError(msg) from error
    try:
        yield folder
    finally:
        lock.release()


def follow(
    records: "Iterable[Record]",
    *,
    total: int,
    show: "Callable[[Sequence[Record]], RenderableType] | None" = None,
) -> "tuple[Record, ...]":
    """Collect records as they come, under a progress bar.

    Args:
        records: what a run yields.
        total: how many it will yield.
        show: draws what there is so far above the bar, so that a table fills in.
    """
    collected: list[Record] = []
    with progress("measuring", total=total) as step:
        for record in records:
            collected.append(record)
            step(f"{record.subject} {record.size}", show and partial(show, collected))
    return tuple(collected)


@contextmanager
def progress(text: str, *, total: int) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error, where that is a terminal.

    Gives what is to be called after each step: with what is done next, and perhaps with a function that
    draws something above the bar.
    """
    from rich.console import Console, Group  # not for --help
    from rich.live import Live
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    task = bar.add_task(text, total=total)
    with Live(bar, console=console, transient=True, refresh_per_second=4) as live:

        def step(text: str, draw: Callable[[], "RenderableType"] | None = None) -> None:
            bar.update(task, advance=1, description=text)
            if draw is not None:
                live.update(Group(draw(), bar))

        yield step
