"""What an arm's process does: warm up, take a turn, keep the heap, draw weights and maps."""

import platform
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.compare import turns as worker
from bench.workloads import workload
from experiments.spec import Cell

ROOT = Path(__file__).resolve().parents[3]


def cell(name="apnb", **changes):
    spec = replace(BLOCKS[name], channels=8, key_channels=4)
    return Cell(
        experiment="e", axes={"block": name}, subject=spec, size=Size(height=9, width=9), **changes
    )


class Clock:
    """Wall time goes on by a second at each call, process time by two (two threads)."""

    def __init__(self):
        self.calls = 0

    def work(self):
        self.calls += 1

    def wall_s(self):
        return 1.0 * self.calls

    def process_s(self):
        return 2.0 * self.calls


class Stream:
    """A device that needs `device_s` for a call, and a host that needs `host_s` to enqueue one."""

    def __init__(self, *, device_s, host_s):
        self.now_s = self.free_s = 0.0
        self.device_s, self.host_s = device_s, host_s
        self.calls = 0

    def work(self):
        self.calls += 1
        self.now_s += self.host_s
        self.free_s = max(self.free_s, self.now_s) + self.device_s

    def wall_s(self):
        return self.now_s

    def record(self):
        self.free_s = max(self.free_s, self.now_s)
        return self.free_s

    def elapsed_s(self, start, end):
        return end - start

    def hold(self, seconds):
        self.free_s = max(self.free_s, self.now_s) + seconds

    def synchronize(self):
        self.now_s = max(self.now_s, self.free_s)


def test_a_turn_gives_the_time_of_one_call_by_both_clocks():
    clock = Clock()
    assert worker.take_cpu(clock.work, 5, clock) == {"process": 2.0, "wall": 1.0}


def test_one_short_call_goes_ahead_of_the_timed_ones():
    clock = Clock()
    worker.take_cpu(clock.work, 5, clock)
    assert clock.calls == 6


def test_a_call_that_fills_a_turn_is_not_made_twice():
    clock = Clock()
    worker.take_cpu(clock.work, 1, clock)
    assert clock.calls == 1


@pytest.mark.parametrize("host_s", [1e-6, 1e-4, 1e-3])
def test_a_turn_on_a_gpu_is_the_devices_time_however_slow_the_host(host_s):
    stream = Stream(device_s=2e-4, host_s=host_s)
    times = worker.take_cuda(stream.work, 50, stream)
    assert times["cuda-events"] == pytest.approx(2e-4)
    assert times["wall"] >= max(host_s, 2e-4)


def test_the_clock_that_decides_comes_first():
    stream = Stream(device_s=2e-4, host_s=1e-5)
    assert [*worker.take_cuda(stream.work, 3, stream)] == ["cuda-events", "wall"]
    assert [*worker.timed_turns(lambda: None, "cpu")(1)] == ["process", "wall"]


def test_the_warm_up_gives_its_shortest_call(monkeypatch):
    ticks = count()
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    walls = iter([100.0, 50.0, 3.0, 1.0, 2.0])
    assert worker.warm_up_arm(lambda launches: {"wall": next(walls)}, seconds=4) == 1.0


@pytest.mark.parametrize("name", ["apnb", "apnb-residual", "afnb", "nl", "dnl"])
def test_outputs_depend_on_every_weight_that_starts_as_zero(name):
    torch.manual_seed(0)
    work = workload.make_workload(cell(name), "cpu")
    before = work.module(*work.inputs)
    assert all(weight.any() for weight in work.module.parameters())
    with torch.no_grad():
        for weight in work.module.parameters():
            weight.mul_(1.5)
    assert not torch.allclose(before, work.module(*work.inputs))


def test_arms_of_other_weights_get_the_same_maps():
    works = [workload.make_workload(cell(name), "cpu") for name in ("nb", "apnb-bottleneck")]
    assert not torch.equal(works[0].inputs[0], works[1].inputs[0])
    for work in works:
        worker.refill(work, seed=3)
    assert torch.equal(works[0].inputs[0], works[1].inputs[0])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_calls_of_an_arm_share_autocast_in_inference_alone(monkeypatch, mode):
    seen = []

    def turns(work, device, **_):
        seen.append(torch.is_autocast_enabled(device))
        return lambda launches: {"wall": 1.0}

    monkeypatch.setattr(worker, "timed_turns", turns)
    monkeypatch.setattr(worker, "warm_up_arm", lambda take, seconds: 1.0)
    task = worker.ArmTask(cell=cell(dtype="autocast-bfloat16", mode=mode, batch=2), device="cpu")
    session = worker.take_turns(task)
    assert next(session).call_s == 1.0
    session.close()
    assert set(seen) == {mode == "eval"}


