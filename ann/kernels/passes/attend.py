"""Pass 2: a tile of queries and all anchors, from scores to the block's output.

Scores, softmax and weights of a tile stay in registers; keys and folded values, half a MiB at 110 anchors and 2048
channels in bfloat16, are read by every tile from the L2 cache. An accumulator holds one part of the output's channels
at a time, and what the block does with its input is done to it before it is written.

Shapes: n images (or heads of images), d width of query and key, p positions, s anchors, o channels that come out, c
channels of the map. Strides are in elements.
"""

import triton
import triton.language as tl

from ann.kernels.passes.pool import far, multiply, position_offsets

# What the output is, by number: a kernel is compiled for each.
CONTEXT, RESIDUAL, CONCAT, BOTTLENECK = (tl.constexpr(number) for number in range(4))
OUTPUT_CODES = {
    "context": CONTEXT.value,
    "residual": RESIDUAL.value,
    "concat": CONCAT.value,
    "bottleneck": BOTTLENECK.value,
}


@triton.jit
def weigh(
    query,
    key,
    image,
    position,
    pixels,
    depth,
    anchors,
    rows,
    scale,
    query_image,
    query_position,
    query_depth,
    key_image,
    key_anchor,
    key_depth,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
    ANCHORS: tl.constexpr,
    PRECISION: tl.constexpr,
    IS_FAR: tl.constexpr,
):
    """(ANCHORS, TILE): softmax over the anchors, a column for each query; zero for those that only fill up."""
    anchor = tl.arange(0, ANCHORS)
    is_row = anchor < rows
    is_position = position < pixels
    scores = tl.zeros((ANCHORS, TILE), tl.float32)
    for first in range(0, depth, DEPTH):
        place = first + tl.arange(0, DEPTH)
        is_place = place < depth
        keys = tl.load(
            key + image * key_image + anchor[:, None] * key_anchor + place[None, :] * key_depth,
            mask=is_row[:, None] & is_place[None, :],
            other=0.0,
        )
        queries = tl.load(
            query
            + image * query_image
            + far(place, IS_FAR)[:, None] * query_depth
            + far(position, IS_FAR)[None, :] * query_position,
            mask=is_place[:, None] & is_position[None, :],
            other=0.0,
        )
        scores = multiply(keys, queries, scores, PRECISION)
    scores = tl.where((anchor < anchors)[:, None], scores * scale, float("-inf"))
    scores = tl.exp(scores - tl.max(scores, axis=0)[None, :])
    return scores / tl.sum(scores, axis=0)[None, :]


@triton.jit
def attend_tile(
    query,  # (n, d, p) with any strides
    key,  # (n, s, d) with any strides
    value,  # (n, o, s) with any strides: W_o V, for each anchor what its weight brings
    bias,  # (o,), added to the output
    x,  # (n, c, h, w) with any strides: the map that is added or concatenated
    result,  # (n, o, p) with any strides, of CONCAT (n, o + c, p); of BOTTLENECK it is added to
    pixels,
    depth,
    anchors,  # that count
    rows,  # of key and value, those that only fill up included
    out_channels,
    width,
    scale,
    query_image,
    query_position,
    query_depth,
    key_image,
    key_anchor,
    key_depth,
    value_image,
    value_channel,
    value_anchor,
    x_image,
    x_channel,
    x_row,
    x_column,
    result_image,
    result_channel,
    result_position,
    TILE: tl.constexpr,  # queries
    DEPTH: tl.constexpr,  # of query and key, at a time
    ANCHORS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,  # at a time
    PARTS: tl.constexpr,  # of OUT_CHANNELS that a program makes, one after the other
    PRECISION: tl.constexpr,
    IS_FLAT: tl.constexpr,
    IS_FAR: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    RECTIFIES: tl.constexpr,
    OUTPUT: tl.constexpr,
):
    """One tile of queries. Grid: (p / TILE * o / (PARTS * OUT_CHANNELS), n), a tile's programs side by side.

    Bounds: reads d * p numbers and writes o * p; CONCAT reads and writes the map besides, others read what is added.
    s * (d + o) multiplications for each position.
    """
    groups = tl.cdiv(out_channels, OUT_CHANNELS * PARTS)
    tile = tl.program_id(0) // groups
    group = tl.program_id(0) % groups
    image = tl.program_id(1).to(tl.int64)
    position = tile * TILE + tl.arange(0, TILE)
    is_position = position < pixels
    weights = weigh(
        query,
        key,
        image,
        position,
        pixels,
        depth,
        anchors,
        rows,
        scale,
        query_image,
        query_position,
        query_depth,
        key_image,
        key_anchor,
        key_depth,
        TILE,
        DEPTH,
        ANCHORS,
        PRECISION,
        IS_FAR,
    ).to(value.dtype.element_ty)
    anchor = tl.arange(0, ANCHORS)
    is_row = anchor < rows
    x_offset = position_offsets(position, width, x_row, x_column, IS_FLAT, IS_FAR)
    to = result + image * result_image + far(position, IS_FAR)[None, :] * result_position
    for part in range(PARTS):
        block = group * PARTS + part
        out_channel = block * OUT_CHANNELS + tl.arange(0, OUT_CHANNELS)
        is_out = out_channel < out_channels
        row = far(out_channel, IS_FAR)[:, None]
        mask = is_out[:, None] & is_position[None, :]
        values = tl.load(
            value
            + image * value_image
            + out_channel[:, None] * value_channel
            + anchor[None, :] * value_anchor,
            mask=is_out[:, None] & is_row[None, :],
            other=0.0,
        )
        nothing = tl.zeros((OUT_CHANNELS, TILE), tl.float32)
        mixed = multiply(values, weights, nothing, PRECISION)
        if HAS_BIAS:
            mixed += tl.load(bias + out_channel, mask=is_out, other=0.0).to(tl.float32)[:, None]
        if OUTPUT == BOTTLENECK:
            there = tl.load(to + row * result_channel, mask=mask, other=0.0)
            mixed += there.to(tl.float32)
        if OUTPUT == RESIDUAL or OUTPUT == CONCAT:
            given = tl.load(
                x + image * x_image + row * x_channel + x_offset[None, :], mask=mask, other=0.0
            )
            if OUTPUT == RESIDUAL:
                mixed += given.to(tl.float32)
            else:
                beside = to + (row + out_channels) * result_channel
                tl.store(beside, given.to(result.dtype.element_ty), mask=mask)
        if RECTIFIES:
            mixed = tl.maximum(mixed, 0.0, propagate_nan=tl.PropagateNan.ALL)
        tl.store(to + row * result_channel, mixed.to(result.dtype.element_ty), mask=mask)
