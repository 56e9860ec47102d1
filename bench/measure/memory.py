"""Peak memory of one executed call.

Measured minus predicted is workspace and rounding: what operators take inside themselves (oneDNN
reorders, cuDNN and cuBLAS workspaces) and what the allocator can't split.
"""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from bench.measure.nvml import current_nvml
from bench.records import MeasuredMemory
from experiments.spec import Measurement

WARM_CALLS = 3


def measure_memory(work: Callable[[], object], *, device: Literal["cpu", "cuda"]) -> MeasuredMemory:
    """Peak of one executed call over what stood before it: inputs and parameters.

    `work` drops what it returns. On `cuda` three calls go before the one that is read; on `cpu` one is
    made, after which the caller may want no other (a first tiny call is the caller's).

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

    Where the mark can't be reset or read there is no reading, and the call is not made.
    """
    gc.collect()
    try:
        # Writing 5 sets the mark back to what is resident now (proc(5)).
        (process / "clear_refs").write_text("5", encoding="ascii")
        before = _status_bytes(process, "VmRSS")
    except (OSError, ValueError):
        return MeasuredMemory()
    work()
    return MeasuredMemory(high_water_bytes=max(0, _status_bytes(process, "VmHWM") - before))


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
