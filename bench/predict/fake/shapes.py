"""Shapes of the commonest results, so that counting such a block does not import torch's compiler.

Many of torch's kernels for meta tensors are Python, and at the first call of one it imports what takes two seconds.
Here are those of the operators of which blocks like ours consist, in their plain cases; each gives up on others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.predict.fake import layouts
from bench.predict.fake.autocast import Arguments, Keywords, Overload

ATEN = torch.ops.aten


def shaped(func: Overload, args: Arguments, kwargs: Keywords, *, on_cpu: bool = False) -> Any:  # noqa: ANN401
    """Give what an operator returns for meta tensors, by a rule of `RULES` or else by torch."""
    rule = RULES.get(func)
    result = rule(*args, **kwargs) if rule else None
    result = func(*args, **kwargs) if result is None else result
    return layouts.on_device(func, args, result, on_cpu=on_cpu)


def _empty(like: Tensor, sizes: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    # torch.empty_like is one of those kernels.
    return torch.empty(sizes, dtype=dtype or like.dtype, device="meta")


def _elementwise(*args: Any, **_: Any) -> Tensor | None:  # noqa: ANN401
    """Operands that are alike, or numbers."""
    tensors = [item for item in args if isinstance(item, Tensor) and item.dim()]
    is_alike = len({(item.dtype, item.shape) for item in tensors}) == 1
    is_plain = all(item.is_contiguous() and item.is_floating_point() for item in tensors)
    return _empty(tensors[0], tensors[0].shape) if is_alike and is_plain else None


def _batch_norm(x: Tensor, *_: Any) -> tuple[Tensor, ...] | None:  # noqa: ANN401
    """The statistics come back in any mode, in float32 or more."""
    kind = torch.promote_types(x.dtype, torch.float32)
    statistics = (_empty(x, x.shape[1:2], kind) for _ in range(2))
    return (_empty(x, x.shape), *statistics) if x.is_contiguous() else None


def _convolution(x: Tensor, weight: Tensor, *settings: Any) -> Tensor | None:  # noqa: ANN401
    """One that is not transposed, of contiguous maps."""
    _bias, *sides, transposed, _output_padding, groups = settings
    is_plain = x.is_contiguous() and weight.is_contiguous() and x.dim() == weight.dim()
    if not is_plain or transposed or x.shape[1] != groups * weight.shape[1]:
        return None
    stride, padding, dilation = (
        values if len(values) > 1 else (*values,) * (x.dim() - 2) for values in sides
    )
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pairs = zip(x.shape[2:], padding, spans, stride, strict=True)
    sizes = [(size + 2 * pad - span) // step + 1 for size, pad, span, step in pairs]
    return _empty(x, (x.shape[0], weight.shape[0], *sizes)) if min(sizes) > 0 else None


def _mean(x: Tensor, axes: Sequence[int], keepdim: bool = False, **options: Any) -> Tensor | None:  # noqa: ANN401, FBT001, FBT002
    if options.get("dtype") is not None or not axes:
        return None
    left = {axis % x.dim() for axis in axes}
    sizes = [1 if axis in left else size for axis, size in enumerate(x.shape)]
    kept = [size for axis, size in enumerate(sizes) if keepdim or axis not in left]
    return _empty(x, kept)


def _pool(x: Tensor, sizes: Sequence[int]) -> Tensor | None:
    return _empty(x, (*x.shape[:-2], *sizes)) if x.is_contiguous() else None


def _product(left: Tensor, right: Tensor) -> Tensor | None:
    is_plain = left.shape[0] == right.shape[0] and left.shape[2] == right.shape[1]
    sizes = (*left.shape[:2], right.shape[2])
    return _empty(left, sizes) if is_plain and left.dtype == right.dtype else None


def _cat(tensors: Sequence[Tensor], axis: int = 0) -> Tensor | None:
    first = tensors[0]
    axis %= first.dim() or 1
    others = {(item.dtype, *item.shape[:axis], -1, *item.shape[axis + 1 :]) for item in tensors}
    if len(others) > 1 or not all(item.is_contiguous() for item in tensors):
        return None
    whole = sum(item.shape[axis] for item in tensors)
    return _empty(first, (*first.shape[:axis], whole, *first.shape[axis + 1 :]))


def _softmax(x: Tensor, _: int, to_float32: bool) -> Tensor | None:  # noqa: FBT001
    return None if to_float32 or not x.is_contiguous() else _empty(x, x.shape)


RULES: Mapping[Any, Callable[..., Any]] = {
    **dict.fromkeys((ATEN.relu.default, ATEN.mul.Tensor, ATEN.add.Tensor), _elementwise),
    # In place.
    **dict.fromkeys((ATEN.uniform_.default, ATEN.normal_.default), lambda x, *_, **__: x),
    ATEN.native_batch_norm.default: _batch_norm,
    ATEN.convolution.default: _convolution,
    ATEN.mean.dim: _mean,
    ATEN.bmm.default: _product,
    ATEN.cat.default: _cat,
    ATEN._softmax.default: _softmax,  # noqa: SLF001  # public under this name alone
    ATEN._adaptive_avg_pool2d.default: _pool,  # noqa: SLF001  # public under this name alone
    ATEN.randn.default: torch.empty,
}
