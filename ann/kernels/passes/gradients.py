"""The way back through both passes, with every sum in a fixed order.

`spread_tile` is pass 1 backward: what the projection and the pyramid ask of a map. `score_tile` is pass 2 backward up
to the scores' gradients; what is left of it are bare products of matrices, which torch does.

Shapes: n images, c channels of the map, p positions, o channels of the projection or of the output, d width of query
and key, s anchors, t tiles, k slots of a tile. Strides are in elements.
"""

import triton
import triton.language as tl

from ann.kernels.passes.attend import weigh
from ann.kernels.passes.pool import far, memberships, multiply


@triton.jit
def spread_tile(
    weight,  # (o, c)
    projected,  # (n, o, p): gradient of the projection
    means,  # (n, s, c): gradient of each anchor's mean
    result,  # (n, c, p), written
    anchors,  # (t, k)
    bounds,  # (s, 4)
    channels,
    out_channels,
    width,
    pixels,
    rows,  # of `means`, those that only fill up included
    slots,
    TILE: tl.constexpr,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,  # at a time
    SLOTS: tl.constexpr,  # at a time
    PRECISION: tl.constexpr,
    IS_FAR: tl.constexpr,
    PROJECTS: tl.constexpr,
    POOLS: tl.constexpr,
):
    """A tile of positions and CHANNELS channels. Grid: (t * c / CHANNELS, n), a tile's programs side by side.

    Each position gets its share of the gradients of the cells that it lies in: a product with the tile's memberships,
    as on the way forth. Bounds: reads o * p numbers and writes c * p; o + k multiplications for each.
    """
    blocks = tl.cdiv(channels, CHANNELS)
    tile = tl.program_id(0) // blocks
    channel = (tl.program_id(0) % blocks) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(1).to(tl.int64)
    position = tile * TILE + tl.arange(0, TILE)
    is_position = position < pixels
    is_channel = channel < channels
    number = result.dtype.element_ty
    gradient = tl.zeros((CHANNELS, TILE), tl.float32)
    if PROJECTS:
        for first in range(0, out_channels, OUT_CHANNELS):
            out_channel = first + tl.arange(0, OUT_CHANNELS)
            is_out = out_channel < out_channels
            factors = tl.load(
                weight + out_channel[None, :] * channels + channel[:, None],
                mask=is_channel[:, None] & is_out[None, :],
                other=0.0,
            )
            asked = tl.load(
                projected
                + (image * out_channels + out_channel)[:, None] * pixels
                + position[None, :],
                mask=is_out[:, None] & is_position[None, :],
                other=0.0,
            )
            gradient = multiply(factors, asked, gradient, PRECISION)
    if POOLS:
        for first in range(0, slots, SLOTS):
            anchor = tl.load(anchors + tile * slots + first + tl.arange(0, SLOTS))
            is_used = anchor >= 0
            top = tl.load(bounds + 4 * anchor, mask=is_used, other=0)
            bottom = tl.load(bounds + 4 * anchor + 1, mask=is_used, other=1)
            left = tl.load(bounds + 4 * anchor + 2, mask=is_used, other=0)
            right = tl.load(bounds + 4 * anchor + 3, mask=is_used, other=1)
            area = ((bottom - top) * (right - left)).to(tl.float32)
            asked = tl.load(
                means + image * rows * channels + anchor[None, :] * channels + channel[:, None],
                mask=is_channel[:, None] & is_used[None, :],
                other=0.0,
            )
            shares = (asked.to(tl.float32) / area[None, :]).to(number)
            is_member = memberships(anchor, bounds, position, width, pixels)
            member = tl.where(is_member, 1.0, 0.0).to(number)
            gradient = multiply(shares, tl.trans(member), gradient, PRECISION)
    tl.store(
        result
        + image * channels * pixels
        + far(channel, IS_FAR)[:, None] * pixels
        + position[None, :],
        gradient.to(number),
        mask=is_channel[:, None] & is_position[None, :],
    )


@triton.jit
def score_tile(
    query,  # (n, d, p) with any strides
    key,  # (n, s, d) with any strides
    value,  # (n, o, s) with any strides
    gradient,  # (n, o, p) with any strides: of the output
    weights,  # (n, s, p), written: the softmax
    scores,  # (n, s, p), written: gradient of the products of query and key
    pixels,
    depth,
    anchors,
    rows,
    out_channels,
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
    gradient_image,
    gradient_channel,
    gradient_position,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
    ANCHORS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,  # at a time
    PRECISION: tl.constexpr,
    IS_FAR: tl.constexpr,
):
    """One tile of queries, its softmax computed again. Grid: (p / TILE, n).

    Bounds: reads (d + o) * p numbers and writes 2 * s * p; s * (d + o) multiplications for each position.
    """
    tile = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    position = tile * TILE + tl.arange(0, TILE)
    is_position = position < pixels
    weight = weigh(
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
    )
    anchor = tl.arange(0, ANCHORS)
    is_row = anchor < rows
    asked = tl.zeros((ANCHORS, TILE), tl.float32)
    for first in range(0, out_channels, OUT_CHANNELS):
        out_channel = first + tl.arange(0, OUT_CHANNELS)
        is_out = out_channel < out_channels
        values = tl.load(
            value
            + image * value_image
            + out_channel[None, :] * value_channel
            + anchor[:, None] * value_anchor,
            mask=is_row[:, None] & is_out[None, :],
            other=0.0,
        )
        outputs = tl.load(
            gradient
            + image * gradient_image
            + far(out_channel, IS_FAR)[:, None] * gradient_channel
            + far(position, IS_FAR)[None, :] * gradient_position,
            mask=is_out[:, None] & is_position[None, :],
            other=0.0,
        ).to(value.dtype.element_ty)
        asked = multiply(values, outputs, asked, PRECISION)
    mean = tl.sum(weight * asked, axis=0)[None, :]
    slope = weight * (asked - mean) * scale
    number = scores.dtype.element_ty
    place = image * ANCHORS * pixels + far(anchor, IS_FAR)[:, None] * pixels + position[None, :]
    mask = is_position[None, :]
    tl.store(weights + place, weight.to(number), mask=mask)
    tl.store(scores + place, slope.to(number), mask=mask)
