"""Instructions that a process has executed, by the processor's own counter, where Linux and the processor offer one.

Unlike a time they hardly scatter: what is the same code on the same maps executes the same instructions to a
thousandth. They are no time either, as a cache that is missed is no instruction.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

# perf_event_open(2), by architecture.
SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}
# linux/perf_event.h: the first version of perf_event_attr, its bits, and events as (type, config).
ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
INHERIT, EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
INSTRUCTIONS, TASK_CLOCK = (0, 1), (1, 1)
REASONS = {
    errno.ENOENT: "the processor, or the virtual machine on it, offers no counter",
    errno.EOPNOTSUPP: "the processor, or the virtual machine on it, offers no counter",
    errno.EACCES: "kernel.perf_event_paranoid forbids it; set it to 2 or less",
    errno.EPERM: "kernel.perf_event_paranoid or the container forbids it; set it to 2 or less",
    errno.ENOSYS: "the kernel has no perf_event_open",
}


@dataclass(frozen=True, slots=True)
class ProcessCounter:
    """A counter of the calling thread and of all threads that it starts from now on."""

    descriptor: int

    def read(self) -> int:
        """Events so far, up to this moment in all threads."""
        return int.from_bytes(os.read(self.descriptor, 8), sys.byteorder)

    def close(self) -> None:
        """Give it back."""
        os.close(self.descriptor)


def open_counter(event: tuple[int, int] = INSTRUCTIONS) -> ProcessCounter:
    """Count from now on, in user mode.

    Args:
        event: type and config of linux/perf_event.h.

    Raises:
        OSError: there is no such counter here; the message says why.
    """
    number = SYSTEM_CALLS.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        reason = f"not known how on {sys.platform} on {platform.machine()}"
        raise OSError(errno.ENOSYS, reason)
    kind, config = event
    flags = INHERIT | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
    attributes = ATTRIBUTES.pack(kind, ATTRIBUTES.size, config, 0, 0, 0, flags, 0, 0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    # This thread, on whichever core, in no group, closed in what is executed.
    descriptor = library.syscall(number, attributes, 0, -1, -1, ctypes.c_ulong(8))
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, REASONS.get(code, os.strerror(code)))
    counter = ProcessCounter(descriptor)
    if sum(range(1000)) and not counter.read():  # some virtual machines have one that never counts
        counter.close()
        raise OSError(errno.EOPNOTSUPP, REASONS[errno.EOPNOTSUPP])
    return counter
