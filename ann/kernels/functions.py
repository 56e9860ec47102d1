"""Differentiable calls of the kernels: a projection with its pyramid, a pyramid alone, attention to a few anchors.

Axes: n images, c channels of the map, h and w its height and width, p = h * w positions, o channels that come out, s
anchors, filled up to a power of 2 by empty ones; d width of query and key.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ann.kernels import operators
from ann.kernels.cells import CellTables, cell_tables
from ann.kernels.launch import require_kernels
from ann.kernels.tiles import MOST_ANCHORS, TILE, filled_up
from ann.spec import UnavailableError

Grids = tuple[int, ...]
# Axes of operands, for `require_operands`.
PROJECTION = {"map": "nc**", "weight": "oc", "bias": "o"}
ATTENTION = {
    "query": "ndp",
    "key": "nsd",
    "value": "nos",
    "bias": "o",
    "map": "nc**",
    "reduction": "oc",
}


def project_map(
    x: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "o c"],
    bias: Float[Tensor, " o"] | None,
    *,
    rectifies: bool = False,
) -> Float[Tensor, "n o p"]:
    """Projection of every position, with ReLU if it `rectifies`; numbers come out in the weight's format."""
    return _Project.apply(x, weight, bias, None, rectifies)[0]


def project_and_pool(
    x: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "o c"],
    bias: Float[Tensor, " o"] | None,
    *,
    grids: Grids,
) -> tuple[Float[Tensor, "n o p"], Float[Tensor, "n s c"]]:
    """Projection of every position, and the anchors of the map itself."""
    return _Project.apply(x, weight, bias, grids, False)


@torch.no_grad()
def project_and_pool_both(
    x: Float[Tensor, "n c h w"],
    weight: Float[Tensor, "o c"],
    bias: Float[Tensor, " o"] | None,
    *,
    grids: Grids,
    rectifies: bool,
    stores: bool = True,
) -> tuple[Float[Tensor, "n o p"] | None, Float[Tensor, "n s c"], Float[Tensor, "n s o"]]:
    """Projection (None unless it `stores` it), anchors of the map and of that, in one pass; without gradients."""
    require_operands({"map": x, "weight": weight, "bias": bias}, PROJECTION)
    tables = _map_tables(grids, x)
    projected = _projection(x, weight) if stores else None
    sums, out_sums = (_sums(x, tables, weight, width) for width in (x.shape[1], len(weight)))
    operators.project_tiles(
        x, weight, bias, tables.anchors, tables.bounds, projected, sums, out_sums, rectifies
    )
    return projected, _collect(sums, tables), _collect(out_sums, tables)


def pool_pyramid(x: Float[Tensor, "n c h w"], *, grids: Grids) -> Float[Tensor, "n s c"]:
    """Anchors of a map: averages over n x n cells for each grid n (Eq. 8), with a deterministic gradient."""
    pooled: Tensor = _Pool.apply(x, tuple(grids))
    return pooled


def attend_anchors(
    query: Float[Tensor, "n d p"],
    key: Float[Tensor, "n s d"],
    value: Float[Tensor, "n o s"],
    *,
    scale: float,
    anchors: int | None = None,
    x: Float[Tensor, "n c h w"] | None = None,
    bias: Float[Tensor, " o"] | None = None,
    reduction: Float[Tensor, "o c"] | None = None,
    output: str = "context",
    rectifies: bool = False,
) -> Float[Tensor, "n b p"]:
    """Softmax over the first `anchors` of the keys, the values mixed by it, and what the block's output needs.

    `output` as in `ann.spec`: with a map `x`, `residual` adds it, `concat` puts it behind (b = o + c channels),
    `bottleneck` adds its product with `reduction`; b = o otherwise. Numbers come out in the format of the map that is
    added or put behind, else in the value's.

    Raises:
        UnavailableError: there are more keys than a tile holds.
    """
    anchors = key.shape[1] if anchors is None else anchors
    if key.shape[1] > MOST_ANCHORS:
        msg = f"triton: {key.shape[1]} anchors, a tile of queries holds at most {MOST_ANCHORS}"
        raise UnavailableError(msg)
    require_kernels(value)
    operands = {"query": query, "key": key, "value": value, "map": x, "reduction": reduction}
    passed_on = {"map": "no**"} if output in ("residual", "concat") else {}
    require_operands(operands | {"bias": bias}, ATTENTION | passed_on)
    if x is not None and x.shape[2] * x.shape[3] != query.shape[2]:
        msg = f"{query.shape[2]} queries for a map of {x.shape[2]}x{x.shape[3]} positions; pass as many"
        raise ValueError(msg)
    dtypes = {each.dtype for each in (query, key, value)}
    if len(dtypes) > 1:
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        msg = f"query, key and value are {names}; pass one number format"
        raise ValueError(msg)
    result: Tensor = _Attend.apply(
        query, key, value, x, bias, reduction, scale, anchors, output, rectifies
    )
    return result


