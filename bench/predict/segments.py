"""Segments of CUDA memory and the blocks that they are cut into, as PyTorch's caching allocator has them.

Sizes are those of c10/core/AllocatorConfig.h, rules those of c10/cuda/CUDACachingAllocator.cpp, in torch 2.11 and
2.15 with default settings. Only sizes are followed, no memory is touched.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass

MEBI = 2**20
MIN_BLOCK_BYTES = 512  # every size is a multiple
SMALL_BYTES = MEBI  # the largest request of the small pool
SMALL_SEGMENT_BYTES = 2 * MEBI
LARGE_SEGMENT_BYTES = 20 * MEBI
OWN_SEGMENT_BYTES = (
    10 * MEBI
)  # from here a request that nothing free can serve has a segment of its size,
ROUND_SEGMENT_BYTES = 2 * MEBI  # rounded up to this
# An expandable segment takes addresses for 9/8 of the device's memory; of one without limit, for as good as all.
ADDRESSES_BYTES = 2**60


def round_up(size_bytes: int, multiple: int) -> int:
    """Give the next multiple."""
    return -(-size_bytes // multiple) * multiple


@dataclass(eq=False, slots=True)
class Block:
    """A piece of a segment, in use or free, between its neighbours; without memory behind it where not mapped."""

    address: int
    size_bytes: int
    pool: "Pool"
    segment: int = 0  # where its segment begins
    before: "Block | None" = None
    after: "Block | None" = None
    in_use: bool = False
    mapped: bool = True

    def insert_after(self, other: "Block") -> None:
        """Take the place behind a neighbour."""
        self.before, self.after = other, other.after
        if other.after is not None:
            other.after.before = self
        other.after = self


class Device:
    """Memory of the device, of which segments are made."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        """Begin with nothing reserved; None is a device without limit."""
        self.capacity_bytes = capacity_bytes
        self.reserved_bytes = self.peak_bytes = 0
        self._next_address = 0

    def reserve(self, size_bytes: int) -> bool:
        """Take memory, if there is so much."""
        if (
            self.capacity_bytes is not None
            and self.reserved_bytes + size_bytes > self.capacity_bytes
        ):
            return False
        self.reserved_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.reserved_bytes)
        return True

    def addresses(self, size_bytes: int) -> int:
        """Give the first of so many addresses, behind all others."""
        address = self._next_address
        self._next_address += size_bytes
        return address


class Pool:
    """Segments for small requests or for large ones, and their free blocks by size and address."""

    def __init__(self, device: Device, *, small: bool) -> None:
        """Begin without segments."""
        self.device, self.small = device, small
        self.free: list[tuple[int, int, Block]] = []

    def find(self, size_bytes: int) -> Block | None:
        """Take the smallest free block that is large enough, of equal ones the first by address."""
        at = bisect_left(self.free, (size_bytes,))
        return self.free.pop(at)[2] if at < len(self.free) else None

    def grow(self, size_bytes: int) -> Block | None:
        """Make a segment for a request; None if the device is full."""
        if self.small:
            segment_bytes = SMALL_SEGMENT_BYTES
        elif size_bytes < OWN_SEGMENT_BYTES:
            segment_bytes = LARGE_SEGMENT_BYTES
        else:
            segment_bytes = round_up(size_bytes, ROUND_SEGMENT_BYTES)
        if not self.device.reserve(segment_bytes):
            return None
        return Block(self.device.addresses(segment_bytes), segment_bytes, self)

    def splits(self, rest_bytes: int) -> bool:
        """Whether what a request leaves of a block becomes a block of its own."""
        return rest_bytes >= MIN_BLOCK_BYTES if self.small else rest_bytes > SMALL_BYTES

    def cut(self, block: Block, size_bytes: int) -> Block:
        """Cut a block that is in no list; the rest is returned, in no list either."""
        rest = Block(
            block.address + size_bytes,
            block.size_bytes - size_bytes,
            self,
            block.segment,
            mapped=block.mapped,
        )
        rest.insert_after(block)
        block.size_bytes = size_bytes
        return rest

    def give_back(self, block: Block) -> None:
        """List a free block, merged with free neighbours."""
        self.merge(block)
        insort(self.free, (block.size_bytes, block.address, block))

    def merge(self, block: Block) -> None:
        """Merge a block that is in no list with those beside it that are free, and mapped or not as it is."""
        if (before := block.before) is not None and self._merges(block, before):
            block.address, block.before = before.address, before.before
            if before.before is not None:
                before.before.after = block
            block.size_bytes += before.size_bytes
        if (after := block.after) is not None and self._merges(block, after):
            block.after = after.after
            if after.after is not None:
                after.after.before = block
            block.size_bytes += after.size_bytes

    def _merges(self, block: Block, neighbour: Block) -> bool:
        if neighbour.in_use or neighbour.mapped is not block.mapped:
            return False
        self.unlist(neighbour)
        return True

    def unlist(self, block: Block) -> None:
        """Take a free block out of its list."""
        del self.free[bisect_left(self.free, (block.size_bytes, block.address))]

    def release(self) -> None:
        """Give segments back to the device that are free as a whole."""
        split = [entry for entry in self.free if entry[2].before or entry[2].after]
        self.device.reserved_bytes -= sum(size for size, *_ in self.free)
        self.device.reserved_bytes += sum(size for size, *_ in split)
        self.free = split


class ExpandablePool(Pool):
    """One segment that grows by pages behind its last block, and shrinks by pages that are free as a whole."""

    def __init__(self, device: Device, *, small: bool) -> None:
        """Begin without addresses."""
        super().__init__(device, small=small)
        self.page_bytes = SMALL_SEGMENT_BYTES if small else LARGE_SEGMENT_BYTES
        self.unmapped: list[tuple[int, Block]] = []

    def find(self, size_bytes: int) -> Block | None:
        """Take a free block; one that can grow counts as large as it can become."""
        at = bisect_left(self.free, (size_bytes,))
        if at == len(self.free):
            return None
        while at + 1 < len(self.free) and _extent(self.free[at + 1]) < _extent(self.free[at]):
            at += 1
        return self.free.pop(at)[2]

    def splits(self, rest_bytes: int) -> bool:
        """Whether what a request leaves becomes a block of its own, in either pool."""
        return rest_bytes >= MIN_BLOCK_BYTES

    def grow(self, size_bytes: int) -> Block | None:
        """Map pages behind a free block, at the lowest address with room; None if the device is full."""
        block = self._room(size_bytes)
        if not block.mapped and not self._map(block, min(block.size_bytes, size_bytes)):
            return None
        while block.size_bytes < size_bytes:
            further = block.after
            assert further is not None  # `_room` has seen it
            if not self._map(further, min(size_bytes - block.size_bytes, further.size_bytes)):
                return None
            block = further  # merged with the one before it
        self.unlist(block)
        return block

    def _room(self, size_bytes: int) -> Block:
        for _, block in self.unmapped:
            first = block.before if block.before and not block.before.in_use else block
            at: Block | None = first
            room = 0
            while at is not None and not at.in_use and room < size_bytes:
                room, at = room + at.size_bytes, at.after
            if room >= size_bytes:
                return first
        capacity_bytes = self.device.capacity_bytes
        most = ADDRESSES_BYTES if capacity_bytes is None else capacity_bytes + capacity_bytes // 8
        segment_bytes = round_up(most, self.page_bytes)
        address = self.device.addresses(segment_bytes)
        block = Block(address, segment_bytes, self, address, mapped=False)
        self.unmapped.append((address, block))
        return block

    def _map(self, block: Block, size_bytes: int) -> bool:
        mapped_bytes = round_up(size_bytes, self.page_bytes)
        if not self.device.reserve(mapped_bytes):
            return False
        self.unlist(block)
        if mapped_bytes < block.size_bytes:
            rest = self.cut(block, mapped_bytes)
            insort(self.unmapped, (rest.address, rest))
        block.mapped = True
        self.give_back(block)
        return True

    def unlist(self, block: Block) -> None:
        """Take a free block out of its list, or one without memory."""
        if block.mapped:
            super().unlist(block)
        else:
            del self.unmapped[bisect_left(self.unmapped, (block.address,))]

    def release(self) -> None:
        """Unmap the pages that are free as a whole, and forget a segment that has none left."""
        for _, _, block in tuple(self.free):
            offset = block.address - block.segment
            first = round_up(offset, self.page_bytes)
            last = (offset + block.size_bytes) // self.page_bytes * self.page_bytes
            if first < last:
                self.unlist(block)
                self._unmap(block, first - offset, last - offset)

    def _unmap(self, block: Block, first: int, last: int) -> None:
        if last < block.size_bytes:
            self._list_alone(self.cut(block, last))
        pages = block
        if first > 0:
            pages = self.cut(block, first)
            self._list_alone(block)
        self.device.reserved_bytes -= pages.size_bytes
        pages.mapped = False
        self.merge(pages)
        if pages.before or pages.after:
            insort(self.unmapped, (pages.address, pages))

    def _list_alone(self, block: Block) -> None:
        insort(self.free, (block.size_bytes, block.address, block))


def _extent(entry: tuple[int, int, Block]) -> int:
    size_bytes, _, block = entry
    after = block.after
    return size_bytes + (after.size_bytes if after is not None and not after.mapped else 0)
