"""Readings of NVML while a device is measured: clock, throttling, free memory, who else is on it.

Without the driver or the binding, `Nvml.open` gives None; a query that a device or a virtual
machine does not answer gives None or nothing. Clocks are read and never set. Whoever asks NVML does not
compute on the device: no query makes a CUDA context, which would take half a GiB there and count as
one more process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self, TypeVar

Answer = TypeVar("Answer")

# nvml.h, nvmlClocksEventReasons. Idle (bit 0) is no throttling: a device between two samples idles.
REASONS = {
    0x002: "clocks-setting",
    0x004: "power-cap",
    0x008: "hardware-slowdown",
    0x010: "sync-boost",
    0x020: "thermal",
    0x040: "hardware-thermal",
    0x080: "power-brake",
    0x100: "display-clocks",
}


@dataclass(slots=True)
class Waiting:
    """How many processes with a context on the device only wait for this one: who started it, if that has one."""

    count: int = 0


waiting = Waiting()


def reason_names(mask: int) -> tuple[str, ...]:
    """Name the set bits of NVML's clock event reasons; one without a name is shown as a number."""
    bits = (1 << position for position in range(1, mask.bit_length()))
    return tuple(REASONS.get(bit, hex(bit)) for bit in bits if mask & bit)


@dataclass(frozen=True, slots=True)
class Nvml:
    """One device as NVML sees it; `library` is the module `pynvml` or one that answers like it."""

    library: Any
    handle: Any

    @classmethod
    def open(cls, uuid: str | None = None, *, library: ModuleType | None = None) -> Self | None:
        """Find a device by its UUID, `GPU-` or not before it, or the first; None without one."""
        if library is None:
            try:
                import pynvml
            except ImportError:
                return None
            library = pynvml
        try:
            library.nvmlInit()
            if uuid is None:
                return cls(library, library.nvmlDeviceGetHandleByIndex(0))
            name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
            return cls(library, library.nvmlDeviceGetHandleByUUID(name))
        except library.NVMLError:
            return None

    def sm_clock_mhz(self) -> int | None:
        """Clock of the multiprocessors at this moment."""
        return self._query(
            lambda nvml, at: int(nvml.nvmlDeviceGetClockInfo(at, nvml.NVML_CLOCK_SM))
        )

    def throttle_reasons(self) -> tuple[str, ...]:
        """Why the clock is below what it could be, by name; empty when nothing limits it."""
        mask = self._query(lambda nvml, at: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(at)))
        return reason_names(mask or 0)

    def other_processes(self) -> int | None:
        """Number of processes that compute on the device beside this one, which must be doing so.

        They are counted, not looked up: in a container this process has another id than the
        driver's. Those that are known to wait for this one are left out. None where not even this
        one is listed.
        """
        running = self._query(lambda nvml, at: nvml.nvmlDeviceGetComputeRunningProcesses(at))
        return max(0, len(running) - 1 - waiting.count) if running else None

    def memory_bytes(self) -> tuple[int, int] | None:
        """Free bytes, and all that the device has."""
        memory = self._query(lambda nvml, at: nvml.nvmlDeviceGetMemoryInfo(at))
        return None if memory is None else (int(memory.free), int(memory.total))

    def driver_version(self) -> str | None:
        """Version of the driver, e.g. 570.86.15."""
        return self._query(lambda nvml, _: str(nvml.nvmlSystemGetDriverVersion()))

    def power_limit_w(self) -> float | None:
        """Power cap in force."""
        return self._query(lambda nvml, at: nvml.nvmlDeviceGetEnforcedPowerLimit(at) / 1000)

    def _query(self, query: Callable[[Any, Any], Answer]) -> Answer | None:
        try:
            return query(self.library, self.handle)
        except self.library.NVMLError:
            return None


def current_nvml(torch: Any) -> Nvml | None:  # noqa: ANN401  # a module
    """The device on which torch computes in this process; it needs no context for that."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return Nvml.open(str(properties.uuid)) or Nvml.open()
