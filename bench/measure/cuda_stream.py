"""The stream of a GPU as the timer sees it, and torch's; torch is imported when one is made."""

from collections.abc import Callable
from typing import Any, Protocol

from bench.measure import nvml
from bench.measure.collect import HostClock

Work = Callable[[], object]

# Cycles a second that no present GPU reaches, so that a hold is not shorter than asked for.
CYCLES_PER_S = 2.2e9


class Gpu(Protocol):
    """One stream, its events, the device's cache and clock, and the host's clock."""

    def wall_s(self) -> float:
        """Seconds of the host since some moment."""
        ...

    def record(self) -> Any:  # noqa: ANN401 - an event, which only `elapsed_s` reads
        """Queue an event; it fires when the stream reaches it."""
        ...

    def elapsed_s(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Seconds between two events that have fired."""
        ...

    def hold(self, seconds: float) -> None:
        """Queue a wait of at least that long, so that what follows is enqueued before it starts."""
        ...

    def flush(self) -> None:
        """Queue a write that drives everything else out of the second-level cache."""
        ...

    def synchronize(self) -> None:
        """Wait until the stream is empty."""
        ...

    def capture(self, work: Work) -> Work:
        """Capture one call as a graph that the result replays, or raise RuntimeError."""
        ...

    def sm_clock_mhz(self) -> int | None:
        """Clock of the multiprocessors at this moment; None where it can't be read."""
        ...

    def throttle_reasons(self) -> tuple[str, ...]:
        """Why the clock is held down at this moment."""
        ...

    def other_processes(self) -> int:
        """Number of other processes that are known to compute on the device."""
        ...


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
        seen = torch.cuda.get_device_properties(torch.cuda.current_device())
        self._nvml = nvml.current_nvml(torch)
        # As much as leaves no line alive, whatever rule the cache replaces by.
        self._flush_bytes = 4 * seen.L2_cache_size
        self._flushed: Any = None

    def record(self) -> Any:  # noqa: ANN401
        """Queue an event on the current stream."""
        event = self._torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def elapsed_s(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Seconds between two events, with a resolution of about 0.5 microseconds."""
        return float(start.elapsed_time(end)) * 1e-3

    def hold(self, seconds: float) -> None:
        """Queue a kernel that only counts cycles."""
        self._torch.cuda._sleep(int(seconds * CYCLES_PER_S))  # noqa: SLF001

    def flush(self) -> None:
        """Write four times the second-level cache."""
        if self._flushed is None:
            self._flushed = self._torch.empty(
                self._flush_bytes, dtype=self._torch.uint8, device="cuda"
            )
        self._flushed.zero_()

    def synchronize(self) -> None:
        """Wait for the device."""
        self._torch.cuda.synchronize()

    def capture(self, work: Work) -> Work:
        """Capture one call as a CUDA graph; its outputs stay in a pool of the graph's own.

        The current stream is put back, as a capture that fails does not (its end raises before that,
        torch 2.11 and 2.15).
        """
        cuda = self._torch.cuda
        graph = cuda.CUDAGraph()
        with cuda.stream(cuda.current_stream()), cuda.graph(graph):
            work()
        replay: Work = graph.replay
        return replay

    def sm_clock_mhz(self) -> int | None:
        """Clock by NVML."""
        return self._nvml.sm_clock_mhz() if self._nvml else None

    def throttle_reasons(self) -> tuple[str, ...]:
        """Reasons by NVML."""
        return self._nvml.throttle_reasons() if self._nvml else ()

    def other_processes(self) -> int:
        """Processes by NVML."""
        return (self._nvml.other_processes() if self._nvml else None) or 0
