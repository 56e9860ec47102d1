"""The CPU timer against simulated clocks; only one test here takes real time, and little."""

import gc
import random
from itertools import pairwise

import pytest

from bench.analysis.statistics import is_conclusive, median_interval
from bench.measure.collect import MAX_SAMPLES, HostClock
from bench.measure.cpu_timer import LEAST_FOR_INTERVAL, time_cpu


class SimulatedHost:
    """Two clocks that move only when work is done; `cost_s` is a number or a function of the moment."""

    def __init__(self, cost_s, *, threads=1, spread=0.0):
        self.now_s = self.process_now_s = 0.0
        self.cost_s, self.threads, self.spread = cost_s, threads, spread
        self.calls = 0
        self.draw = random.Random(0)

    def wall_s(self):
        return self.now_s

    def process_s(self):
        return self.process_now_s

    def work(self):
        self.calls += 1
        cost_s = self.cost_s(self.now_s) if callable(self.cost_s) else self.cost_s
        cost_s *= max(0.1, self.draw.gauss(1, self.spread)) if self.spread else 1
        self.now_s += cost_s
        self.process_now_s += self.threads * cost_s


def test_process_and_wall_clock_are_read_on_the_same_calls():
    host = SimulatedHost(5e-3, threads=2)
    process, wall = time_cpu(host.work, budget_s=10, clock=host)
    assert (process.clock, wall.clock) == ("process", "wall")
    assert process.samples_s == pytest.approx([2 * sample for sample in wall.samples_s])
    assert wall.samples_s == pytest.approx([5e-3] * len(wall.samples_s))


def test_short_calls_are_batched_into_samples_of_a_millisecond():
    host = SimulatedHost(3e-5)
    _, wall = time_cpu(host.work, budget_s=2, clock=host)
    assert wall.launches == 34
    assert wall.samples_s[0] == pytest.approx(3e-5)


def test_a_quiet_call_stops_long_before_the_budget():
    host = SimulatedHost(5e-3)
    time_cpu(host.work, budget_s=60, clock=host)
    assert 3 < host.now_s < 4


def test_a_seven_second_call_stays_inside_twenty_seconds():
    host = SimulatedHost(7.0)
    process, wall = time_cpu(host.work, budget_s=20, clock=host)
    assert host.now_s <= 20
    assert len(process.samples_s) == len(wall.samples_s) == 2
    assert not wall.steady


def test_a_call_of_a_fifth_of_the_budget_gets_three_samples():
    host = SimulatedHost(4.0)
    _, wall = time_cpu(host.work, budget_s=20, clock=host)
    assert host.now_s <= 20
    assert len(wall.samples_s) == 3


def test_a_call_longer_than_the_budget_is_made_once():
    host = SimulatedHost(30.0)
    _, wall = time_cpu(host.work, budget_s=20, clock=host)
    assert host.calls == 1
    assert wall.samples_s == (30.0,)
    assert median_interval(wall.samples_s).low is None


def test_of_calls_too_long_for_an_interval_three_are_enough():
    host = SimulatedHost(1.1)
    _, wall = time_cpu(host.work, budget_s=10, clock=host)
    assert (host.calls, wall.steady) == (3, False)


def test_a_first_call_that_is_long_alone_ends_no_timing():
    host = SimulatedHost(lambda now_s: 2e-2 if now_s > 0 else 0.25)
    _, wall = time_cpu(host.work, budget_s=2.0, clock=host)
    assert wall.steady
    assert len(wall.samples_s) > LEAST_FOR_INTERVAL
    assert max(wall.samples_s) == pytest.approx(2e-2)


def test_noise_that_never_settles_uses_the_budget_and_is_inconclusive():
    host = SimulatedHost(5e-2, spread=0.3)
    _, wall = time_cpu(host.work, budget_s=8, clock=host)
    assert host.now_s == pytest.approx(8, abs=0.2)
    assert not is_conclusive(wall.samples_s)


def test_a_slow_warm_up_is_waited_for():
    host = SimulatedHost(lambda now_s: 5e-3 if now_s > 0.7 else 2e-2 - now_s * 2e-2)
    _, wall = time_cpu(host.work, budget_s=20, clock=host)
    assert wall.steady
    assert wall.warmup_s > 0.7
    assert max(wall.samples_s) == pytest.approx(5e-3)


def test_a_quiet_moment_does_not_end_the_reading():
    host = SimulatedHost(lambda now_s: 5e-3 if now_s % 2 < 1 else 4e-3)
    _, wall = time_cpu(host.work, budget_s=6, clock=host)
    assert host.now_s == pytest.approx(6, abs=0.1)
    assert not is_conclusive(wall.samples_s)


def test_a_call_that_keeps_getting_slower_is_not_steady():
    host = SimulatedHost(lambda now_s: 1e-3 * 2**now_s)
    process, _ = time_cpu(host.work, budget_s=4, clock=host)
    assert not process.steady


def test_samples_are_bounded_in_number():
    host = SimulatedHost(2e-3, spread=0.5)
    _, wall = time_cpu(host.work, budget_s=60, clock=host)
    assert wall.launches > 1
    assert 0.8 * MAX_SAMPLES < len(wall.samples_s) <= MAX_SAMPLES


def test_the_garbage_collector_is_off_inside_and_back_on_outside():
    host, seen, frozen = SimulatedHost(0.1), [], gc.get_freeze_count()
    time_cpu(lambda: (seen.append(gc.isenabled()), host.work()), budget_s=4, clock=host)
    assert not any(seen)
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_the_garbage_collector_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError):
        time_cpu(lambda: 1 / 0, budget_s=1)
    assert gc.isenabled()


def test_real_clocks_move_forward():
    clock = HostClock()
    moments = [clock.wall_s() for _ in range(5)]
    assert all(later >= earlier for earlier, later in pairwise(moments))
    assert clock.process_s() > 0


def test_real_work_is_timed_within_its_budget():
    clock = HostClock()
    began_s = clock.process_s()
    process, _ = time_cpu(lambda: sum(range(20_000)), budget_s=0.2)
    assert clock.process_s() - began_s < 1
    assert min(process.samples_s) > 0


def test_a_call_of_which_no_interval_can_come_is_made_three_times():
    host = SimulatedHost(15.0)
    process, _ = time_cpu(host.work, budget_s=60, clock=host)
    assert (host.calls, len(process.samples_s)) == (3, 3)