def attend_to_few(
    query: Float[Tensor, "... q k"],
    key: Float[Tensor, "... s k"],
    value: Float[Tensor, "... s v"],
    *,
    scale: float,
) -> Float[Tensor, "... q v"]:
    """Mix the values of up to 256 keys, heads and images in the leading axes: pass 2 alone.

    For attention in which many queries meet few keys: to reduced maps (SegFormer, PVTv2), projected positions
    (Linformer) or landmarks (Nystromformer).
    """
    heads = query.shape[:-2]
    if not query.dim() == key.dim() == value.dim() >= 2 or not (
        heads == key.shape[:-2] == value.shape[:-2]
    ):
        shapes = ", ".join("x".join(map(str, each.shape)) for each in (query, key, value))
        msg = (
            f"query, key and value ({shapes}) have different heads or images in their leading axes"
        )
        raise ValueError(msg)
    if 0 in (query.shape[-2], key.shape[-2]):
        msg = f"{query.shape[-2]} queries and {key.shape[-2]} keys; pass at least one of each"
        raise ValueError(msg)
    queries, keys, values = (each.reshape(-1, *each.shape[-2:]) for each in (query, key, value))
    mixed = attend_anchors(queries.mT, keys, values.mT, scale=scale).mT
    return mixed.reshape(*heads, *mixed.shape[1:])


def require_operands(operands: Mapping[str, Tensor | None], axes: Mapping[str, str]) -> None:
    """Refuse tensors that don't fit together: kernels have but addresses, and would read beside them.

    Args:
        operands: by name.
        axes: of each by its name, a letter an axis, `*` for any length.

    Raises:
        ValueError: which two, and their shapes.
    """
    lengths: dict[str, tuple[int, str]] = {}
    devices = {each.device for each in operands.values() if each is not None}
    shapes = {
        name: "x".join(map(str, each.shape)) for name, each in operands.items() if each is not None
    }
    if len(devices) > 1:
        msg = f"operands are on {', '.join(sorted(map(str, devices)))}; move them to one device"
        raise ValueError(msg)
    for name, each in operands.items():
        if each is None:
            continue
        if each.dim() != len(axes[name]):
            msg = f"{name} ({shapes[name]}) has {each.dim()} axes; it takes {len(axes[name])}"
            raise ValueError(msg)
        for axis, length in zip(axes[name], each.shape, strict=True):
            known, other = lengths.setdefault(axis, (length, name))
            if axis != "*" and length != known:
                msg = (
                    f"{name} ({shapes[name]}) does not fit {other} ({shapes[other]}): "
                    f"{length} and {known} where they have to be alike"
                )
                raise ValueError(msg)


def _map_tables(grids: Grids, x: Tensor) -> CellTables:
    return cell_tables(grids, height=x.shape[2], width=x.shape[3], tile=TILE, like=x)


def _projection(x: Tensor, weight: Tensor) -> Tensor:
    return weight.new_empty(len(x), len(weight), x.shape[2] * x.shape[3])


def _sums(x: Tensor, tables: CellTables, like: Tensor, channels: int) -> Tensor:
    return like.new_empty(len(x), tables.anchors.shape[0] * tables.slots, channels)


def _collect(sums: Tensor, tables: CellTables) -> Tensor:
    rows = filled_up(len(tables.bounds))
    means = sums.new_empty(len(sums), rows, sums.shape[2])
    operators.collect_sums(sums, tables.places, tables.starts, tables.bounds, means)
    return means


