"""The kernels as operators of torch: what they read and write, without Triton until one of them runs.

Memory is made outside of them by torch, so that a ledger of dispatched operators sees all of it; each writes every
element of what it is given to write. Their gradients stand in `ann.kernels.functions`.

Axes: n images, c channels of the map, o channels that come out, p positions, t tiles, k slots of a tile, s anchors,
filled up; d width of query and key.
"""

import torch
from torch import Tensor

from ann.kernels.launch import is_flat, is_narrow, launch, numbers_of, precision, without_values
from ann.kernels.tiles import (
    ATTEND,
    COLLECT,
    LEAST_SIDE,
    MOST_SLOTS,
    MOST_SPREAD_SLOTS,
    PROJECT,
    SCORE,
    SPREAD_TILES,
    TILE,
    choose_tiles,
    filled_up,
)


@torch.library.custom_op("ann::project_tiles", mutates_args=("projected", "sums", "out_sums"))
def project_tiles(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    anchors: Tensor | None,
    bounds: Tensor | None,
    projected: Tensor | None,
    sums: Tensor | None,
    out_sums: Tensor | None,
    rectifies: bool,
) -> None:
    """Pass 1 of a map (n, c, h, w): its projection (n, o, p), sums (n, t * k, c) of it and (n, t * k, o) of that."""
    from ann.kernels.passes.project import project_tile

    images, channels, height, width = x.shape
    out_channels, pixels = weight.shape[0], height * width
    pools = anchors is not None
    slots = anchors.shape[1] if anchors is not None else LEAST_SIDE
    tiles = choose_tiles(PROJECT, numbers_of(weight), slots, narrow=is_narrow(x))
    block_slots = min(slots, MOST_SLOTS[numbers_of(weight)])
    block = min(tiles.out_channels, filled_up(out_channels))
    unused = weight  # in place of what a kernel does not touch
    launch(
        project_tile,
        (-(-pixels // TILE) * -(-out_channels // block), images, slots // block_slots),
        tiles,
        x=x,
        weight=weight,
        bias=unused if bias is None else bias,
        projected=unused if projected is None else projected,
        sums=unused if sums is None else sums,
        projected_sums=unused if out_sums is None else out_sums,
        anchors=unused if anchors is None else anchors,
        bounds=unused if bounds is None else bounds,
        channels=channels,
        out_channels=out_channels,
        width=width,
        pixels=pixels,
        slots=slots,
        **dict(zip(("x_image", "x_channel", "x_row", "x_column"), x.stride(), strict=True)),
        TILE=TILE,
        CHANNELS=tiles.channels,
        OUT_CHANNELS=block,
        SLOTS=block_slots,
        PRECISION=precision(weight),
        IS_FLAT=is_flat(x),
        HAS_BIAS=bias is not None,
        RECTIFIES=rectifies,
        PROJECTS=projected is not None or out_sums is not None,
        ROWS_FIRST=tiles.rows_first,
        STORES=projected is not None,
        POOLS_INPUT=pools and sums is not None,
        POOLS_PROJECTION=pools and out_sums is not None,
    )


@torch.library.custom_op("ann::collect_sums", mutates_args=("means",))
def collect_sums(
    sums: Tensor, places: Tensor, starts: Tensor, bounds: Tensor, means: Tensor
) -> None:
    """Means (n, s, c) of the anchors' cells from sums (n, t * k, c) over tiles."""
    from ann.kernels.passes import pool

    images, rows, channels = sums.shape
    block = min(COLLECT.channels, filled_up(channels))
    launch(
        pool.collect_anchor,
        (means.shape[1], -(-channels // block), images),
        COLLECT,
        sums=sums,
        places=places,
        starts=starts,
        bounds=bounds,
        means=means,
        channels=channels,
        anchors=len(bounds),
        image_rows=rows,
        TILE=TILE,
        ROWS=COLLECT.out_channels,
        CHANNELS=block,
    )


@torch.library.custom_op("ann::attend_tiles", mutates_args=("result",))
def attend_tiles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    x: Tensor | None,
    result: Tensor,
    anchors: int,
    scale: float,
    output: str,
    rectifies: bool,
) -> None:
    """Pass 2: output (n, o, p) of queries (n, d, p), keys (n, s, d), values (n, o, s) and the map."""
    from ann.kernels.passes.attend import OUTPUT_CODES, attend_tile

    images, depth, pixels = query.shape
    rows, out_channels = key.shape[1], value.shape[1]
    side = filled_up(rows)
    given = query.unflatten(2, (1, pixels)) if x is None else x
    tiles = choose_tiles(ATTEND, numbers_of(value), side, narrow=is_narrow(given))
    block = min(tiles.out_channels, filled_up(out_channels))
    parts = min(-(-out_channels // block), tiles.parts)
    unused = value
    launch(
        attend_tile,
        (-(-pixels // tiles.tile) * -(-out_channels // (block * parts)), images),
        tiles,
        query=query,
        key=key,
        value=value,
        bias=unused if bias is None else bias,
        x=given,
        result=result,
        pixels=pixels,
        depth=depth,
        anchors=anchors,
        rows=rows,
        out_channels=out_channels,
        width=given.shape[3],
        scale=scale,
        query_image=query.stride(0),
        query_position=query.stride(2),
        query_depth=query.stride(1),
        **dict(zip(("key_image", "key_anchor", "key_depth"), key.stride(), strict=True)),
        **dict(zip(("value_image", "value_channel", "value_anchor"), value.stride(), strict=True)),
        **dict(zip(("x_image", "x_channel", "x_row", "x_column"), given.stride(), strict=True)),
        **dict(
            zip(("result_image", "result_channel", "result_position"), result.stride(), strict=True)
        ),
        TILE=tiles.tile,
        DEPTH=min(tiles.channels, filled_up(depth)),
        ANCHORS=side,
        OUT_CHANNELS=block,
        PARTS=parts,
        PRECISION=precision(value),
        IS_FLAT=is_flat(given),
        HAS_BIAS=bias is not None,
        RECTIFIES=rectifies,
        OUTPUT=OUTPUT_CODES[output],
    )


@torch.library.custom_op("ann::spread_tiles", mutates_args=("result",))
def spread_tiles(
    weight: Tensor | None,
    projected: Tensor | None,
    means: Tensor | None,
    anchors: Tensor | None,
    bounds: Tensor | None,
    result: Tensor,
    width: int,
) -> None:
    """Pass 1 backward: gradient (n, c, p) of a map from that of its projection (n, o, p) and of its means (n, s, c)."""
    from ann.kernels.passes.gradients import spread_tile

    images, channels, pixels = result.shape
    tiles = SPREAD_TILES[numbers_of(result)]
    block = min(tiles.channels, filled_up(channels))
    slots = LEAST_SIDE if anchors is None else anchors.shape[1]
    launch(
        spread_tile,
        (-(-pixels // TILE) * -(-channels // block), images),
        tiles,
        weight=result if weight is None else weight,
        projected=result if projected is None else projected,
        means=result if means is None else means,
        result=result,
        anchors=result if anchors is None else anchors,
        bounds=result if bounds is None else bounds,
        channels=channels,
        out_channels=1 if projected is None else projected.shape[1],
        width=width,
        pixels=pixels,
        rows=1 if means is None else means.shape[1],
        slots=slots,
        TILE=TILE,
        CHANNELS=block,
        OUT_CHANNELS=tiles.out_channels,
        SLOTS=min(slots, MOST_SPREAD_SLOTS),
        PRECISION=precision(result),
        PROJECTS=projected is not None,
        POOLS=means is not None,
    )


@torch.library.custom_op("ann::score_tiles", mutates_args=("weights", "scores"))
def score_tiles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gradient: Tensor,
    weights: Tensor,
    scores: Tensor,
    anchors: int,
    scale: float,
) -> None:
    """Pass 2 backward: weights and scores' gradients (n, s, p) from the output's gradient (n, o, p)."""
    from ann.kernels.passes.gradients import score_tile

    images, depth, pixels = query.shape
    out_channels, side = value.shape[1], filled_up(key.shape[1])
    tiles = choose_tiles(SCORE, numbers_of(value), side, narrow=False)
    launch(
        score_tile,
        (-(-pixels // tiles.tile), images),
        tiles,
        query=query,
        key=key,
        value=value,
        gradient=gradient,
        weights=weights,
        scores=scores,
        pixels=pixels,
        depth=depth,
        anchors=anchors,
        rows=key.shape[1],
        out_channels=out_channels,
        scale=scale,
        query_image=query.stride(0),
        query_position=query.stride(2),
        query_depth=query.stride(1),
        **dict(zip(("key_image", "key_anchor", "key_depth"), key.stride(), strict=True)),
        **dict(zip(("value_image", "value_channel", "value_anchor"), value.stride(), strict=True)),
        **dict(
            zip(
                ("gradient_image", "gradient_channel", "gradient_position"),
                gradient.stride(),
                strict=True,
            )
        ),
        TILE=tiles.tile,
        DEPTH=min(tiles.channels, filled_up(depth)),
        ANCHORS=side,
        OUT_CHANNELS=min(tiles.out_channels, filled_up(out_channels)),
        PRECISION=precision(value),
    )


for _operator in (project_tiles, collect_sums, attend_tiles, spread_tiles, score_tiles):
    _operator.register_fake(without_values(_operator._init_fn))  # noqa: SLF001  # the function itself
