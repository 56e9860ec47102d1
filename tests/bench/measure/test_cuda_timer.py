"""The GPU timer against a simulated stream, and on a real one where there is a GPU."""

import random

import pytest
import torch

from bench.analysis.statistics import is_conclusive, median_interval, without_rejected
from bench.measure.cuda_stream import TorchGpu
from bench.measure.cuda_timer import time_cuda


class SimulatedGpu:
    """One stream: work is queued by the host and runs in order; events fire when the stream reaches them."""

    def __init__(
        self,
        *,
        device_s=2e-3,
        host_s=1e-4,
        cold_s=0.0,
        clock_mhz=lambda _: 1980,
        reasons=lambda _: (),
        spread=0.0,
        graph_error=None,
        others=0,
    ):
        self.now_s = self.free_s = 0.0
        self.device_s, self.host_s, self.cold_s = device_s, host_s, cold_s
        self.clock_mhz, self.reasons, self.spread = clock_mhz, reasons, spread
        self.graph_error, self.others = graph_error, others
        self.cached = None
        self.draw = random.Random(0)

    def wall_s(self):
        return self.now_s

    def record(self):
        self.free_s = max(self.free_s, self.now_s) + 1e-6
        return self.free_s

    def elapsed_s(self, start, end):
        return end - start

    def hold(self, seconds):
        self.free_s = max(self.free_s, self.now_s) + seconds

    def flush(self):
        self.cached = None
        self.free_s = max(self.free_s, self.now_s) + 5e-5

    def synchronize(self):
        self.now_s = max(self.now_s, self.free_s)

    def launch(self, host_s, inputs=0):
        self.now_s += host_s
        start_s = max(self.free_s, self.now_s)
        device_s = self.device_s(start_s) if callable(self.device_s) else self.device_s
        device_s *= max(0.1, self.draw.gauss(1, self.spread)) if self.spread else 1
        device_s += 0.0 if self.cached == inputs else self.cold_s
        self.cached = inputs
        self.free_s = start_s + device_s * 1980 / self.clock_mhz(start_s)

    def work(self, inputs=0):
        self.launch(self.host_s, inputs)

    def capture(self, work):
        if self.graph_error:
            raise self.graph_error
        return lambda: self.launch(5e-6)

    def sm_clock_mhz(self):
        return self.clock_mhz(self.now_s)

    def throttle_reasons(self):
        return self.reasons(self.now_s)

    def other_processes(self):
        return self.others


def times(gpu, work=None, *, budget_s=20.0, **options):
    """Timings by clock and cache."""
    timings = time_cuda(work or gpu.work, budget_s=budget_s, gpu=gpu, **options)
    return {(timing.clock, timing.cache): timing for timing in timings}


def test_events_give_the_time_on_the_device():
    timing = times(SimulatedGpu(device_s=2e-3))["cuda-events", "hot"]
    assert timing.samples_s == pytest.approx([2e-3] * len(timing.samples_s), rel=1e-3)
    assert timing.steady
    assert not timing.host_bound


def test_a_pair_of_events_encloses_a_millisecond_of_launches():
    timing = times(SimulatedGpu(device_s=3e-5, host_s=1e-5))["cuda-events", "hot"]
    assert timing.launches * 3e-5 >= 1e-3


def test_a_host_bound_stream_is_flagged_and_its_device_time_still_right():
    found = times(SimulatedGpu(device_s=1e-4, host_s=4e-4))
    timing = found["cuda-events", "hot"]
    assert timing.host_bound
    assert median_interval(timing.samples_s).median == pytest.approx(1e-4, rel=0.02)
    assert median_interval(found["wall", "hot"].samples_s).median == pytest.approx(5e-4, rel=0.02)


def test_replaying_a_graph_shows_what_the_host_cost():
    found = times(SimulatedGpu(device_s=1e-4, host_s=4e-4))
    assert median_interval(found["cuda-graph", "hot"].samples_s).median == pytest.approx(1e-4, 0.02)


def test_a_graph_that_cannot_be_captured_is_noted():
    found = times(SimulatedGpu(graph_error=RuntimeError("operation not permitted\nat line 3")))
    assert ("cuda-graph", "hot") not in found
    assert found["cuda-events", "hot"].notes == ("no CUDA graph: operation not permitted",)


