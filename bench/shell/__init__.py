"""Habits of every command: nearest names, one table of exit statuses, an end within seconds."""

from bench.shell.ending import (
    DONE,
    FAILED,
    INTERRUPTED,
    UNDECIDED,
    WRONG,
    guarded,
    keeps_records,
    undisturbed,
)
from bench.shell.kinds import KindResult
from bench.shell.lines import PlainLines, rough_time
from bench.shell.names import nearest_path, require_path
from bench.shell.parser import CommandParser


def write_output(status: int, **fields: object) -> None:
    """Write the one object of `--json`, see `bench.shell.output`."""
    from bench.shell import output  # brings pydantic, not for --help

    output.write_output(status, **fields)  # type: ignore[arg-type]  # checked by the model
