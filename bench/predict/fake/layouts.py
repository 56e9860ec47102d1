"""Layouts of results as a device gives them, where torch's kernels for meta tensors, which know none, give others.

On which map a convolution's result lies channels last decides whether what follows has to copy it. The rules are those
of PyTorch 2.11 and 2.15 (aten/src/ATen/native/ConvUtils.h, `*_conv_use_channels_last` and
`cudnn_conv_suggest_memory_format`; the kernels in aten/src/ATen/native, and native/cpu for a processor).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from bench.predict.fake.autocast import Arguments, Overload

OPS = torch.ops.aten
LayoutRule = Callable[[Arguments, Any], Any]


def on_device(func: Overload, args: Arguments, result: Any, *, on_cpu: bool) -> Any:  # noqa: ANN401
    """Give what an operator returned for meta tensors the layout that it has on a processor, or on a GPU."""
    rule = (ON_CPU if on_cpu else ON_GPU).get(func)
    return rule(args, result) if rule else result


def _laid(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    """A tensor of this shape that lies so."""
    options = {"dtype": tensor.dtype, "device": "meta"}
    return torch.empty(tensor.shape, memory_format=layout, **options)  # type: ignore[call-overload]


def suggested_layout(tensor: Tensor) -> torch.memory_format:
    """Which way a tensor seems to lie by its strides, as PyTorch guesses it (c10/core/MemoryFormat.h).

    Torch has it in Python too (`torch._prims_common`), but there it loads sympy, which takes half a second.
    """
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    if layout is None or tensor.layout != torch.strided or tensor.stride(1) == 0:
        return torch.contiguous_format
    least = 0
    # Channels innermost, then the other axes from the last to the first, images outermost.
    for axis in (1, *range(tensor.dim() - 1, 1, -1), 0):
        size, stride = tensor.shape[axis], tensor.stride(axis)
        is_ambiguous = axis == 0 and least == tensor.stride(1)
        if size == 0 or stride < least or is_ambiguous:
            return torch.contiguous_format
        least = stride * max(size, 1)
    return layout


def _convolved_layout(maps: Tensor, weight: Tensor, *, least_dim: int) -> torch.memory_format:
    """Channels last where the map or the weight lies so; a map of fewer axes than `least_dim` does not."""
    layouts = (suggested_layout(tensor) for tensor in (maps, weight))
    last = (each for each in layouts if each != torch.contiguous_format)
    return (
        next(last, torch.contiguous_format) if maps.dim() >= least_dim else torch.contiguous_format
    )


def _lay_convolution(args: Arguments, result: Any, *, on_cpu: bool, at: int = 0) -> Any:  # noqa: ANN401
    """Of a convolution or its way back, whose map and weight begin `at` an argument."""
    maps, weight = args[at : at + 2]
    # Numbers of 64 bits: planes on a processor may lie channels last, volumes and a GPU's maps may not.
    is_double = torch.float64 in (maps.dtype, weight.dtype)
    is_barred = is_double and (not on_cpu or maps.dim() > 4)
    layout = torch.contiguous_format if is_barred else _convolved_layout(maps, weight, least_dim=4)
    if isinstance(result, Tensor):
        return _laid(result, layout)
    return *(each if each is None else _laid(each, layout) for each in result[:2]), *result[2:]


def _contiguous_layout(maps: Tensor) -> torch.memory_format:
    """Channels last if the map is contiguous so and not otherwise; the stride of a single image is no matter."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(maps.dim())
    is_last = last is not None and maps.is_contiguous(memory_format=last)
    return last if is_last and last and not maps.is_contiguous() else torch.contiguous_format


def _as_argument(at: int) -> LayoutRule:
    """Of a map that lies channels last if that argument does."""

    def laid(args: Arguments, result: Any) -> Any:  # noqa: ANN401
        layout = suggested_layout(args[at])
        if isinstance(result, Tensor):
            return _laid(result, layout)
        return result[0] if result[0] is None else _laid(result[0], layout), *result[1:]

    return laid


def _contiguous(_: Arguments, result: Any) -> Any:  # noqa: ANN401
    if isinstance(result, Tensor):
        return _laid(result, torch.contiguous_format)
    return tuple(_laid(each, torch.contiguous_format) for each in result)


def _in_room_of(operator: Overload, *places: int, asked: Arguments = ((8,), (8,))) -> LayoutRule:
    """In a storage that has room for what those arguments are together, from which the kernel went on.

    So has a loss that is a single number (Loss.cpp), and an image that was put together of columns (Col2Im.cpp).
    The first is taken for a fault (pytorch/pytorch#185647), so the installed version is `asked`, with zeros
    of such shapes.
    """

    @cache
    def keeps_room() -> bool:
        with _disable_current_modes(), torch.device("cpu"):
            shapes = (torch.zeros(each) if isinstance(each, tuple) else each for each in asked)
            made: Tensor = operator(*shapes)
        return made.untyped_storage().nbytes() > made.nbytes

    def laid(args: Arguments, result: Tensor) -> Tensor:
        if not keeps_room():
            return result
        shape = torch.broadcast_shapes(*(args[at].shape for at in places))
        elements = max(prod(shape), result.numel())
        room = torch.empty(elements, dtype=result.dtype, device="meta")
        return room.as_strided(result.shape, result.stride())

    return laid