def test_without_graphs_none_is_captured():
    found = times(SimulatedGpu(graph_error=AssertionError("captured")), graph=False)
    assert list(found) == [("cuda-events", "hot"), ("cuda-events", "cold"), ("wall", "hot")]


def test_a_flushed_cache_makes_the_cold_timing_slower_by_the_misses():
    found = times(SimulatedGpu(device_s=2e-3, cold_s=5e-4))
    hot, cold = (found["cuda-events", cache].samples_s for cache in ("hot", "cold"))
    assert median_interval(hot).median == pytest.approx(2e-3, rel=1e-3)
    assert median_interval(cold).median == pytest.approx(2.5e-3, rel=1e-3)


def test_inputs_that_rotate_are_cold_without_a_flush():
    gpu = SimulatedGpu(device_s=1e-4, host_s=1e-5, cold_s=1e-4)
    gpu.flush = None
    works = [lambda which=which: gpu.work(which) for which in range(4)]
    cold = times(gpu, works)["cuda-events", "cold"]
    assert median_interval(cold.samples_s).median == pytest.approx(2e-4, rel=0.02)


def test_the_floor_is_an_empty_pair_and_is_not_subtracted():
    timing = times(SimulatedGpu(device_s=2e-3))["cuda-events", "hot"]
    assert timing.floor_s == pytest.approx(1e-6)
    assert min(timing.samples_s) >= 2e-3


def test_samples_at_a_low_clock_are_rejected_and_kept():
    def clock_mhz(now_s):
        return 1400 if 0.3 < now_s < 0.35 else 1980

    gpu = SimulatedGpu(clock_mhz=clock_mhz, spread=0.001)
    timing = times(gpu, graph=False)["cuda-events", "hot"]
    low = tuple(i for i, mhz in enumerate(timing.sm_clocks_mhz) if mhz == 1400)
    assert low
    assert timing.rejected == low
    assert len(timing.samples_s) == len(timing.sm_clocks_mhz)
    rest = without_rejected(timing.samples_s, timing.rejected)
    assert is_conclusive(rest)
    assert median_interval(rest).median == pytest.approx(2e-3, rel=0.01)


def test_throttling_for_a_while_does_not_hinder_a_verdict():
    gpu = SimulatedGpu(clock_mhz=lambda now_s: 1400 if 0.3 < now_s < 0.5 else 1980, spread=0.001)
    timing = times(gpu, graph=False)["cuda-events", "hot"]
    assert not is_conclusive(timing.samples_s)
    assert is_conclusive(without_rejected(timing.samples_s, timing.rejected))
    assert sum(timing.samples_s) < 1


def test_other_processes_on_the_device_are_noted_with_every_timing():
    found = times(SimulatedGpu(others=2))
    assert {one.notes for one in found.values()} == {("other processes on the device: 2",)}
    assert {one.notes for one in times(SimulatedGpu()).values()} == {()}


def test_reasons_for_throttling_are_kept_by_name():
    gpu = SimulatedGpu(reasons=lambda now_s: ("power-cap",) if now_s > 0.4 else ())
    assert times(gpu)["cuda-events", "hot"].throttle_reasons == ("power-cap",)


def test_a_clock_that_cannot_be_read_rejects_nothing():
    gpu = SimulatedGpu()
    gpu.sm_clock_mhz = lambda: None
    timing = times(gpu)["cuda-events", "hot"]
    assert timing.steady
    assert (timing.sm_clocks_mhz, timing.rejected) == ((), ())


def test_a_clock_that_still_climbs_is_not_steady_although_times_agree():
    gpu = SimulatedGpu()
    gpu.sm_clock_mhz = lambda: int(600 * 1.5**gpu.now_s)
    gpu.clock_mhz = lambda _: 1980
    assert not times(gpu, budget_s=4)["cuda-events", "hot"].steady


def test_a_slow_warm_up_of_the_device_is_waited_for():
    gpu = SimulatedGpu(device_s=lambda now_s: 2e-3 if now_s > 1 else 4e-3 - 2e-3 * now_s)
    timing = times(gpu)["cuda-events", "hot"]
    assert timing.steady
    assert timing.warmup_s > 0.9
    assert max(timing.samples_s) == pytest.approx(2e-3, rel=1e-3)


