"""The current stream of a GPU as the timer sees it; torch is imported when one is made."""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from bench.measure import nvml
from bench.measure.collect import HostClock

Work = Callable[[], object]
Event: TypeAlias = Any  # torch.cuda.Event, which only `elapsed_s` reads

PERSISTING_L2_LIMIT = 6  # of cuda.h's CUlimit
# Cycles a second that no present GPU reaches, so that no hold is too short.
CYCLES_PER_S = 2.2e9


class TorchGpu(HostClock):
    """torch's current stream on its current device, with NVML beside it where there is one.

    Raises:
        ValueError: torch finds no NVIDIA GPU.
    """

    def __init__(self) -> None:
        import torch

        if not torch.cuda.is_available():
            msg = "CUDA timing needs an NVIDIA GPU and torch finds none; use time_cpu instead"
            raise ValueError(msg)
        self._torch = torch
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        self._nvml = nvml.current_nvml(torch)
        # As much as leaves no line alive, whatever rule the cache replaces by.
        self._flush_bytes = 4 * properties.L2_cache_size
        self._flushed: Any = None

    def record(self) -> Event:
        """Queue an event; it fires when the stream reaches it."""
        event = self._torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_s(self, start: Event, end: Event) -> float:
        """Seconds between two events that have fired, with a resolution of about 0.5 microseconds."""
        return float(start.elapsed_time(end)) * 1e-3

    def hold(self, seconds: float) -> None:
        """Queue a kernel that only counts cycles, at least that long: what follows is enqueued before it starts."""
        self._torch.cuda._sleep(int(seconds * CYCLES_PER_S))  # noqa: SLF001

    def flush(self) -> None:
        """Queue a write of four times the second-level cache, which drives everything else out of it."""
        if self._flushed is None:
            self._flushed = self._torch.empty(
                self._flush_bytes, dtype=self._torch.uint8, device="cuda"
            )
        self._flushed.zero_()

    def synchronize(self) -> None:
        """Wait until the device has nothing left to do."""
        self._torch.cuda.synchronize()

    def lag_s(self) -> float:
        """Seconds for which the device works on after the current stream has come to what is queued in it now."""
        event = self._torch.cuda.Event()
        event.record()
        event.synchronize()
        began_s = time.perf_counter()
        self.synchronize()
        return time.perf_counter() - began_s

    def persisting_l2_bytes(self) -> int:
        """Second-level cache that this process has set aside for what it wants to stay in it; 0 unless it did so.

        `cuCtxGetLimit` of CUDA's driver with `CU_LIMIT_PERSISTING_L2_CACHE_SIZE`; 0 also where there is no such call.
        """
        size = ctypes.c_size_t(0)
        with suppress(OSError, AttributeError):
            driver = ctypes.CDLL("libcuda.so.1")
            if driver.cuCtxGetLimit(ctypes.byref(size), PERSISTING_L2_LIMIT) != 0:
                return 0
        return size.value

    def capture(self, work: Work) -> Work:
        """Capture one call as a CUDA graph that the result replays, or raise RuntimeError.

        Its outputs stay in a pool of the graph's own. The current stream is put back, as a capture
        that fails does not (its end raises before that, torch 2.11 and 2.15).
        """
        cuda = self._torch.cuda
        graph = cuda.CUDAGraph()
        with cuda.stream(cuda.current_stream()), cuda.graph(graph):
            work()
        replay: Work = graph.replay
        return replay

    def sm_clock_mhz(self) -> int | None:
        """Clock of the multiprocessors at this moment by NVML; None where it can't be read."""
        return self._nvml.sm_clock_mhz() if self._nvml else None

    def throttle_reasons(self) -> tuple[str, ...]:
        """Why the clock is low at this moment, by NVML."""
        return self._nvml.throttle_reasons() if self._nvml else ()

    def other_processes(self) -> int:
        """Number of other processes that are known to compute on the device."""
        return (self._nvml.other_processes() if self._nvml else None) or 0
