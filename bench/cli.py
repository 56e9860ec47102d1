"""What the entry points share: errors of one line, types of arguments, progress on standard error."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ann.spec import Size
from bench import completion
from bench.records import Record

if TYPE_CHECKING:
    from rich.console import RenderableType


LOCK = ".lock"


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
def held(folder: Path) -> Iterator[Path]:
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
    records: Iterable[Record],
    *,
    total: int,
    show: Callable[[Sequence[Record]], "RenderableType"] | None = None,
) -> tuple[Record, ...]:
    """Collect records as they come, under a progress bar on standard error (quiet where that is no terminal).

    Args:
        records: what a run yields.
        total: how many it will yield.
        show: draws what there is so far below the bar, so that a table fills in.
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
    seen: list[Record] = []
    if not console.is_terminal:
        return tuple(records)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    task = bar.add_task("measuring", total=total)
    with Live(bar, console=console, transient=True, refresh_per_second=4) as live:
        for item in records:
            seen.append(item)
            bar.update(task, advance=1, description=f"{item.subject} {item.size}")
            if show is not None:
                live.update(Group(show(seen), bar))
    return tuple(seen)


@contextmanager
def step_progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error (where that is a terminal); call what it gives after each step."""
    from rich.console import Console  # not for --help
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    left = (TextColumn("left"), TimeRemainingColumn())
    shown = console.is_terminal
    with Progress(*columns, *left, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("comparing", total=total)
        yield lambda text: bar.update(task, advance=1, description=text)
