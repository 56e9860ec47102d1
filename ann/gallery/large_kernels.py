"""Attention without a softmax: a map multiplied by what large depth-wise kernels make of it.

Axes: n images, c channels, h height, w width.
"""

import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn

STRIPS = (7, 11, 21)


def _depthwise(channels: int, kernel: int | tuple[int, int], *, dilation: int = 1) -> nn.Conv2d:
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    high, wide = (dilation * (side // 2) for side in sides)
    return nn.Conv2d(
        channels, channels, sides, padding=(high, wide), dilation=dilation, groups=channels
    )


class _Gated(nn.Module):
    """1x1, GELU, the map times its weights, 1x1, added to the input, as VAN and SegNeXt have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)

    def weigh(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """What the kernels make of the map, ahead of the 1x1 that mixes channels."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Refine the map by its own surroundings."""
        value = F.gelu(self.enter(x))
        return x + self.leave(value * self.mix(self.weigh(value)))


class LargeKernel(_Gated):
    """Large kernel attention: 5x5, then 7x7 three apart, both depth-wise, which reach 23x23 places.

    Guo et al., Visual Attention Network (Computational Visual Media 2023), section 3.1: a 21x21 kernel taken
    apart with dilation 3, inside the attention part of a VAN block, without the block's norm, gain and feed-forward
    part.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.near = _depthwise(channels, 5)
        self.far = _depthwise(channels, 7, dilation=3)

    def weigh(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The two kernels, one after the other."""
        return self.far(self.near(x))


class MultiScaleConvolution(_Gated):
    """Multi-scale convolutional attention: 5x5, then beside it strips of 7, 11 and 21, each along both axes.

    Guo et al., SegNeXt (NeurIPS 2022), section 3.1, equations 1 and 2, without the block's norms, gains and
    feed-forward part.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.near = _depthwise(channels, 5)
        self.strips = nn.ModuleList(
            nn.Sequential(_depthwise(channels, (1, side)), _depthwise(channels, (side, 1)))
            for side in STRIPS
        )

    def weigh(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The near kernel and its three scales, added up."""
        near = self.near(x)
        total = near
        for strip in self.strips:
            total = total + strip(near)
        return total