class _Project(torch.autograd.Function):
    """Projection with bias and, with grids, the anchors of the map."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        grids: Grids | None,
        rectifies: bool,
    ) -> tuple[Tensor, Tensor | None]:
        require_kernels(weight)
        require_operands({"map": x, "weight": weight, "bias": bias}, PROJECTION)
        tables = None if grids is None else _map_tables(grids, x)
        projected = _projection(x, weight)
        anchors, bounds = (None, None) if tables is None else (tables.anchors, tables.bounds)
        sums = None if tables is None else _sums(x, tables, weight, x.shape[1])
        operators.project_tiles(x, weight, bias, anchors, bounds, projected, sums, None, rectifies)
        ctx.save_for_backward(x, weight, projected if rectifies else None)
        ctx.grids, ctx.has_bias = grids, bias is not None
        return projected, None if sums is None or tables is None else _collect(sums, tables)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, of_means: Tensor | None) -> tuple[Any, ...]:  # noqa: ANN401
        x, weight, rectified = ctx.saved_tensors
        if rectified is not None:
            gradient = gradient * (rectified > 0)
        gradient = gradient.contiguous()
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _spread(x, weight, gradient, of_means, ctx.grids).to(x.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _summed_product(gradient, x.flatten(2).to(weight.dtype))
        if ctx.has_bias and ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2))
        return of_x, of_weight, of_bias, None, None


def _summed_product(left: Tensor, right: Tensor) -> Tensor:
    """Sum over the images of (o, p) times (c, p) transposed."""
    if len(left) == 1:
        return left[0] @ right[0].mT
    return torch.bmm(left, right.mT).sum(0)


def _spread(
    x: Tensor, weight: Tensor | None, gradient: Tensor | None, means: Tensor | None, grids: Grids
) -> Tensor:
    images, channels, height, width = x.shape
    given = next(each for each in (gradient, means) if each is not None)
    result = given.new_empty(images, channels, height * width)
    tables = None if means is None else _map_tables(grids, x)
    anchors, bounds = (None, None) if tables is None else (tables.anchors, tables.bounds)
    means = None if means is None else means.contiguous()
    operators.spread_tiles(weight, gradient, means, anchors, bounds, result, width)
    return result.unflatten(2, (height, width))


class _Pool(torch.autograd.Function):
    """Averages over the cells of a pyramid."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grids: Grids) -> Tensor:  # noqa: ANN401
        require_kernels(x)
        require_operands({"map": x}, PROJECTION)
        if not grids or min(grids) < 1:
            msg = f"grids={grids} are no pyramid; pass sides of 1 or more, e.g. (1, 3, 6, 8)"
            raise ValueError(msg)
        tables = _map_tables(grids, x)
        sums = _sums(x, tables, x, x.shape[1])
        # Without a projection, which has one channel here.
        none = x.new_empty(1, x.shape[1])
        operators.project_tiles(
            x, none, None, tables.anchors, tables.bounds, None, sums, None, False
        )
        ctx.shape, ctx.grids = x.shape, grids
        return _collect(sums, tables)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_means: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        like = of_means.new_empty(1).expand(ctx.shape)
        return _spread(like, None, None, of_means, ctx.grids), None


class _Attend(torch.autograd.Function):
    """Attention to a few anchors, with the block's output."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        query: Tensor,
        key: Tensor,
        value: Tensor,
        x: Tensor | None,
        bias: Tensor | None,
        reduction: Tensor | None,
        scale: float,
        anchors: int,
        output: str,
        rectifies: bool,
    ) -> Tensor:
        passes_on = output in ("residual", "concat") and x is not None
        channels = value.shape[1] + (x.shape[1] if output == "concat" and x is not None else 0)
        like = x if passes_on and x is not None else value
        if output == "bottleneck" and x is not None and reduction is not None:
            # A product of torch's own, onto which the second pass goes: one kernel for both took longer on an H200.
            maps = x.flatten(2).to(value.dtype)
            result = torch.bmm(reduction.expand(len(maps), -1, -1), maps)
        else:
            result = like.new_empty(len(query), channels, query.shape[2])
        beside = x if passes_on else None
        operators.attend_tiles(
            query, key, value, bias, beside, result, anchors, scale, output, rectifies
        )
        kept = result if rectifies else None
        ctx.save_for_backward(
            query, key, value, x if output == "bottleneck" else None, reduction, kept
        )
        ctx.scale, ctx.anchors, ctx.output = scale, anchors, output
        ctx.map_shape, ctx.has_bias = None if x is None else x.shape, bias is not None
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        query, key, value, x, reduction, result = ctx.saved_tensors
        if result is not None:
            gradient = gradient * (result > 0)
        of_x = of_reduction = None
        out_channels = value.shape[1]
        if ctx.output == "residual":
            of_x = gradient
        elif ctx.output == "concat":
            gradient, of_x = gradient[:, :out_channels], gradient[:, out_channels:]
        gradient = gradient.to(value.dtype)
        if ctx.output == "bottleneck":
            if ctx.needs_input_grad[3]:
                of_x = torch.bmm(reduction.mT.expand(len(gradient), -1, -1), gradient).to(x.dtype)
            if ctx.needs_input_grad[5]:
                of_reduction = _summed_product(gradient, x.flatten(2).to(value.dtype))
        if of_x is not None:
            of_x = of_x.unflatten(2, ctx.map_shape[2:])
        weights, scores = (
            value.new_empty(len(query), filled_up(key.shape[1]), query.shape[2]) for _ in range(2)
        )
        operators.score_tiles(query, key, value, gradient, weights, scores, ctx.anchors, ctx.scale)
        weights, scores = weights[:, : key.shape[1]], scores[:, : key.shape[1]]
        needs = ctx.needs_input_grad
        of_query = torch.bmm(key.mT, scores) if needs[0] else None
        of_key = torch.bmm(scores, query.mT) if needs[1] else None
        of_value = torch.bmm(gradient, weights.mT) if needs[2] else None
        of_bias = gradient.sum((0, 2)) if ctx.has_bias and needs[4] else None
        return of_query, of_key, of_value, of_x, of_bias, of_reduction, None, None, None, None
