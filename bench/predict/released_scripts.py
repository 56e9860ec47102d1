"""The released efficiency scripts, procedure by procedure, flaws included.

MendelXu/ANN, efficiency_statics: flops_count.py with its modified torchstat, and totaltime_test.py.
What their figures are worth is said by the `strict` protocol's beside them.

- Operations: a call of a module counts, so what is computed by functions (softmax, scaling) does
  not; a module called twice counts as called once (its second call overwrites the first); a matrix
  product counts 2 per MAC where a convolution counts 1.
- Memory: the maximum of the process since its start, less the same after an empty block had run on
  the first inputs. Nothing resets it, so a block is measured against whatever ran before.
- Time: the wall clock over 20 calls, the first included, cached memory given back after each, less
  the empty block's.
"""

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ann.spec import BlockSpec, NetworkSpec, Size
from bench.predict.live_memory import Meter
from bench.records import Timing
from bench.workloads import build_subject
from experiments.spec import Measurement, Subject

Channels = int | tuple[int, ...]  # of the map, or of each map of a fusion block
Run = tuple[Callable[[], nn.Module], Size, Channels]
Shapes = tuple[tuple[int, ...], ...]
REPEATS = 20


class NullBlock(nn.Module):
    """The script's empty block: gives back what it is given."""

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        """Return the map."""
        return x


def _shapes(size: Size, channels: Channels) -> Shapes:
    widths = channels if isinstance(channels, tuple) else (channels,)
    return tuple((1, width, size.height, size.width) for width in widths)


def paper_operations(spec: BlockSpec, size: Size) -> int | None:
    """Operations of a released block (NB or APNB, W_o's result alone) by the modified torchstat.

    Convolution 1 per MAC and 1 per output for its bias, batch norm 2 and ReLU 1 per element, a
    matrix product 2 per MAC, adaptive pooling (h // n) * (w // n) + 1 per output. NB has one matrix
    product module for both of its products, so one of them counts; for APNB the published 15.5 G
    is met only if both count (15.574 G). None for blocks that the script did not measure.
    """
    released = BlockSpec(
        channels=spec.channels,
        key_channels=spec.key_channels,
        sampler=spec.sampler,
        grids=spec.grids,
        seed=spec.seed,
        output=spec.output,
    )
    if spec != released or spec.output not in ("context", "concat") or spec.sampler not in _SEEN:
        return None
    pixels, width = size.pixels, spec.key_channels
    anchors = spec.anchors(pixels)
    projections = 3 * spec.channels * width * pixels + (2 * width + spec.channels) * pixels
    norm_and_relu = 3 * width * pixels
    products = (1 if spec.sampler == "all" else 2) * 2 * pixels * anchors * width
    return projections + norm_and_relu + products + _pooling(spec, size)


_SEEN = ("all", "pyramid-average")


