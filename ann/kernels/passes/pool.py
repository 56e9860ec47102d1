"""Pyramid pooling in sums over tiles: the cells that a tile meets, sums to anchors, and anchors' gradients to a map.

Every sum is taken in a fixed order, so that results and gradients are the same bits in every call; torch's adaptive
average pooling adds its gradients by atomic operations.

Shapes: n images, c channels, p positions, t tiles of `TILE` positions, k slots of a tile, s anchors, filled up with
empty ones to as many as a product of tiles takes.
"""

import triton
import triton.language as tl


@triton.jit
def multiply(left, right, result, PRECISION: tl.constexpr):
    """`result` plus the product of two tiles; PRECISION `widened` makes them float32 first.

    That changes no product of bfloat16 numbers, which Triton's interpreter multiplies as the whole numbers that their
    bits are (triton 3.6 and 3.9).
    """
    if PRECISION == "widened":
        return tl.dot(left.to(tl.float32), right.to(tl.float32), acc=result, input_precision="ieee")
    return tl.dot(left, right, acc=result, input_precision=PRECISION)


@triton.jit
def memberships(anchor, bounds, position, width, pixels):
    """(positions, slots): whether a position lies in the cell of the anchor of each slot, -1 for none."""
    is_used = anchor >= 0
    top = tl.load(bounds + 4 * anchor, mask=is_used, other=0)[None, :]
    bottom = tl.load(bounds + 4 * anchor + 1, mask=is_used, other=0)[None, :]
    left = tl.load(bounds + 4 * anchor + 2, mask=is_used, other=0)[None, :]
    right = tl.load(bounds + 4 * anchor + 3, mask=is_used, other=0)[None, :]
    row = (position // width)[:, None]
    column = (position % width)[:, None]
    is_inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    return is_inside & (position < pixels)[:, None]


@triton.jit
def far(number, IS_FAR: tl.constexpr):
    """A number of which a multiple is an offset: in 64 bits where tensors reach beyond 2^31 elements."""
    result = number
    if IS_FAR:
        result = number.to(tl.int64)
    return result


@triton.jit
def position_offsets(
    position, width, row_stride, column_stride, IS_FLAT: tl.constexpr, IS_FAR: tl.constexpr
):
    """Where positions lie in a channel; they are `column_stride` apart throughout where the map `IS_FLAT`."""
    if IS_FLAT:
        return far(position, IS_FAR) * column_stride
    row, column = position // width, position % width
    return far(row, IS_FAR) * row_stride + far(column, IS_FAR) * column_stride


@triton.jit
def collect_anchor(
    sums,  # (n, t * k, c): means of TILE numbers, zeros outside of a cell
    places,  # (e,)
    starts,  # (s + 1,)
    bounds,  # (s, 4)
    means,  # (n, s filled up, c), written
    channels,
    anchors,
    image_rows,  # t * k
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Mean of each anchor's cell from its tiles' sums; zero for those that only fill up.

    Grid: (s filled up, c / CHANNELS, n). Bound by memory: t * k * c numbers are read, most of them while they still lie
    in the L2 cache.
    """
    anchor = tl.program_id(0)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(2).to(tl.int64)
    is_channel = channel < channels
    is_anchor = anchor < anchors
    start = tl.load(starts + anchor, mask=is_anchor, other=0)
    stop = tl.load(starts + anchor + 1, mask=is_anchor, other=0)
    total = tl.zeros((CHANNELS,), tl.float32)
    for first in range(start, stop, ROWS):
        entry = first + tl.arange(0, ROWS)
        place = tl.load(places + entry, mask=entry < stop, other=0).to(tl.int64)
        rows = sums + image * image_rows * channels + place[:, None] * channels + channel[None, :]
        mask = (entry < stop)[:, None] & is_channel[None, :]
        total += tl.sum(tl.load(rows, mask=mask, other=0.0).to(tl.float32), axis=0)
    top = tl.load(bounds + 4 * anchor, mask=is_anchor, other=0)
    bottom = tl.load(bounds + 4 * anchor + 1, mask=is_anchor, other=1)
    left = tl.load(bounds + 4 * anchor + 2, mask=is_anchor, other=0)
    right = tl.load(bounds + 4 * anchor + 3, mask=is_anchor, other=1)
    mean = total * (TILE / ((bottom - top) * (right - left)).to(tl.float32))
    row = means + (image * tl.num_programs(0) + anchor) * channels
    tl.store(row + channel, mean.to(means.dtype.element_ty), mask=is_channel)
