"""Pass 1: the projection of every position and, of the same reading of the map, its pyramid's sums.

A tile of positions is read once, channels by channels. Each part goes into the product with the projection's weight,
whose result stays in registers, and into a product with the tile's memberships of cells, which are the sums.

Shapes: n images, c channels of the map, h and w its height and width, p = h * w positions, o channels that come out, t
tiles, k slots of a tile (`ann.kernels.cells`). Strides are in elements; all but the map's are those of tensors in one
piece.
"""

import triton
import triton.language as tl

from ann.kernels.passes.pool import far, memberships, multiply, position_offsets


@triton.jit
def project_tile(
    x,  # (n, c, h, w) with any strides
    weight,  # (o, c), in the number format of the products
    bias,  # (o,)
    projected,  # (n, o, p), written if STORES
    sums,  # (n, t, k, c), written if POOLS_INPUT
    projected_sums,  # (n, t, k, o), written if POOLS_PROJECTION
    anchors,  # (t, k)
    bounds,  # (s, 4)
    channels,
    out_channels,
    width,
    pixels,
    slots,
    x_image,
    x_channel,
    x_row,
    x_column,
    TILE: tl.constexpr,  # positions
    CHANNELS: tl.constexpr,  # of the map, at a time
    OUT_CHANNELS: tl.constexpr,
    SLOTS: tl.constexpr,  # of a tile's, those of one program
    PRECISION: tl.constexpr,  # of products in float32: ieee or tf32
    IS_FLAT: tl.constexpr,  # whether all positions of a channel are equally far apart
    IS_FAR: tl.constexpr,  # whether offsets need 64 bits
    HAS_BIAS: tl.constexpr,
    RECTIFIES: tl.constexpr,
    PROJECTS: tl.constexpr,
    ROWS_FIRST: tl.constexpr,  # whether positions are the rows of the product
    STORES: tl.constexpr,
    POOLS_INPUT: tl.constexpr,
    POOLS_PROJECTION: tl.constexpr,
):
    """OUT_CHANNELS channels of a tile. Grid: (t * o / OUT_CHANNELS, n, k / SLOTS), a tile's programs side by side.

    A small map's tile meets many cells; programs for further ones of them repeat the projection.

    Bounds: reads c * p numbers and writes o * p, with sums t * k * (c + o) more; o + k multiplications for each number
    of the map. At o = 256 in bfloat16 an H100 needs as long for the products as for reading, in float32 longer.
    """
    out_blocks = tl.cdiv(out_channels, OUT_CHANNELS)
    tiles = tl.cdiv(pixels, TILE)
    tile = tl.program_id(0) // out_blocks
    out_block = tl.program_id(0) % out_blocks
    image = tl.program_id(1).to(tl.int64)
    position = tile * TILE + tl.arange(0, TILE)
    is_position = position < pixels
    offset = position_offsets(position, width, x_row, x_column, IS_FLAT, IS_FAR)
    out_channel = out_block * OUT_CHANNELS + tl.arange(0, OUT_CHANNELS)
    is_out = out_channel < out_channels
    number = weight.dtype.element_ty  # under autocast not the map's
    if POOLS_INPUT or POOLS_PROJECTION:
        row = tile * slots + tl.program_id(2) * SLOTS + tl.arange(0, SLOTS)
        anchor = tl.load(anchors + row)
        is_slot = anchor >= 0
        is_member = memberships(anchor, bounds, position, width, pixels)
        # Means over a tile, which are no larger than its numbers: sums would not fit into float16.
        member = tl.where(is_member, 1.0 / TILE, 0.0).to(number)
        # Of several blocks of channels that come out, the first has the map's sums.
        pooled_channels = tl.where(out_block == 0, channels, 0)

    if ROWS_FIRST:
        result = tl.zeros((TILE, OUT_CHANNELS), tl.float32)
    else:
        result = tl.zeros((OUT_CHANNELS, TILE), tl.float32)
    for first in range(0, channels, CHANNELS):
        channel = first + tl.arange(0, CHANNELS)
        is_channel = channel < channels
        part = tl.load(
            x + image * x_image + far(channel, IS_FAR)[:, None] * x_channel + offset[None, :],
            mask=is_channel[:, None] & is_position[None, :],
            other=0.0,
        ).to(number)
        if PROJECTS:
            factors = tl.load(
                weight + out_channel[:, None] * channels + channel[None, :],
                mask=is_out[:, None] & is_channel[None, :],
                other=0.0,
            )
            if ROWS_FIRST:
                result = multiply(tl.trans(part), tl.trans(factors), result, PRECISION)
            else:
                result = multiply(factors, part, result, PRECISION)
        if POOLS_INPUT:
            sum_part = multiply(part, member, tl.zeros((CHANNELS, SLOTS), tl.float32), PRECISION)
            tl.store(
                sums
                + image * tiles * slots * channels
                + far(row, IS_FAR)[None, :] * channels
                + channel[:, None],
                sum_part.to(number),
                mask=(channel < pooled_channels)[:, None] & is_slot[None, :],
            )
    if ROWS_FIRST:
        result = tl.trans(result)
    if HAS_BIAS:
        result += tl.load(bias + out_channel, mask=is_out, other=0.0).to(tl.float32)[:, None]
    if RECTIFIES:
        result = tl.maximum(result, 0.0, propagate_nan=tl.PropagateNan.ALL)
    if STORES:
        # Of several blocks of slots, the first has the projection.
        is_stored = out_channel < tl.where(tl.program_id(2) == 0, out_channels, 0)
        tl.store(
            projected
            + image * out_channels * pixels
            + far(out_channel, IS_FAR)[:, None] * pixels
            + position[None, :],
            result.to(number),
            mask=is_stored[:, None] & is_position[None, :],
        )
    if POOLS_PROJECTION:
        nothing = tl.zeros((OUT_CHANNELS, SLOTS), tl.float32)
        out_sums = multiply(result.to(number), member, nothing, PRECISION)
        tl.store(
            projected_sums
            + image * tiles * slots * out_channels
            + far(row, IS_FAR)[None, :] * out_channels
            + out_channel[:, None],
            out_sums.to(number),
            mask=is_out[:, None] & is_slot[None, :],
        )
