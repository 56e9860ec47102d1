"""What people expect of every command: the nearest name, one table of exit statuses, an end within seconds."""

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
from bench.shell.names import nearest_path, require_path
from bench.shell.parser import CommandParser
