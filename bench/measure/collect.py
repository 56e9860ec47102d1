"""How readings are taken, whatever the clock: warm up until steady, then collect until known.

The clock is handed in, so that the rules run against simulated drift and noise as well.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from bench.analysis import MIN_SAMPLES

# A record stays readable, and a thousand readings more would not narrow an interval by much.
MAX_SAMPLES = 2000
# Shortest window of the warm-up, but no more than a quarter of it.
WINDOW_S = 0.1
# The share by which the clock of a GPU may differ between two windows of the warm-up.
CLOCK_AGREEMENT = 0.02
# Threads of this process under Linux, and the kind of clock that clock_gettime(2) has for each of them.
TASKS, THREAD_CLOCK = "/proc/self/task", 6


class HostClock:
    """Two clocks of this process, the operating system's."""

    _threads = 0
    _clocks: tuple[int, ...] = ()

    def wall_s(self) -> float:
        """Seconds since some moment."""
        return time.perf_counter_ns() * 1e-9

    def process_s(self) -> float:
        """Seconds that all threads of this process have run on a core, up to this moment."""
        self._account()
        return time.process_time_ns() * 1e-9

    def _account(self) -> None:
        """Have Linux add to the process clock what other threads have run since the last tick of their core.

        It does so for a thread whose own clock is read. Else up to four milliseconds a thread are missing, of calls of
        ten milliseconds a tenth at random.
        """
        try:
            # Two more links than threads: to count them is much cheaper than to name them, as Path would be dearer.
            threads = os.stat(TASKS).st_nlink  # noqa: PTH116
            if threads != self._threads:
                names = os.listdir(TASKS)  # noqa: PTH208
                self._clocks = tuple((~int(name) << 3) | THREAD_CLOCK for name in names)
                self._threads = threads
            for clock in self._clocks:
                time.clock_gettime(clock)
        except (OSError, AttributeError):  # a thread has ended, or this is no Linux
            self._threads = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Seconds of one call by the clock that is being read, and what else was seen meanwhile.

    `host_s` is what one call kept the host busy for: all of it on the CPU, the enqueueing on a GPU.
    `spent_s` is what the whole reading took on the wall clock.
    """

    time_s: float
    host_s: float
    spent_s: float
    sm_clock_mhz: int | None = None
    throttle_reasons: tuple[str, ...] = ()


Read = Callable[[], Reading]


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """How it ended: whether two windows agreed, after how long, and the last one's medians.

    Where a call takes too long for one, it ends with the first reading.
    """

    last: Reading
    steady: bool = False
    seconds: float = 0.0


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's garbage collector out of the samples."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def warm_up(read: Read, wall_s: Callable[[], float], *, cap_s: float, agreement: float) -> WarmUp:
    """Read until two consecutive windows agree in median and clock, or `cap_s` is over.

    A window that is under way then is ended; `agreement` is the share by which the medians may differ.
    """
    window_s = min(WINDOW_S, cap_s / 4)
    began_s = wall_s()
    before = _window(read, wall_s, window_s)
    while wall_s() - began_s < cap_s:
        now = _window(read, wall_s, window_s)
        if _agree(before, now, agreement):
            return WarmUp(steady=True, seconds=wall_s() - began_s, last=now)
        before = now
    return WarmUp(seconds=wall_s() - began_s, last=before)


def _window(read: Read, wall_s: Callable[[], float], window_s: float) -> Reading:
    end_s = wall_s() + window_s
    readings = [read()]
    while wall_s() < end_s:
        readings.append(read())
    clocks = [reading.sm_clock_mhz for reading in readings if reading.sm_clock_mhz is not None]
    return Reading(
        time_s=median(reading.time_s for reading in readings),
        host_s=median(reading.host_s for reading in readings),
        spent_s=sum(reading.spent_s for reading in readings),
        sm_clock_mhz=round(median(clocks)) if clocks else None,
    )


def _agree(before: Reading, now: Reading, agreement: float) -> bool:
    same_time = abs(now.time_s - before.time_s) <= agreement * before.time_s
    if before.sm_clock_mhz is None or now.sm_clock_mhz is None:
        return same_time
    drift_mhz = abs(now.sm_clock_mhz - before.sm_clock_mhz)
    return same_time and drift_mhz <= CLOCK_AGREEMENT * before.sm_clock_mhz


def collect_samples(
    read: Read,
    wall_s: Callable[[], float],
    *,
    done: Callable[[Sequence[Reading]], bool],
    end_s: float,
    span_s: float,
    first: Sequence[Reading] = (),
    most: int = MAX_SAMPLES,
) -> tuple[Reading, ...]:
    """Read at least once, then until `done` or until another like the last would pass `end_s`.

    Args:
        read: takes one reading.
        wall_s: the clock of `end_s`.
        done: whether the readings suffice; called at 12 readings and then at each tenth more.
        end_s: moment by which to be ready.
        span_s: readings are spread over at least this long, since neighbours share their luck.
        first: readings that were taken before and count.
        most: readings in all.
    """
    readings, next_check = list(first) or [read()], MIN_SAMPLES
    began_s = now_s = wall_s()
    while now_s + readings[-1].spent_s <= end_s and len(readings) < most:
        readings.append(read())
        now_s = wall_s()
        if len(readings) >= next_check and now_s - began_s >= span_s:
            if done(readings):
                break
            next_check = len(readings) + len(readings) // 10 + 1
    return tuple(readings)
