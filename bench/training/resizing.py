"""Bilinear resizing in two ways that torch's operator does not have.

By two products, which on a processor goes back several times faster; and of 8 bits to the last bit as OpenCV does it,
by which mmsegmentation and the official code bring images to their sizes.

Axes: n images, c channels, k classes, h and w height and width before, height and width after.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from ann.network import SegmentationNetwork
from ann.spec import Size


class _Products(torch.autograd.Function):
    """Interpolation is linear along each axis, so that going back is a product with the transposed matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(rows, columns)
        return rows @ (x.contiguous() @ columns.T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        rows, columns = ctx.saved_tensors
        return (rows.T @ gradient) @ columns, None, None


def resize_by_products(
    x: Float[Tensor, "n k h w"],
    size: torch.Size,
    *,
    align_corners: bool,
    start: tuple[int, int] = (0, 0),
    step: int = 1,
) -> Float[Tensor, "n k y x"]:
    """Bring a map to another height and width, bilinearly, as `ann.layers.resize` does; in float32.

    With a `step` the result has only every so many rows and columns, from those of `start`; the rest is not computed.
    """
    with torch.autocast(x.device.type, enabled=False):
        matrices = (
            _interpolation(before, after, align_corners=align_corners)[first::step].to(x.device)
            for before, after, first in zip(x.shape[2:], size, start, strict=True)
        )
        resized: Tensor = _Products.apply(x.float(), *matrices)
    return resized


@cache
def _interpolation(before: int, after: int, *, align_corners: bool) -> Tensor:
    """Weights [after, before] of torch's own interpolation along one axis, read off unit vectors."""
    with torch.inference_mode(mode=False):  # kept for calls with gradients too
        units = torch.eye(before)[None]
        weights = functional.interpolate(
            units, size=after, mode="linear", align_corners=align_corners
        )
        return weights[0].T.contiguous()


# OpenCV's weights are whole numbers of 1 / 2048, and it drops bits on the way down the columns
# (modules/imgproc/src/resize.cpp: INTER_RESIZE_COEF_BITS, VResizeLinear; 4.8.1 and 5.0.0 gave the same).
_UNIT = 2048


def resize_as_opencv(images: UInt8[Tensor, "n c h w"], size: Size) -> UInt8[Tensor, "n c y x"]:
    """Bring images of 8 bits to a size as `cv2.resize` with INTER_LINEAR does."""
    before = Size(height=images.shape[2], width=images.shape[3])
    pixels = images.to(torch.int32)
    if (before.height, before.width) == (
        2 * size.height,
        2 * size.width,
    ):  # where it takes means of areas
        return ((functional.avg_pool2d(pixels.float(), 2) * 4 + 2) // 4).to(torch.uint8)
    left, right, near, far = _opencv_axis(before.width, size.width, images.device, clamped=True)
    rows = pixels[..., left] * near + pixels[..., right] * far >> 4
    top, below, near, far = _opencv_axis(before.height, size.height, images.device, clamped=False)
    upper = rows[..., top, :] * near[:, None] >> 16
    lower = rows[..., below, :] * far[:, None] >> 16
    return (upper + lower + 2 >> 2).clamp_(0, 255).to(torch.uint8)


def _opencv_axis(
    before: int, after: int, device: torch.device, *, clamped: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each place after, the two places before and their weights; beyond an edge the first has all if `clamped`."""
    places = (torch.arange(after, dtype=torch.float64) + 0.5) * (before / after) - 0.5
    places = places.to(torch.float32)
    first = places.floor()
    share = places - first
    if clamped:
        share = share.where((first >= 0) & (first < before - 1), 0)
    weights = ((1 - share) * _UNIT).round().int(), (share * _UNIT).round().int()
    ends = (first.long() + step for step in (0, 1))
    near, far = (end.clamp(0, before - 1).to(device) for end in ends)
    return near, far, weights[0].to(device), weights[1].to(device)


@contextmanager
def resizing_by_products(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a segmentation network enlarge its logits so, on a processor; elsewhere nothing changes."""
    if device.type != "cpu" or not isinstance(network, SegmentationNetwork):
        yield
        return
    before, network.resize = network.resize, resize_by_products
    try:
        yield
    finally:
        network.resize = before
