"""The largest map and batch that fit on a device: a search over predictions, by the rules of CUDA's allocator.

A call fits if its trace, with all that stands, goes through the allocator on a device of so much memory; nothing
is executed. That the next larger one does not fit is predicted too, never concluded.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import torch

from ann.spec import Size
from bench.analysis import Datasheet, cublas_bytes, usable_bytes
from bench.predict import fake
from bench.predict.allocator import DeviceFullError, Event, replay
from bench.predict.live_memory import Meter, follow_call
from bench.predict.predict import make_fake, uncompiled
from bench.records import Fit, PeakPart, one_line
from experiments import variants
from experiments.spec import Cell

STEP = 8  # positions; heights and widths are multiples
MOST_STEPS, MOST_MAPS = (
    2**12,
    2**20,
)  # a map of 32768 rows, a million maps: what is larger is not looked for
TOLD_PARTS = 3
LAW_LOOKS = 8


class Call(NamedTuple):
    """What a call asks the allocator for; with all that stands its peak, and what it would reserve at the most."""

    events: tuple[Event, ...]
    call_at: int
    peak_bytes: int
    reserved_bytes: int
    parts: tuple[PeakPart, ...]

    def fits(self, capacity_bytes: int) -> bool:
        """Whether it goes through on a device of so much memory."""
        if self.reserved_bytes <= capacity_bytes or self.peak_bytes > capacity_bytes:
            return self.peak_bytes <= capacity_bytes
        try:
            replay(self.events, self.call_at, capacity_bytes=capacity_bytes)
        except DeviceFullError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one block in one mode and number format; each size and batch is predicted once."""

    cell: Cell
    known: dict[tuple[Size, int], Call] = field(default_factory=dict)

    def call(self, size: Size, batch: int) -> Call:
        """Predict a call of another size and batch."""
        key = size, batch
        if key not in self.known:
            self.known[key] = _trace(replace(self.cell, size=size, batch=batch))
        return self.known[key]

    def of_steps(self, steps: int) -> Call:
        """Predict a call of a map with so many steps of rows."""
        return self.call(scaled(self.cell.size, steps), self.cell.batch)

    def of_batch(self, batch: int) -> Call:
        """Predict a call of so many maps."""
        return self.call(self.cell.size, batch)


def _trace(cell: Cell) -> Call:
    with fake.on("cuda"), uncompiled():
        work = make_fake(cell, "cuda")
        meter = follow_call(work.module, work.inputs, mode=cell.mode, numbers=work.numbers)
    whole_bytes = replay(meter.events, meter.call_at).whole_bytes
    events = tuple(meter.events)
    return Call(events, meter.call_at, meter.peak_bytes, whole_bytes, _parts(meter))


def _parts(meter: Meter) -> tuple[PeakPart, ...]:
    """Group what is alive at the peak by shape; the largest groups."""
    parts = [
        PeakPart(operators=("parameters",), count=1, size_bytes=meter.parameter_bytes),
        PeakPart(operators=("input",), count=1, size_bytes=meter.input_bytes),
    ]
    shapes = dict.fromkeys(tensor.shape for tensor in meter.peak_live)
    for shape in shapes:
        same = [tensor for tensor in meter.peak_live if tensor.shape == shape]
        names = dict.fromkeys(tensor.operator for tensor in same)
        size_bytes = sum(tensor.size_bytes for tensor in same)
        parts.append(
            PeakPart(operators=tuple(names), shape=shape, count=len(same), size_bytes=size_bytes)
        )
    return tuple(sorted(parts, key=lambda part: -part.size_bytes)[:TOLD_PARTS])


def scaled(size: Size, steps: int) -> Size:
    """Give a size of about the same aspect ratio with so many steps of rows."""
    columns = max(1, round(steps * size.width / size.height))
    return Size(height=steps * STEP, width=columns * STEP)


def largest(call_at: Callable[[int], Call], capacity_bytes: int, *, start: int, most: int) -> int:
    """Find the number up to `most` whose call fits while that of the next does not; 0 if none fits.

    The next one to look at is read off a power law through the two that are nearest to the limit, of what they
    reserve at the most; where more fits, since cached memory is given back, in strides that double.
    """
    fitting, failing, stride = 0, most + 1, 1
    known: dict[int, int] = {}
    at = min(start, most)
    while True:
        call = call_at(at)
        known[at] = call.reserved_bytes
        fitting, failing = (at, failing) if call.fits(capacity_bytes) else (fitting, at)
        if failing - fitting <= 1:
            return fitting
        at = _guess(known, capacity_bytes)
        if at <= fitting:
            at, stride = fitting + stride, 2 * stride
        at = min(at, failing - 1)
        if len(known) >= LAW_LOOKS:
            at = (fitting + min(failing, 4 * fitting + 2)) // 2


def _guess(known: Mapping[int, int], capacity_bytes: int) -> int:
    nearest = sorted(known, key=lambda at: abs(math.log(known[at] / capacity_bytes)))[:2]
    at, power = nearest[0], 2.0
    if len(nearest) > 1:
        ratio = math.log(known[nearest[0]] / known[nearest[1]])
        power = max(0.5, ratio / math.log(nearest[0] / nearest[1]))
    return int(at * (capacity_bytes / known[at]) ** (1 / power))


def find_fits(cell: Cell, devices: Mapping[str, Datasheet]) -> Iterator[Fit]:
    """Say for each device what fits of a cell: its map, in its batch, and its batch, at its size."""
    calls = Calls(replace(cell, device="cuda"))
    for name, device in devices.items():
        workspace_bytes = cublas_bytes(device, torch.__version__, trains=cell.mode == "train")
        capacity_bytes = usable_bytes(device, workspace_bytes)
        fit = Fit(
            arm=variants.write(
                str(cell.axes.get("block", cell.axes.get("network"))), cell.implementation
            ),
            size=str(cell.size),
            batch=cell.batch,
            mode=cell.mode,
            dtype=cell.dtype,
            device=name,
            usable_bytes=capacity_bytes,
            workspace_bytes=workspace_bytes,
            torch=torch.__version__,
            step=STEP,
        )
        yield fit.model_copy(update=_limits(calls, capacity_bytes))


def _limits(calls: Calls, capacity_bytes: int) -> dict[str, object]:
    search = partial(largest, capacity_bytes=capacity_bytes)
    size = calls.cell.size
    batch = None
    try:
        batch = search(calls.of_batch, start=calls.cell.batch, most=MOST_MAPS)
        steps = search(calls.of_steps, start=max(1, size.height // STEP), most=MOST_STEPS)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in somebody's module is that row's reason
        return {"largest_batch": batch, "reason": one_line(error)}
    if not steps:
        call = calls.of_steps(1)
        return {
            "largest_batch": batch,
            "reason": f"a map of {scaled(size, 1)} needs {call.peak_bytes} bytes",
        }
    call = calls.of_steps(steps)
    return {
        "largest_size": str(scaled(size, steps)),
        "largest_batch": batch,
        "peak_bytes": call.peak_bytes,
        "parts": call.parts,
    }