def test_drift_that_never_ends_is_not_steady():
    gpu = SimulatedGpu(device_s=lambda now_s: 1e-3 * 1.5**now_s)
    assert not times(gpu, budget_s=4)["cuda-events", "hot"].steady


def test_noise_of_the_device_that_never_settles_is_inconclusive_within_the_budget():
    gpu = SimulatedGpu(device_s=5e-2, spread=0.3)
    found = times(gpu, budget_s=8)
    assert gpu.now_s <= 8.5
    assert not is_conclusive(found["cuda-events", "hot"].samples_s)


def test_every_clock_gets_its_share_of_the_budget():
    gpu = SimulatedGpu(device_s=5e-2, spread=0.3)
    found = times(gpu, budget_s=12)
    counts = [len(timing.samples_s) for timing in found.values()]
    assert len(counts) == 4
    assert min(counts) > 0.6 * max(counts)


def test_a_gpu_call_longer_than_the_budget_is_made_once():
    gpu = SimulatedGpu(device_s=30.0)
    (timing,) = times(gpu, budget_s=20).values()
    assert timing.samples_s == pytest.approx((30.0,), rel=1e-4)
    assert not timing.steady


def test_a_first_call_that_loads_kernels_does_not_count_as_long():
    gpu = SimulatedGpu(device_s=lambda now_s: 2.0 if now_s < 1 else 2e-3)
    timing = times(gpu, budget_s=6)["cuda-events", "hot"]
    assert timing.steady
    assert max(timing.samples_s) == pytest.approx(2e-3, rel=1e-3)


def test_a_capture_that_fails_leaves_the_stream_as_it_was(pretended_gpu):
    x = torch.ones(3, device="cuda")

    def work():
        return (x + 1).sum().item()

    work()
    with pytest.raises(RuntimeError, match="due to a previous error"):
        TorchGpu().capture(work)
    assert pretended_gpu.stream == "default stream"


def test_a_captured_call_replays_on_its_own_memory(pretended_gpu):
    x, seen = torch.ones(3, device="cuda"), []

    def work():
        seen.append(x * 2)

    work()
    replay = TorchGpu().capture(work)
    x.fill_(4.0)
    replay()
    assert [list(item) for item in seen] == [[2, 2, 2], [8, 8, 8]]


def test_what_was_never_called_can_not_be_captured(pretended_gpu):
    x = torch.ones(5, device="cuda")
    with pytest.raises(RuntimeError, match="due to a previous error"):
        TorchGpu().capture(x.cos)


def test_no_work_is_refused():
    with pytest.raises(ValueError, match="no work to time"):
        time_cuda([], budget_s=1, gpu=SimulatedGpu())


def test_cuda_timing_without_a_gpu_names_the_way_out():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match="use time_cpu instead"):
        time_cuda(lambda: None, budget_s=1)


@pytest.fixture
def cuda():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch finds no NVIDIA GPU")
    return torch


@pytest.mark.gpu
def test_a_real_matrix_product_is_timed_by_every_clock(cuda):
    matrix = cuda.randn(2048, 2048, device="cuda")
    found = {(one.clock, one.cache): one for one in time_cuda(lambda: matrix @ matrix, budget_s=6)}
    assert len(found) == 4
    hot = median_interval(found["cuda-events", "hot"].samples_s).median
    assert 2 * 2048**3 / hot < 2e15
    assert median_interval(found["wall", "hot"].samples_s).median > hot
    assert found["cuda-events", "hot"].floor_s < 1e-4


@pytest.mark.gpu
def test_a_real_host_bound_call_is_flagged(cuda):
    small = cuda.randn(8, device="cuda")

    def work():
        total = small
        for _ in range(50):
            total = total + 1
        return total

    hot, *_ = time_cuda(work, budget_s=4)
    assert hot.host_bound


@pytest.mark.gpu
def test_a_real_hold_lasts_at_least_as_long_as_asked(cuda):
    gpu = TorchGpu()
    gpu.hold(1e-3)
    gpu.synchronize()
    start = gpu.record()
    gpu.hold(1e-2)
    end = gpu.record()
    gpu.synchronize()
    assert gpu.elapsed_s(start, end) >= 1e-2
