"""PyTorch's caching allocator of CUDA memory, replayed: requests in, allocated and reserved bytes out.

With default settings: `max_split_size` without limit, no `roundup_power2_divisions`, no
`garbage_collection_threshold`; on one stream. The rules are the same in torch 2.11 and 2.15.
"""

from bisect import insort
from collections.abc import Iterable
from typing import NamedTuple

from bench.predict.segments import (
    MIN_BLOCK_BYTES,
    SMALL_BYTES,
    Block,
    Device,
    ExpandablePool,
    Pool,
    round_up,
)

# What a storage is called, and its bytes; 0 when it is given back.
Event = tuple[int, int]


class DeviceFullError(MemoryError):
    """A request for which the device has no memory left, after all that was cached has been given back."""


class Allocator:
    """The allocator of one device: blocks for requests, and what they take."""

    def __init__(self, *, expandable: bool = False, capacity_bytes: int | None = None) -> None:
        """Begin with an empty device; `expandable` is `expandable_segments:True`."""
        self.device = Device(capacity_bytes)
        kind = ExpandablePool if expandable else Pool
        self.pools = kind(self.device, small=True), kind(self.device, small=False)
        self.allocated_bytes = self.peak_bytes = 0

    def allocate(self, size_bytes: int) -> Block:
        """Give a block to a request.

        Raises:
            DeviceFullError: the device is full, with all given back that was free.
        """
        size_bytes = max(MIN_BLOCK_BYTES, round_up(size_bytes, MIN_BLOCK_BYTES))
        pool = self.pools[size_bytes > SMALL_BYTES]
        block = pool.find(size_bytes) or pool.grow(size_bytes)
        if block is None:
            self.empty_cache()
            block = pool.grow(size_bytes)
        if block is None:
            msg = f"{size_bytes} bytes do not fit beside {self.device.reserved_bytes} that are reserved"
            raise DeviceFullError(msg)
        if pool.splits(block.size_bytes - size_bytes):
            rest = pool.cut(block, size_bytes)
            insort(pool.free, (rest.size_bytes, rest.address, rest))
        block.in_use = True
        self.allocated_bytes += block.size_bytes
        self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)
        return block

    def free(self, block: Block) -> None:
        """Take a block back."""
        block.in_use = False
        self.allocated_bytes -= block.size_bytes
        block.pool.give_back(block)

    def empty_cache(self) -> None:
        """Give to the device what is free as a whole, large ones first."""
        for pool in reversed(self.pools):
            pool.release()

    def reset_peaks(self) -> None:
        """Look for peaks from here on."""
        self.peak_bytes = self.allocated_bytes
        self.device.peak_bytes = self.device.reserved_bytes


class Rise(NamedTuple):
    """Peaks of a call over what stood before it, and the peak of what was reserved from the beginning, in bytes."""

    allocated_bytes: int
    reserved_bytes: int
    whole_bytes: int


def replay(
    events: Iterable[Event],
    call_at: int,
    *,
    expandable: bool = False,
    capacity_bytes: int | None = None,
) -> Rise:
    """Follow a trace as `bench.measure.measure_memory` reads a device: the cache is emptied ahead of the call.

    Args:
        events: storages that are made and given back, in order.
        call_at: the index of the call's first event.
        expandable: whether segments are expandable ones.
        capacity_bytes: of the device; None is without limit.

    Raises:
        DeviceFullError: it does not fit.
    """
    allocator = Allocator(expandable=expandable, capacity_bytes=capacity_bytes)
    device, blocks = allocator.device, dict[int, Block]()
    whole_bytes = before = standing = 0
    for at, (name, size_bytes) in enumerate((*events, (0, -1))):
        if at == call_at:
            allocator.empty_cache()
            whole_bytes = device.peak_bytes
            allocator.reset_peaks()
            before, standing = allocator.allocated_bytes, device.reserved_bytes
        if size_bytes > 0:
            blocks[name] = allocator.allocate(size_bytes)
        elif not size_bytes:
            allocator.free(blocks.pop(name))
    return Rise(
        allocator.peak_bytes - before,
        device.peak_bytes - standing,
        max(whole_bytes, device.peak_bytes),
    )
