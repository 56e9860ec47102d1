"""Peak memory of one executed call.

Measured minus predicted is workspace and rounding: what operators take inside themselves (oneDNN
reorders, cuDNN and cuBLAS workspaces) and what the allocator can't split.
"""

import ctypes
import gc
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import torch

from bench.measure.nvml import current_nvml
from bench.records import MeasuredMemory
from experiments.spec import Measurement

WARM_CALLS = 3
# A first call on a processor that takes longer is read itself, rather than a second one.
LONG_CALL_S = 10.0
# Of glibc's malloc.h, M_TRIM_THRESHOLD and M_MMAP_THRESHOLD: what is freed goes back at once. Left alone they
# follow what has been freed, up to 64 and 32 MiB, which the heap then keeps.
NOTHING_KEPT = {-1: 2**16, -3: 2**16}
# For the opposite: what is freed stays in the heap, the largest pieces that it takes included. To get memory from the
# system anew costs a training on a processor a tenth of its time.
ALL_KEPT = {-1: 2**31 - 1, -3: 2**25}


def measure_memory(work: Callable[[], object], *, device: Literal["cpu", "cuda"]) -> MeasuredMemory:
    """Peak of one executed call over what stood before it: inputs and parameters.

    `work` drops what it returns. On `cuda` three calls go before the one that is read, on `cpu` one; see
    `measure_cpu` for what that leaves behind.

    Raises:
        ValueError: the device is another.
    """
    if device == "cuda":
        nvml = current_nvml(torch)
        return measure_cuda(work, others=nvml.other_processes() if nvml else None)
    if device == "cpu":
        return measure_cpu(work)
    msg = f"device {device!r} holds no memory to measure; pass cpu or cuda"
    raise ValueError(msg)


def measure_cuda(
    work: Callable[[], object],
    cuda: Any = torch.cuda,  # noqa: ANN401  # a module, or what stands for it in tests
    *,
    others: int | None,
) -> MeasuredMemory:
    """Peaks of requested, allocated and reserved bytes over their values before the call.

    Requested is what the tensors need and should be what was predicted; allocated and reserved are
    what the allocator made of it; the driver's is by how much its free memory fell. That memory is
    the whole device's, so that it is left out where `others`, processes that compute on the device
    beside this one, are more than none or unknown (None).
    """
    for _ in range(WARM_CALLS):
        work()
    cuda.synchronize()
    gc.collect()
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    before, free_before = cuda.memory_stats(), cuda.mem_get_info()[0]
    work()
    cuda.synchronize()
    after, free_after = cuda.memory_stats(), cuda.mem_get_info()[0]
    rise = {
        f"{kind}_bytes": after[f"{kind}_bytes.all.peak"] - before[f"{kind}_bytes.all.current"]
        for kind in ("requested", "allocated", "reserved")
    }
    driver_bytes = max(0, free_before - free_after) if others == 0 else None
    return MeasuredMemory(**rise, driver_bytes=driver_bytes)


def measure_cpu(work: Callable[[], object], process: Path = Path("/proc/self")) -> MeasuredMemory:
    """High-water mark of the process over its resident memory before the call; Linux alone.

    The second call is read: a first one pages code in, and makes what libraries keep. One that takes
    longer than `LONG_CALL_S` is read itself, and no other is made. From here on the heap of this
    process keeps nothing that is freed, where that is glibc's, so that calls are slow: nothing is to
    be timed in it. Where the mark can't be reset or read there is no reading, and no call is made.
    """
    set_malloc(NOTHING_KEPT)
    try:
        began_s = time.monotonic()
        rise_bytes = _rise(work, process)
        if time.monotonic() - began_s < LONG_CALL_S:
            rise_bytes = _rise(work, process)
    except UnreadableError:
        return MeasuredMemory()
    lag_bytes = _pages_per_cpu() * mmap.PAGESIZE * (os.cpu_count() or 1)
    return MeasuredMemory(high_water_bytes=max(0, rise_bytes), resolution_bytes=lag_bytes)


class UnreadableError(RuntimeError):
    """This system does not say how much memory a process has."""


def _rise(work: Callable[[], object], process: Path) -> int:
    """Bytes by which a call raises the mark."""
    gc.collect()
    give_back()
    with suppress(OSError, AttributeError):  # of systems that have no such counters
        _settle()
    try:
        # Writing 5 sets the mark back to what is resident now (proc(5)).
        (process / "clear_refs").write_text("5", encoding="ascii")
        before = _status_bytes(process, "VmRSS")
    except (OSError, ValueError) as error:
        raise UnreadableError from error
    work()
    return _status_bytes(process, "VmHWM") - before


def give_back() -> None:
    """Have the C library's heap give back to the system what is free in it, where it can."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _settle() -> None:
    """Have the kernel add up the pages of this process that it has counted for each processor apart.

    It adds a processor's pages of one kind when they are so many, and its mark knows of no others; so
    each takes and gives back more than that, of memory and of a file.
    """
    size_bytes = 2 * _pages_per_cpu() * mmap.PAGESIZE
    pages = slice(None, None, mmap.PAGESIZE)
    with (
        (Path(torch.__file__).parent / "lib" / "libtorch_cpu.so").open("rb") as file,
        _on_each_cpu() as cpus,
    ):
        for _ in cpus:
            with mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
                memory[pages] = bytes(len(range(size_bytes)[pages]))
            with mmap.mmap(file.fileno(), size_bytes, mmap.MAP_PRIVATE, mmap.PROT_READ) as mapped:
                mapped[pages]


def _pages_per_cpu() -> int:
    """How many Linux counts before it adds them up: `percpu_counter_batch` in its lib/percpu_counter.c."""
    return max(32, 2 * (os.cpu_count() or 1))


@contextmanager
def _on_each_cpu() -> Iterator[Iterator[int]]:
    """Move this thread to one processor after the other, those that it may not use left out."""
    allowed = os.sched_getaffinity(0)

    def visited() -> Iterator[int]:
        for number in range(os.cpu_count() or 1):
            with suppress(OSError):
                os.sched_setaffinity(0, {number})
                yield number

    try:
        yield visited()
    finally:
        os.sched_setaffinity(0, allowed)


def set_malloc(options: Mapping[int, int]) -> bool:
    """Set options of the C library's heap, for as long as this process lives; False where it has no such switch."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(option, value) for option, value in options.items())


def _status_bytes(process: Path, field: str) -> int:
    for line in (process / "status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    msg = f"{process / 'status'} has no {field}"
    raise ValueError(msg)


def probe(
    work: Callable[[], object], _cell: Measurement, device: Literal["cpu", "cuda"]
) -> dict[str, Any]:
    """The probe `memory`."""
    return {"memory": measure_memory(work, device=device)}