def _lay_batch_norm(args: Arguments, result: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A processor gives no statistics back in inference, and in training those of the map's type."""
    maps, *others = args[:5]
    normed, *statistics = result
    normed = _laid(normed, _contiguous_layout(maps))
    kept = _typed(statistics, maps, others)
    if not args[5]:
        kept = [torch.empty(0, dtype=each.dtype, device="meta") for each in kept]
    return normed, *kept


def _lay_layer_norm(args: Arguments, result: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    maps, _, *others = args[:4]
    return result[0], *_typed(result[1:], maps, others)


def _wanted(args: Arguments, result: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Gradients of a norm's way back, without those that nobody wants; its last argument says which."""
    return tuple(each if wanted else None for each, wanted in zip(result, args[-1], strict=True))


def _batch_norm_backward(
    args: Arguments, result: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    return _wanted(args, _as_argument(1)(args, result))


def _typed(
    statistics: Sequence[Tensor], maps: Tensor, others: Sequence[Tensor | None]
) -> list[Tensor]:
    """Statistics in the map's type, unless weights are of another."""
    is_mixed = any(each is not None and each.dtype != maps.dtype for each in others)
    return [each if is_mixed else each.to(maps.dtype) for each in statistics]


def _recurrent_layer(args: Arguments, result: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """An LSTM of oneDNN's, which in training keeps for the way back what it calls its workspace."""
    steps, batch = args[0].shape[:2]  # also of a layer that has batches first
    kept_bytes = 0
    if args[15]:
        each, once = _workspace_bytes(args[0].shape[-1], args[10], args[0].dtype)
        kept_bytes = round(batch * (steps * each + once))
    return *result[:3], torch.empty(kept_bytes, dtype=torch.uint8, device="meta")


@cache
def _workspace_bytes(width: int, hidden: int, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes for each step and beside them, of one sequence: oneDNN pads as it likes, so it is asked, with few steps."""
    batch = 2048  # so that the pages to which it rounds don't matter
    totals = []
    with _disable_current_modes(), torch.enable_grad():
        for steps in (1, 3):
            weights = ((4 * hidden, width), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
            shapes = ((steps, batch, width), *weights, (batch, hidden), (batch, hidden))
            zeros = (torch.zeros(shape, dtype=dtype, device="cpu") for shape in shapes)
            settings: tuple[Any, ...] = (False, [], 2, hidden, 1, True, False, False, True)
            totals.append(OPS.mkldnn_rnn_layer(*zeros, *settings)[3].numel() / batch)
    each = (totals[1] - totals[0]) / 2
    return each, totals[0] - each


# Four columns of a kernel of 2x2 over 3x3, and how they lie.
COLUMNS = ((1, 4, 4), [3, 3], [2, 2], [1, 1], [0, 0], [1, 1])

ON_GPU: Mapping[Overload, LayoutRule] = {
    OPS.convolution.default: partial(_lay_convolution, on_cpu=False),
    OPS.convolution_backward.default: partial(_lay_convolution, on_cpu=False, at=1),
    OPS.native_batch_norm_backward.default: _wanted,
    OPS.native_group_norm_backward.default: _wanted,
    OPS.native_layer_norm_backward.default: _wanted,
    OPS.mse_loss.default: _in_room_of(OPS.mse_loss.default, 0, 1),
    OPS.smooth_l1_loss.default: _in_room_of(OPS.smooth_l1_loss.default, 0, 1),
    OPS.soft_margin_loss.default: _in_room_of(OPS.soft_margin_loss.default, 0),
    OPS.binary_cross_entropy.default: _in_room_of(OPS.binary_cross_entropy.default, 0),
    OPS.col2im.default: _in_room_of(OPS.col2im.default, 0, asked=COLUMNS),
    OPS.mse_loss_backward.default: _contiguous,
    OPS.smooth_l1_loss_backward.default: _contiguous,
    OPS.rrelu_with_noise.default: _contiguous,
}
ON_CPU: Mapping[Overload, LayoutRule] = {
    **ON_GPU,
    OPS.convolution.default: partial(_lay_convolution, on_cpu=True),
    OPS.convolution_backward.default: partial(_lay_convolution, on_cpu=True, at=1),
    OPS.native_batch_norm.default: _lay_batch_norm,
    OPS.native_batch_norm_backward.default: _batch_norm_backward,
    OPS.native_layer_norm.default: _lay_layer_norm,
    OPS.mkldnn_rnn_layer.default: _recurrent_layer,
    OPS.channel_shuffle.default: _as_argument(0),
    OPS.pixel_shuffle.default: _as_argument(0),
    OPS.reflection_pad2d.default: _as_argument(0),
    OPS.reflection_pad2d_backward.default: _as_argument(1),
    OPS.replication_pad2d.default: _as_argument(0),
    OPS.replication_pad2d_backward.default: _as_argument(1),
    OPS.roll.default: _as_argument(0),
    OPS.glu_backward.default: _contiguous,
    OPS.log_sigmoid_forward.default: _contiguous,
    OPS.log_sigmoid_backward.default: _contiguous,
}