def test_equal_cells_get_the_same_weights():
    one, other = (workload.make_workload(cell(), "cpu").module for _ in "ab")
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize(
    ("variables", "device", "given"),
    [
        ({}, "cpu", ["GOMP_SPINCOUNT", "OMP_PROC_BIND"]),
        ({"OMP_NUM_THREADS": "2"}, "cpu", ["GOMP_SPINCOUNT", "OMP_PROC_BIND"]),
        ({"OMP_PLACES": "sockets"}, "cpu", ["GOMP_SPINCOUNT"]),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "cpu", ["OMP_PROC_BIND"]),
        ({"OMP_NUM_THREADS": "1"}, "cpu", []),
        ({}, "cuda", []),
    ],
)
def test_threads_are_placed_unless_the_user_has_placed_them(monkeypatch, variables, device, given):
    monkeypatch.setattr(worker.sys, "platform", "linux")
    assert sorted(worker.thread_variables(variables, device)) == given


@pytest.mark.parametrize(("launches", "done"), [(10, 11), (100, 110), (3, 4)])
def test_on_a_gpu_planted_work_is_whole_calls_that_are_not_said(launches, done):
    calls = []

    def take(count):
        calls.append(count)
        return {"process": 1.0}

    assert worker.plant_calls(take, 0.1)(launches) == {"process": done / launches}
    assert calls == [done]


def test_without_planted_work_a_turn_is_taken_as_it_is():
    def take(launches):
        return {}

    assert worker.plant_calls(take, 0.0) is take


class Busy(Clock):
    """Process time also goes on while it is read, by a hundredth of a second."""

    read_s = 0.0

    def process_s(self):
        self.read_s += 0.01
        return 2.0 * self.calls + self.read_s


def test_on_a_processor_a_planted_turn_is_busy_for_that_share_longer():
    plain, slowed = (
        worker.take_cpu(clock.work, 8, clock, planted=share)["process"]
        for share, clock in ((0.0, Busy()), (0.02, Busy()))
    )
    assert plain == pytest.approx(2.0, abs=0.01)
    assert slowed == pytest.approx(2.04, abs=0.01)


class Spinning(Clock):
    """Process time goes on by what its threads still spin for in each pause."""

    def __init__(self, *spun_s):
        super().__init__()
        self.spun_s, self.now_s = iter(spun_s), 0.0
        self.pauses = 0

    def process_s(self):
        return self.now_s

    def sleep(self, seconds):
        self.pauses += 1
        self.now_s += next(self.spun_s, 0.0)


@pytest.mark.parametrize(
    ("spun_s", "pauses"), [((), 1), ((5e-4, 5e-4), 3), ((1e-3,) * 20, 10), ((2e-5,), 1)]
)
def test_a_turn_ends_when_no_thread_spins_any_more_or_after_five_milliseconds(
    monkeypatch, spun_s, pauses
):
    clock = Spinning(*spun_s)
    monkeypatch.setattr(worker, "time", SimpleNamespace(sleep=clock.sleep))
    worker.settle(clock)
    assert clock.pauses == pauses


class Counter:
    """Counts a thousand instructions a call."""

    def __init__(self, clock):
        self.clock = clock

    def read(self):
        return 1000 * self.clock.calls


def test_the_instructions_of_a_call_stand_beside_its_times():
    clock = Clock()
    times = worker.take_cpu(clock.work, 8, clock, counter=Counter(clock))
    assert [*times.items()] == [("process", 2.0), ("wall", 1.0), ("instructions", 1000)]


def test_where_there_is_no_counter_an_arm_says_why(monkeypatch):
    def refuse():
        raise PermissionError(13, "kernel.perf_event_paranoid forbids it; set it to 2 or less")

    monkeypatch.setattr(worker, "open_counter", refuse)
    assert worker.instruction_counter("cpu") == (
        None,
        "kernel.perf_event_paranoid forbids it; set it to 2 or less",
    )
    assert worker.instruction_counter("cuda") == (None, "")


FAULTS = """
import ctypes, resource, sys
from bench.compare.turns import keep_heap
kept = len(sys.argv) > 1 and keep_heap()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
for cycle in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [library.malloc(ctypes.c_size_t(8 * 2**20)) for _ in range(6)]
    for block in blocks:
        ctypes.memset(block, 1, 8 * 2**20)
    for block in reversed(blocks):
        library.free(ctypes.c_void_p(block))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments):
    """Page faults of taking, filling and giving back six blocks of 8 MiB for the fourth time."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap is another C library's")
def test_a_heap_that_is_kept_is_not_taken_again_page_by_page():
    assert faults("keep") < 10
    assert faults() > 1000
