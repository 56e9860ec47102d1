"""The processor's counter of what a process executes: what is counted, and why nothing is."""

import errno
import hashlib
import os
import re
import sys
import threading
import time

import pytest

from bench.compare import instructions
from bench.compare.instructions import TASK_CLOCK, open_counter

WORK = bytes(2**22)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counters of Linux")


def work():
    for _ in range(20):
        hashlib.sha256(WORK).digest()


@ON_LINUX
def test_a_counter_counts_all_threads_that_were_started_after_it():
    # By the software's clock, which every Linux has: nanoseconds of the calling thread and of those it starts.
    try:
        counter = open_counter(TASK_CLOCK)
    except OSError as error:
        pytest.skip(f"no counter here: {error.strerror}")
    began_s, began = time.process_time(), counter.read()
    thread = threading.Thread(target=work)
    thread.start()
    work()
    thread.join()
    counted_s, taken_s = (counter.read() - began) * 1e-9, time.process_time() - began_s
    counter.close()
    assert counted_s == pytest.approx(taken_s, rel=0.1)


@ON_LINUX
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOENT, "the processor, or the virtual machine on it, offers no counter"),
        (errno.EACCES, "kernel.perf_event_paranoid forbids it; set it to 2 or less"),
        (errno.E2BIG, "Argument list too long"),
    ],
)
def test_a_counter_that_is_refused_says_why(monkeypatch, code, told):
    class Library:
        def syscall(self, *_):
            instructions.ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(instructions.ctypes, "CDLL", lambda *_, **__: Library())
    with pytest.raises(OSError, match=re.escape(told)) as caught:
        open_counter()
    assert (caught.value.errno, caught.value.strerror) == (code, told)


def test_elsewhere_than_on_linux_there_is_no_counter(monkeypatch):
    monkeypatch.setattr(instructions.sys, "platform", "darwin")
    with pytest.raises(OSError, match="not known how on darwin"):
        open_counter()


@ON_LINUX
def test_a_counter_that_never_counts_is_none(monkeypatch):
    reader, writer = os.pipe()
    os.write(writer, bytes(8))

    class Library:
        def syscall(self, *_):
            return reader

    monkeypatch.setattr(instructions.ctypes, "CDLL", lambda *_, **__: Library())
    with pytest.raises(OSError, match="offers no counter"):
        open_counter()
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(reader)  # given back
