"""The clock of a process beside those of its threads."""

import hashlib
import sys
import threading
import time

import pytest

from bench.measure import HostClock

WORK = bytes(2**22)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="clocks and counters of Linux")


class Busy:
    """A thread that hashes, for which Python's lock is free, until it is told to end."""

    def __enter__(self):
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()
        return self

    def work(self):
        while not self.ended.is_set():
            hashlib.sha256(WORK).digest()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def thread_s(thread):
    return time.clock_gettime((~thread.native_id << 3) | 6)


@ON_LINUX
def test_the_clock_of_a_process_has_all_that_its_threads_have_run():
    clock = HostClock()
    with Busy() as busy:
        behind_s = []
        for _ in range(200):
            hashlib.sha256(WORK).digest()
            began_s = clock.process_s() - thread_s(busy.thread)
            hashlib.sha256(WORK).digest()
            # The other thread's clock is read first, so that the process cannot have run less than both.
            own_s, other_s = time.thread_time(), thread_s(busy.thread)
            behind_s.append(own_s + other_s - clock.process_s())
            assert began_s >= -1e-9
    assert max(behind_s) <= 1e-9


@ON_LINUX
def test_a_thread_that_comes_or_goes_is_no_matter():
    clock = HostClock()
    before_s = clock.process_s()
    with Busy():
        hashlib.sha256(WORK).digest()
        between_s = clock.process_s()
    after_s = clock.process_s()
    assert before_s < between_s < after_s
    assert after_s == pytest.approx(time.process_time(), abs=0.05)
