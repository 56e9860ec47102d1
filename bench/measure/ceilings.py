"""What this machine reaches: one large copy, and one product of square matrices for each number format.

Random numbers, since products of zeros run faster than any a network has. The matrices grow until a
product takes long enough to reach its rate; the maps of the copy are larger than any cache.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ann.spec import UnavailableError
from bench.measure import cpu_timer, cuda_timer
from bench.records import Ceiling, Timing
from bench.workloads import require_format, switch_format, weights_dtype
from experiments.spec import Dtype

Device = Literal["cpu", "cuda"]

FORMATS: dict[Device, tuple[Dtype, ...]] = {
    "cpu": ("float32", "float64", "float16", "bfloat16"),
    "cuda": ("float32", "tf32", "float16", "bfloat16", "float64"),
}
COPY_BYTES: dict[Device, int] = {"cpu": 2**28, "cuda": 2**30}
BUDGETS_S = {"copy": 0.8, "product": 0.4}
LONG_ENOUGH_S = 0.005
SMALLEST, LARGEST = 256, 8192


def measure_ceilings(device: Device) -> tuple[Ceiling, ...]:
    """Copy and products of a device, each with its samples; about three seconds in all."""
    return (copy(device), *(product(dtype, device) for dtype in FORMATS[device]))


def copy(device: Device) -> Ceiling:
    """Copy a map into another; each byte is read once and written once."""
    source = torch.randn(COPY_BYTES[device] // 4, device=device)
    work = partial(torch.empty_like(source).copy_, source)
    work()  # the first one also makes room
    timing = _time(work, device, budget_s=BUDGETS_S["copy"])
    return Ceiling(kind="copy", amount=2 * source.numel() * source.element_size(), timing=timing)


def product(dtype: Dtype, device: Device, largest: int = LARGEST) -> Ceiling:
    """Multiply two square matrices; where the device lacks the format, say so."""
    ceiling = partial(Ceiling, kind="product", dtype=dtype)
    try:
        require_format(dtype, device)
        switch_format(dtype, device)
        side, work = _grown(dtype, device, largest)
        timing = _time(work, device, budget_s=BUDGETS_S["product"])
    except (UnavailableError, RuntimeError) as error:
        return ceiling(reason=str(error).split("\n", 1)[0][:200])
    return ceiling(amount=2 * side**3, timing=timing)


def _grown(dtype: Dtype, device: Device, largest: int) -> tuple[int, Callable[[], Tensor]]:
    """Double the matrices until one product takes long enough."""
    side = SMALLEST
    while True:
        left, right = (
            torch.randn(side, side, device=device).to(weights_dtype(dtype)) for _ in range(2)
        )
        work = partial(torch.mm, left, right, out=torch.empty_like(left))
        work()  # the first one of a size also plans
        quickest_s = min(_seconds(work, device) for _ in range(3))
        if side >= largest or quickest_s >= LONG_ENOUGH_S:
            return side, work
        side *= 2


def _seconds(work: Callable[[], Tensor], device: Device) -> float:
    synchronize: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    synchronize()
    began_s = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - began_s


def _time(work: Callable[[], Tensor], device: Device, *, budget_s: float) -> Timing:
    """By the clock by which blocks are timed: events on a GPU, the wall clock on a processor."""
    if device == "cuda":
        return cuda_timer.time_cuda(work, budget_s=budget_s, graph=False)[0]
    return cpu_timer.time_cpu(work, budget_s=budget_s)[1]
