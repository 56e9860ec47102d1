"""Layers and helpers that blocks and heads share: convolution with norm, zero start, resizing, shared copies.

Axes: n images, c channels, h height, w width.
"""

import copy
from contextlib import suppress

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn

from ann.spec import BlockSpec


class ConvNorm(nn.Module):
    """Convolution, batch norm and, by default, ReLU; the size of the map stays with `same` padding.

    The side of the kernel is 1 or odd, `bias` is the convolution's ahead of the norm, as the official ANN code has it,
    and `padding` the zeros around the map, None for as many as keep its size.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        dilation: int = 1,
        bias: bool = False,
        relu: bool = True,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2) if padding is None else padding
        self.conv = nn.Conv2d(
            channels, out_channels, kernel, padding=padding, dilation=dilation, bias=bias
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o y x"]:
        """Convolve, normalise, rectify."""
        return self.relu(self.norm(self.conv(x)))


class Combine(nn.Module):
    """What a block does with its context and its input: nothing, add, concatenate, or concatenate and reduce."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.output = spec.output
        if spec.output == "bottleneck":
            self.bottleneck = ConvNorm(
                2 * spec.channels, spec.channels, bias=spec.norm_bias, relu=spec.bottleneck_relu
            )
            self.dropout = nn.Dropout2d(spec.dropout)

    def forward(
        self, x: Float[Tensor, "n c h w"], context: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n o h w"]:
        """Bring the two together; the context comes first in the concatenation, as in the official code."""
        if self.output == "context":
            return context
        if self.output == "residual":
            return x + context
        both = torch.cat([context, x], dim=1)
        if self.output == "concat":
            return both
        return self.dropout(self.bottleneck(both))


def zero_(conv: nn.Conv2d) -> nn.Conv2d:
    """Set weight and bias to zero, so that a block begins as the identity it is added to."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def resize(
    x: Float[Tensor, "n c h w"], size: torch.Size, *, align_corners: bool
) -> Float[Tensor, "n c y x"]:
    """Bring a map to another height and width, bilinearly."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def share(module: nn.Module) -> nn.Module:
    """Copy a module's structure; the copy has the very parameters and buffers of the original."""
    tensors = (*module.parameters(), *module.buffers())
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


@torch.no_grad()
def draw_zeros(module: nn.Module) -> None:
    """Draw each weight that is zero throughout, as W_o begins, from torch's random numbers.

    Weights of a layout that can't be filled, or made in inference mode, stay as they are.
    """
    for weight in module.parameters():
        with suppress(RuntimeError):
            is_number = weight.is_floating_point() or weight.is_complex()
            if weight.numel() and is_number and not weight.any():
                weight.normal_(std=weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.1)
