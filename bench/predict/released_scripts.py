"""The released efficiency scripts, procedure by procedure, flaws included.

MendelXu/ANN, efficiency_statics: flops_count.py with its modified torchstat, and totaltime_test.py.
What their figures mean is seen from the `strict` protocol's beside them.

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

from ann.spec import BlockSpec, Size
from bench.predict.live_memory import Meter
from bench.records import Timing
from bench.workloads import build_subject, input_widths
from experiments.spec import Measurement

# What makes a module, the size of its maps, and the channels of each.
Run = tuple[Callable[[], nn.Module], Size, tuple[int, ...]]
REPEATS = 20


class NullBlock(nn.Module):
    """The script's empty block: gives back what it is given."""

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        """Return the map."""
        return x


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
    is_seen = spec.output in ("context", "concat") and spec.sampler in ("all", "pyramid-average")
    if spec != released or not is_seen:
        return None
    pixels, width = size.pixels, spec.key_channels
    projections = 3 * spec.channels * width * pixels + (2 * width + spec.channels) * pixels
    norm_and_relu = 3 * width * pixels
    products = (1 if spec.sampler == "all" else 2) * 2 * pixels * spec.anchors(pixels) * width
    # Each grid has one pooling module, used for the key and for the value, and counted once.
    pooling = sum(
        ((size.height // grid) * (size.width // grid) + 1) * width * grid * grid
        for grid in spec.grids
    )
    return projections + norm_and_relu + products + pooling


def predicted_memory(sequence: Sequence[Run]) -> tuple[int, ...]:
    """Bytes that the released script would print for each block, simulated on meta tensors.

    Runs are in the order of the process. Before the first of each size the empty block runs on that
    size and sets the base; a figure is the maximum since the process began, less that base.
    """
    meter = Meter()
    with meter:
        return _memory(sequence, "meta", read=lambda: meter.peak_bytes)


def measured_memory(
    sequence: Sequence[Run],
    cuda: Any = torch.cuda,  # noqa: ANN401  # a module, or what stands for it in tests
    *,
    device: str = "cuda",
) -> tuple[int, ...]:
    """The same figures read from CUDA's allocator, in a process that has run nothing else."""
    return _memory(sequence, device, read=cuda.max_memory_allocated, cuda=cuda)


def _memory(
    sequence: Sequence[Run],
    device: str,
    *,
    read: Callable[[], int],
    cuda: Any = None,  # noqa: ANN401
) -> tuple[int, ...]:
    figures: list[int] = []
    base_size, base = None, 0
    for factory, size, widths in sequence:
        # Two turns reach the maximum of twenty: from the second on the old input is alive while the
        # new one is made.
        take = partial(_turns, size=size, widths=widths, device=device, cuda=cuda, most=2)
        if base_size != size:
            take(NullBlock)
            base_size, base = size, read()
        take(factory)
        gc.collect()
        figures.append(read() - base)
    return tuple(figures)


def wall_times(
    factory: Callable[[], nn.Module],
    size: Size,
    widths: tuple[int, ...],
    *,
    device: Literal["cpu", "cuda"],
    budget_s: float = float("inf"),
    clock: Callable[[], float] = time.time,
    cuda: Any = torch.cuda,  # noqa: ANN401  # a module, or what stands for it in tests
) -> Timing:
    """Time of each of 20 calls by the wall clock, no warm-up, less the empty block's mean.

    `cuda` is waited for inside the interval, and its cache emptied after it. Calls end early once they
    took `budget_s`; a note says how many there were. The script's `clock` is time.time.
    """
    settle = cuda if device == "cuda" else None
    take = partial(_turns, size=size, widths=widths, device=device, cuda=settle)
    empty = take(NullBlock, budget_s=budget_s, clock=clock)
    mean = sum(empty) / len(empty)
    samples = take(factory, budget_s=budget_s, clock=clock)
    notes = [f"by the released script: no warm-up, empty block's {mean * 1e3:.3f} ms subtracted"]
    if len(samples) < REPEATS:
        notes.append(f"{len(samples)} calls of the script's {REPEATS}: the time was up")
    return Timing(
        clock="wall",
        samples_s=tuple(sample - mean for sample in samples),
        steady=False,
        notes=tuple(notes),
    )


def _turns(
    factory: Callable[[], nn.Module],
    *,
    size: Size,
    widths: tuple[int, ...],
    device: str,
    cuda: Any,  # noqa: ANN401
    most: int = REPEATS,
    budget_s: float = float("inf"),
    clock: Callable[[], float] = time.time,
) -> list[float]:
    """Call on a new input each time; give the seconds of each call."""
    with torch.device(device):
        module = factory().eval()
    samples: list[float] = []
    draw = _drawing(size, widths, device)
    with torch.no_grad():
        while len(samples) < most and (not samples or sum(samples) < budget_s):
            x = draw()
            start = clock()
            module(*x)
            if cuda:
                cuda.synchronize()
            samples.append(clock() - start)
            if cuda:
                cuda.empty_cache()
    return samples


def _drawing(size: Size, widths: tuple[int, ...], device: str) -> Callable[[], list[Tensor]]:
    """What makes a new input each time; on a processor, which takes longer to draw one than many a call, a copy."""
    draw = partial(torch.randn, device=device)
    shapes = [(1, width, size.height, size.width) for width in widths]
    if device != "cpu":
        return lambda: [draw(shape) for shape in shapes]
    drawn = [draw(shape) for shape in shapes]
    return lambda: [each.clone() for each in drawn]


def sequence_of(cell: Measurement) -> tuple[Run, ...]:
    """What the released script would have run, in order, this cell last."""
    return tuple(
        (partial(build_subject, subject), size, input_widths(subject))
        for subject, size in (*cell.preceded_by, (cell.subject, cell.size))
    )
