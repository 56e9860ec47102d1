"""Command-line parts that the entry points share: options, errors of one line, progress on standard error."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

import reports
from ann.spec import Size
from bench import completion, shell
from experiments import machine, select, variants
from experiments.spec import Dtype, Layout, Mode
from experiments.training import DATASETS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.records import Record

# What argparse is given of options, beside their texts.
Options = Mapping[str, Mapping[str, Any]]

COMPUTING = ("auto", "cpu", "cuda")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        # Nothing is said by a default of nothing.
        if action.default is None or action.default is False or action.default in ("", []):
            return action.help
        return super()._get_help_string(action)


class Parser(shell.CommandParser):
    """A parser of our commands: shared options, and names that a shell completes."""

    example = ""  # of what is required, for who gives nothing

    def __init__(
        self, prog: str, document: str, texts: Mapping[str, str], settings: Options
    ) -> None:
        """Describe a program by what stands behind the first line of its document, and by its options."""
        description = document.partition("\n")[2]
        super().__init__(prog=prog, description=description, formatter_class=_Help)
        self.add(texts, settings)

    def add(self, texts: Mapping[str, str], settings: Options, *, group: str = "") -> None:
        """Add options, each with its help (if empty, the usual one) and settings over those that are shared."""
        place = self.add_argument_group(group) if group else self
        for name, text in texts.items():
            given = {**SHARED.get(name, {}), **settings.get(name, {})}
            place.add_argument(name, help=text or SHARED_TEXTS.get(name), **given)

    def parse_args(self, *given: Any, **options: Any) -> Any:  # noqa: ANN401
        """Parse, or tell the shell what could come next."""
        completion.offer(self)
        return super().parse_args(*given, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, what to type where something is missing, and nothing else."""
        is_missing = self.example and message.startswith("the following arguments are required")
        super().error(
            f"{message}; write for example {self.prog} {self.example}" if is_missing else message
        )


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


SHARED: Options = {
    "--block": {"action": "extend", "nargs": "+", "metavar": "NAME"},
    "--size": {"type": size, "action": "append", "metavar": "WxH"},
    "--channels": {"type": positive},
    "--key-channels": {"type": positive},
    "--batch": {"type": positive, "default": 1},
    "--dtype": {"choices": get_args(Dtype), "default": "float32"},
    "--mode": {"choices": get_args(Mode), "default": "eval"},
    "--layout": {"choices": get_args(Layout), "default": "nchw"},
    "--inputs": {"type": positive, "default": 1, "metavar": "N"},
    "--device": {"choices": (*COMPUTING, "meta"), "default": "auto"},
    "--experiment": {"action": "append", "default": [], "metavar": "NAME"},
    "--dataset": {"choices": tuple(DATASETS), "default": "scenes"},
    "--root": {"default": "", "metavar": "PATH"},
    "--out": {"type": Path, "metavar": "DIR"},
    "--fresh": {"action": "store_true"},
    "--margin": {"type": float, "metavar": "SHARE"},
    "--rounds": {"type": positive},
    "--level": {"type": float, "metavar": "CHANCE"},
    "--quiet": {"action": "store_true"},
    "--json": {"action": "store_true"},
}
SHARED_TEXTS = {
    "--batch": "maps at once",
    "--mode": "forward pass, or forward and backward",
    "--layout": "layout of your own module's maps: (b, C, h, w), tokens (b, h w, C), or (b, h, w, C)",
    "--inputs": "number of maps that your own module takes",
    "--dataset": "data set to train on",
    "--root": "folder of the data set; procedural scenes need none",
    "--out": "folder of the records; an interrupted run continues there",
    "--fresh": "measure again what already has records",
    "--quiet": "neither a bar on a terminal nor lines in a log",
    "--json": "write one JSON object to standard output, as docs/json.md describes it, and nothing else",
}


# Kinds of failures that are answers: what a device lacks or is too small for.
ANSWERS = ("foreseen", "unavailable")


def status_of(records: "Iterable[Record]", *, answers: Sequence[str] = ANSWERS) -> int:
    """Exit status of what was measured, or else predicted: FAILED where a row failed otherwise than by an answer.

    UNDECIDED where there are rows and not one of them has a reading.
    """
    rows = tuple(records)
    kinds = [row.failure.kind for row in rows if row.failure is not None]
    if any(kind not in answers for kind in kinds):
        return shell.FAILED
    ran = [row for row in rows if row.source == "measured" and row.experiment != machine.NAME]
    no_reading = rows and all(row.failure is not None for row in ran or rows)
    return shell.UNDECIDED if no_reading else shell.DONE


@contextmanager
def locked(folder: Path, *, goes_on: bool = True) -> Iterator[Path]:
    """Make a folder for records and keep other runs out of it; `goes_on` says whether a second call does there.

    Two runs that write into one folder would measure everything twice, and each while the other does.
    The lock is the operating system's and goes with the process, however it ends.

    Raises:
        ValueError: it can't be made or written to, or another run holds it.
    """
    from filelock import FileLock, Timeout  # not for --help

    lock = FileLock(folder / ".lock", blocking=False)
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
        with shell.keeps_records(folder, goes_on=goes_on):
            yield folder
    finally:
        lock.release()


def follow(
    records: "Iterable[Record]",
    *,
    total: int,
    show: "Callable[[Sequence[Record]], RenderableType] | None" = None,
    quiet: bool = False,
    lines: bool = True,
) -> "tuple[Record, ...]":
    """Collect records as they come, `total` in all, under `progress`; `show` draws what there is above its bar."""
    collected: list[Record] = []
    with progress("measuring", total=total, quiet=quiet, lines=lines) as step:
        for record in records:
            collected.append(record)
            step(f"{record.subject} {record.size}", show and partial(show, collected))
    return tuple(collected)


@contextmanager
def progress(
    text: str, *, total: int, quiet: bool = False, lines: bool = True
) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error, or `lines` where that is no terminal; nothing if it is to be quiet.

    Gives what is to be called after each step: with what is done next, and perhaps with a function that
    draws something above the bar.
    """
    if quiet:
        yield lambda *_: None
        return
    from rich import progress as bars  # not for --help
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        yield shell.PlainLines(total).step if lines else lambda *_: None
        return
    bar = bars.Progress(
        *(bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn()),
        *(bars.TimeElapsedColumn(), bars.TextColumn("left"), bars.TimeRemainingColumn()),
    )
    task = bar.add_task(text, total=total)
    with Live(bar, console=console, transient=True, refresh_per_second=4) as live:

        def step(text: str, draw: Callable[[], "RenderableType"] | None = None) -> None:
            bar.update(task, advance=1, description=text)
            if draw is not None:
                live.update(Group(draw(), bar))

        yield step


def give(
    options: argparse.Namespace,
    status: int,
    *,
    tables: "Sequence[reports.Table]" = (),
    page: Path | None = None,
    **results: Any,  # noqa: ANN401
) -> int:
    """Write the one object of a command that was called with `--json`; return its exit status in any case.

    `results` are fields of `bench.shell.output.CommandOutput`.
    """
    if options.json:
        rows = reports.tables_as_data(tables)
        shell.write_output(status, tables=rows, folder=options.out, page=page, **results)
    return status


def require_own_module(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse how somebody's own module takes its maps where none is among the named.

    Raises:
        ValueError: such an option is given, and all are ours.
    """
    for name, usual in select.OF_OWN.items():
        if getattr(options, name) != usual and not any(map(variants.is_own, names)):
            msg = f"--{name} is of your own module, and none is named; leave it out, or name package.module:factory"
            raise ValueError(msg)