def _pooling(spec: BlockSpec, size: Size) -> int:
    # Each grid has one pooling module, used for the key and for the value, and counted once.
    return sum(
        ((size.height // grid) * (size.width // grid) + 1) * spec.key_channels * grid * grid
        for grid in spec.grids
    )


def predicted_memory(sequence: Sequence[Run]) -> tuple[int, ...]:
    """Bytes that the released script would print for each block, simulated on meta tensors.

    Args:
        sequence: module factory, size and input channels, in the order of the process. Before the
            first block of each size the empty block runs on that size and sets the base.

    Returns:
        One figure a run: the maximum since the process began, less the base of its size.
    """
    meter = Meter()

    def read() -> int:
        return meter.peak_bytes

    with meter:
        return _memory(sequence, device="meta", read=read, settle=lambda: None)


def measured_memory(
    sequence: Sequence[Run],
    cuda: Any = torch.cuda,  # noqa: ANN401  # a module, or what stands for it in tests
    *,
    device: str = "cuda",
) -> tuple[int, ...]:
    """The same figures read from CUDA's allocator, in a process that has run nothing else."""

    def settle() -> None:
        cuda.synchronize()
        cuda.empty_cache()

    return _memory(sequence, device=device, read=cuda.max_memory_allocated, settle=settle)


def _memory(
    sequence: Sequence[Run],
    *,
    device: str,
    read: Callable[[], int],
    settle: Callable[[], None],
) -> tuple[int, ...]:
    figures: list[int] = []
    base_size, base = None, 0
    for factory, size, channels in sequence:
        shapes = _shapes(size, channels)
        if base_size != size:
            _loop(NullBlock, shapes, device=device, settle=settle)
            base_size, base = size, read()
        _loop(factory, shapes, device=device, settle=settle)
        figures.append(read() - base)
    return tuple(figures)


def _loop(
    factory: Callable[[], nn.Module],
    shapes: Shapes,
    *,
    device: str,
    settle: Callable[[], None],
    repeats: int = 2,
) -> None:
    # Two turns reach the maximum of twenty: from the second on the old input is alive while the new
    # one is made.
    with torch.device(device):
        module = factory().eval()
    with torch.no_grad():
        for _ in range(repeats):
            x = [torch.randn(shape, device=device) for shape in shapes]
            module(*x)
            settle()
    del module, x
    gc.collect()


def wall_times(
    factory: Callable[[], nn.Module],
    size: Size,
    channels: Channels,
    *,
    device: Literal["cpu", "cuda"],
    budget_s: float = float("inf"),
    clock: Callable[[], float] = time.time,
    cuda: Any = torch.cuda,  # noqa: ANN401  # a module, or what stands for it in tests
) -> Timing:
    """Time of each of 20 calls by the wall clock, no warm-up, less the empty block's mean.

    Args:
        factory: makes the block.
        size: of the map.
        channels: of the map, or of each map.
        device: `cuda` waits for the device inside the interval and empties the cache after it.
        budget_s: ends the calls early once they took so long; a note says how many there were.
        clock: seconds; the script's is time.time.
        cuda: what stands for `torch.cuda`.
    """
    settle = cuda if device == "cuda" else None
    shapes = _shapes(size, channels)
    empty = _wall(NullBlock, shapes, device, budget_s=budget_s, clock=clock, cuda=settle)
    mean = sum(empty) / len(empty)
    samples = _wall(factory, shapes, device, budget_s=budget_s, clock=clock, cuda=settle)
    notes = [f"by the released script: no warm-up, empty block's {mean * 1e3:.3f} ms subtracted"]
    if len(samples) < REPEATS:
        notes.append(f"{len(samples)} calls of the script's {REPEATS}: the time was up")
    return Timing(
        clock="wall",
        samples_s=tuple(sample - mean for sample in samples),
        steady=False,
        notes=tuple(notes),
    )


def _wall(
    factory: Callable[[], nn.Module],
    shapes: Shapes,
    device: str,
    *,
    budget_s: float,
    clock: Callable[[], float],
    cuda: Any,  # noqa: ANN401
) -> list[float]:
    with torch.device(device):
        module = factory().eval()
    samples: list[float] = []
    with torch.no_grad():
        while len(samples) < REPEATS and (not samples or sum(samples) < budget_s):
            x = [torch.randn(shape, device=device) for shape in shapes]
            start = clock()
            module(*x)
            if cuda:
                cuda.synchronize()
            samples.append(clock() - start)
            if cuda:
                cuda.empty_cache()
    return samples


def sequence_of(cell: Measurement) -> tuple[Run, ...]:
    """What the released script would have run, in order, this cell last."""
    runs = (*cell.preceded_by, (cell.subject, cell.size))
    return tuple(
        (partial(build_subject, subject), size, _channels(subject)) for subject, size in runs
    )


def _channels(subject: Subject) -> Channels:
    if isinstance(subject, NetworkSpec):
        return 3
    low = subject.low_channels if isinstance(subject, BlockSpec) else None
    return (subject.channels, low) if low else subject.channels
