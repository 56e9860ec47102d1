"""The allocator's rules, one at a time.

Figures follow from c10/core/AllocatorConfig.h and c10/cuda/CUDACachingAllocator.cpp of torch 2.11 and 2.15; the
function that has the rule is named. `test_torchs_allocator.py` asks torch itself.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ann import build
from bench.predict import live_memory
from bench.predict.allocator import Allocator, DeviceFullError, replay

KIB, MIB = 2**10, 2**20
both = pytest.mark.parametrize("expandable", [False, True], ids=["usual", "expandable"])


def reserved(*sizes, **options):
    allocator = Allocator(**options)
    for size in sizes:
        allocator.allocate(size)
    return allocator.device.reserved_bytes


def allocated(size):
    allocator = Allocator()
    return allocator.allocate(size).size_bytes


@pytest.mark.parametrize(
    ("size", "block"), [(1, 512), (512, 512), (513, 1024), (MIB + 1, MIB + 512)]
)
def test_a_request_is_rounded_up_to_512_bytes(size, block):  # round_size
    assert allocated(size) == block


@pytest.mark.parametrize(
    ("size", "segment"),
    [
        (1, 2 * MIB),  # kSmallBuffer
        (MIB, 2 * MIB),  # kSmallSize is small yet
        (MIB + 1, 20 * MIB),  # large_segment_size
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),  # kMinLargeAlloc
        (10 * MIB + 1, 12 * MIB),  # kRoundLarge
        (4096 * MIB, 4096 * MIB),
    ],
)
def test_a_segment_is_as_large_as_its_request_wants(size, segment):  # get_allocation_size
    assert reserved(size) == segment


def test_small_requests_share_a_segment():
    assert [reserved(*[512 * KIB] * count) for count in (4, 5)] == [2 * MIB, 4 * MIB]


def test_small_and_large_requests_share_none():  # get_pool
    assert reserved(MIB, 2 * MIB) == 22 * MIB


def test_a_small_block_is_split_down_to_512_bytes():  # should_split
    assert reserved(MIB, MIB - 512, 512) == 2 * MIB


def test_a_large_block_keeps_a_rest_of_up_to_a_mebibyte():  # should_split: remaining > kSmallSize
    allocator = Allocator()
    allocator.free(allocator.allocate(20 * MIB))
    assert allocator.allocate(19 * MIB).size_bytes == 20 * MIB


def test_a_large_block_is_split_where_more_is_left():
    allocator = Allocator()
    allocator.free(allocator.allocate(20 * MIB))
    assert allocator.allocate(19 * MIB - 512).size_bytes == 19 * MIB - 512


def test_of_free_blocks_the_smallest_that_is_large_enough_is_taken():  # get_free_block
    allocator = Allocator()
    blocks = [allocator.allocate(size * MIB) for size in (40, 12, 30)]
    for block in blocks:
        allocator.free(block)
    assert allocator.allocate(28 * MIB).address == blocks[2].address


def test_of_equal_blocks_the_first_by_address_is_taken():  # BlockComparatorSize
    allocator = Allocator()
    blocks = [allocator.allocate(12 * MIB) for _ in range(3)]
    for block in reversed(blocks):
        allocator.free(block)
    assert allocator.allocate(12 * MIB).address == blocks[0].address


def test_free_neighbours_become_one_block():  # try_merge_blocks
    allocator = Allocator()
    blocks = [allocator.allocate(5 * MIB) for _ in range(4)]
    for at in (0, 2, 1, 3):
        allocator.free(blocks[at])
    assert [size for size, *_ in allocator.pools[1].free] == [20 * MIB]


def test_segments_are_never_merged():
    allocator = Allocator()
    for block in [allocator.allocate(10 * MIB) for _ in range(2)]:
        allocator.free(block)
    allocator.allocate(20 * MIB)
    assert allocator.device.reserved_bytes == 40 * MIB


def test_emptying_the_cache_keeps_a_segment_of_which_a_part_is_used():  # release_blocks
    allocator = Allocator()
    first, _, third = (allocator.allocate(size * MIB) for size in (5, 5, 30))
    for block in (first, third):
        allocator.free(block)
    allocator.empty_cache()
    assert allocator.device.reserved_bytes == 20 * MIB


def test_a_full_device_is_given_back_what_is_cached():  # release_cached_blocks, and again
    allocator = Allocator(capacity_bytes=50 * MIB)
    allocator.free(allocator.allocate(30 * MIB))
    allocator.allocate(40 * MIB)
    assert allocator.device.reserved_bytes == 40 * MIB


@both
def test_what_does_not_fit_is_an_error(expandable):
    allocator = Allocator(expandable=expandable, capacity_bytes=50 * MIB)
    allocator.allocate(30 * MIB)
    with pytest.raises(
        DeviceFullError, match=f"{30 * MIB} bytes do not fit beside {3 if not expandable else 4}"
    ):
        allocator.allocate(30 * MIB)


def test_an_expandable_segment_grows_by_pages_of_2_and_20_mebibytes():  # ExpandableSegment::map
    assert reserved(MIB, expandable=True) == 2 * MIB
    assert reserved(30 * MIB, expandable=True) == 40 * MIB


def test_an_expandable_segment_fills_up_its_last_page():  # try_allocate_expandable_block
    assert reserved(*[30 * MIB] * 4, expandable=True) == 120 * MIB


def test_an_expandable_block_is_split_down_to_512_bytes_in_both_pools():  # should_split
    allocator = Allocator(expandable=True)
    allocator.free(allocator.allocate(20 * MIB))
    assert allocator.allocate(20 * MIB - 512).size_bytes == 20 * MIB - 512


def test_an_expandable_block_grows_where_a_segment_would_be_new():
    allocator = Allocator(expandable=True)
    allocator.free(allocator.allocate(20 * MIB))
    allocator.allocate(40 * MIB)
    assert allocator.device.reserved_bytes == 40 * MIB


def test_pages_that_are_free_as_a_whole_are_unmapped():  # unmap_block
    allocator = Allocator(expandable=True)
    first, second, _ = (allocator.allocate(size * MIB) for size in (30, 50, 10))
    assert allocator.device.reserved_bytes == 100 * MIB
    for block in (first, second):
        allocator.free(block)
    allocator.empty_cache()
    assert allocator.device.reserved_bytes == 20 * MIB


def test_pages_in_the_middle_are_filled_first():  # find_expandable_block
    allocator = Allocator(expandable=True)
    first, second = (allocator.allocate(40 * MIB) for _ in range(2))
    allocator.free(first)
    allocator.empty_cache()
    assert allocator.allocate(40 * MIB).address < second.address


def test_a_call_is_read_with_an_empty_cache_ahead_of_it():
    events = [(1, 10 * MIB), (2, 30 * MIB), (2, 0), (3, 40 * MIB), (3, 0)]
    rise = replay(events, 3)
    assert (rise.allocated_bytes, rise.reserved_bytes, rise.whole_bytes) == (
        40 * MIB,
        40 * MIB,
        50 * MIB,
    )


sizes = st.one_of(st.integers(1, 3 * MIB), st.integers(1, 60).map(lambda size: size * MIB))
traces = st.lists(st.one_of(sizes, st.just(0), st.just(-1)), max_size=60)


def follow(trace, **options):
    """A size is a request, 0 gives the block back that stood longest, -1 empties the cache."""
    allocator, blocks = Allocator(**options), []
    for size in trace:
        if size > 0:
            blocks.append(allocator.allocate(size))
        elif size < 0:
            allocator.empty_cache()
        elif blocks:
            allocator.free(blocks.pop(0))
        yield allocator, blocks


@both
@given(trace=traces)
def test_reserved_is_at_least_allocated(trace, expandable):
    for allocator, blocks in follow(trace, expandable=expandable):
        assert allocator.allocated_bytes == sum(block.size_bytes for block in blocks)
        assert allocator.device.reserved_bytes >= allocator.allocated_bytes


@both
@given(trace=traces)
def test_free_and_used_blocks_are_what_is_reserved(trace, expandable):
    for allocator, _ in follow(trace, expandable=expandable):
        free = sum(size for pool in allocator.pools for size, *_ in pool.free)
        assert free + allocator.allocated_bytes == allocator.device.reserved_bytes


@both
@given(trace=traces)
def test_all_comes_back_when_all_is_free(trace, expandable):
    for allocator, blocks in follow([*trace, *[0] * len(trace)], expandable=expandable):
        if not blocks:
            allocator.empty_cache()
            assert allocator.device.reserved_bytes == allocator.allocated_bytes == 0


@given(trace=traces.map(lambda trace: [size for size in trace if size > 0]))
def test_what_is_only_asked_for_wastes_less_than_a_page_a_pool_if_expandable(trace):
    *_, (allocator, _) = follow([1, *trace], expandable=True)
    assert allocator.device.reserved_bytes - allocator.allocated_bytes < 22 * MIB


def call_of(name, mode):
    with torch.device("meta"):
        block, x = build.block(name), torch.empty(1, 2048, 128, 256)
    return live_memory.follow_call(block, (x,), mode=mode)


@pytest.mark.parametrize(
    ("name", "mode", "allocated", "reserved", "expandable"),
    [
        # Input, 256 MiB, two maps of 4096 and query, key and value: each a segment of its own.
        ("nb", "eval", 8288.0, 8288.0, 8280.0),
        # The backward pass of softmax makes one more map for itself, and a fifth is reserved, since the block's output
        # was cut of one.
        ("nb", "train", 16802.01, 20640.0, 16860.0),
        # Samples of less than 10 MiB have segments of 20.
        ("apnb", "eval", 334.21, 352.0, 360.0),
        ("apnb", "train", 546.23, 558.0, 560.0),
    ],
)
def test_what_the_allocator_makes_of_the_named_blocks(name, mode, allocated, reserved, expandable):
    call = call_of(name, mode)
    made = live_memory.allocated(call)
    assert [round(size / MIB, 2) for size in made.values()] == [allocated, reserved, expandable]
    assert made["allocated_bytes"] >= live_memory.describe_peak(call).increment_bytes


def test_the_allocator_is_left_out_where_it_has_no_part():
    with torch.device("meta"):
        block, x = build.block("nb", channels=8, key_channels=4), torch.empty(1, 8, 4, 4)
    memory = live_memory.predict_memory(block, (x,), mode="eval", with_allocator=False)
    assert (memory.allocated_bytes, memory.reserved_bytes) == (None, None)


def test_a_softmax_over_nothing_asks_for_nothing():
    class Empty(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(4, device="meta"))

        def forward(self, x):
            return (x * self.scale)[:, :0].softmax(1)

    x = torch.empty(2, 4, device="meta")
    memory = live_memory.predict_memory(Empty(), (x,), mode="train")
    assert memory.allocated_bytes >= 0
