"""Targets of workers for the tests."""

import os
import signal
import stat
import struct
import sys
from importlib import import_module
from pathlib import Path

from bench.workers import Worker


def call(target, message, *, limit_s):
    """Ask a process of its own one question."""
    with Worker(target) as worker:
        return worker.ask(message, limit_s=limit_s)


def double(number):
    return 2 * number


def count():
    """Answer how many were asked, three times."""
    yield
    yield 1
    yield 2
    return 3


def where_it_prints(_):
    print("on the way")  # noqa: T201  # what is tested
    return os.fstat(1).st_ino == os.fstat(2).st_ino


def where_it_is(variable):
    print("on the way")  # noqa: T201  # what is tested
    sys.stdout.flush()
    return str(Path.cwd()), os.environ[variable]


def interrupted(_):
    os.kill(os.getpid(), signal.SIGINT)
    return "goes on"


def is_socket(descriptor):
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def dies_in_its_answer(number):
    """Write the head of a long answer and die, of a signal if there is one."""
    os.write(next(filter(is_socket, range(3, 1024))), struct.pack("!i", 1000) + b"{")
    if number:
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    os._exit(3)


def dies_of_a_signal(text):
    """Die in a library's function that somebody's own code has called."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    sorted([1], key=lambda _: os.kill(os.getpid(), signal.SIGSEGV))


def last_words(text):
    sys.stderr.write(f"a warning\n{text}\n")
    sys.stderr.flush()
    os._exit(3)


REMEMBERED = []


def remember(item):
    REMEMBERED.append(item)
    return len(REMEMBERED)


def loaded(name):
    return name in sys.modules, len(list(Path("/proc/self/task").iterdir()))


def import_of_checkout(name):
    """The file of a module that is imported late, or that there is none."""
    try:
        return import_module(name).__file__
    except ModuleNotFoundError:
        return "not there"
