"""Heads that gather context by pooling or dilation: PSP, DeepLab-V3 and DenseASPP.

Axes: n images, l and c channels of stage 4 and 5, h and w the size of both, o channels that come out, k classes.
"""

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn

from ann.layers import ConvNorm, resize
from ann.spec import NetworkSpec

PSP_GRIDS = (1, 2, 3, 6)
ASPP_DILATIONS = (1, 12, 24, 36)
DENSE_ASPP_DILATIONS = (3, 6, 12, 18, 24)
# DenseASPP trains its head's norms with a memory of thousands of steps.
DENSE_ASPP_MOMENTUM = 0.0003


class PspHead(nn.Module):
    """Pyramid pooling: averages over 1, 2, 3 and 6 cells a side beside the map itself (semseg and mmseg alike)."""

    def __init__(self, spec: NetworkSpec, _: int, high: int) -> None:
        super().__init__()
        self.align_corners = spec.align_corners
        self.pools = nn.ModuleList(ConvNorm(high, spec.channels) for _ in PSP_GRIDS)
        wide = high + len(PSP_GRIDS) * spec.channels
        self.merge = ConvNorm(wide, spec.channels, kernel=3, bias=spec.norm_bias)
        self.dropout = nn.Dropout2d(spec.dropout)
        self.classifier = nn.Conv2d(spec.channels, spec.num_classes, 1)

    def forward(self, _: Tensor, high: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        maps = [high]
        for grid, project in zip(PSP_GRIDS, self.pools, strict=True):
            pooled = project(F.adaptive_avg_pool2d(high, grid))
            maps.append(resize(pooled, high.shape[2:], align_corners=self.align_corners))
        return self.classifier(self.dropout(self.merge(torch.cat(maps, dim=1))))


class DeepLabHead(nn.Module):
    """DeepLab-V3 as mmseg has it: 512 channels a branch and a 3x3 merge, the original 256 and a 1x1."""

    def __init__(self, spec: NetworkSpec, _: int, high: int) -> None:
        super().__init__()
        self.align_corners = spec.align_corners
        self.image = ConvNorm(high, spec.channels)
        self.branches = nn.ModuleList(
            ConvNorm(high, spec.channels, kernel=1 if dilation == 1 else 3, dilation=dilation)
            for dilation in ASPP_DILATIONS
        )
        wide = (1 + len(ASPP_DILATIONS)) * spec.channels
        self.merge = ConvNorm(wide, spec.channels, kernel=3, bias=spec.norm_bias)
        self.dropout = nn.Dropout2d(spec.dropout)
        self.classifier = nn.Conv2d(spec.channels, spec.num_classes, 1)

    def forward(self, _: Tensor, high: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        image = self.image(F.adaptive_avg_pool2d(high, 1))
        maps = [resize(image, high.shape[2:], align_corners=self.align_corners)]
        maps += [branch(high) for branch in self.branches]
        return self.classifier(self.dropout(self.merge(torch.cat(maps, dim=1))))


class DenseAsppBranch(nn.Module):
    """Norm (but in the first branch), ReLU, 1x1, norm, ReLU, dilated 3x3, dropout; both convolutions have a bias."""

    def __init__(self, channels: int, spec: NetworkSpec, dilation: int, *, norm: bool) -> None:
        super().__init__()
        assert spec.hidden_channels is not None, "NetworkSpec checks this"
        momentum = DENSE_ASPP_MOMENTUM
        self.norm1 = nn.BatchNorm2d(channels, momentum=momentum) if norm else nn.Identity()
        self.conv1 = nn.Conv2d(channels, spec.hidden_channels, 1)
        self.norm2 = nn.BatchNorm2d(spec.hidden_channels, momentum=momentum)
        self.conv2 = nn.Conv2d(
            spec.hidden_channels, spec.channels, 3, padding=dilation, dilation=dilation
        )
        self.dropout = nn.Dropout2d(spec.dropout)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o h w"]:
        """Return the branch's new channels."""
        hidden = self.conv1(self.norm1(x).relu())
        return self.dropout(self.conv2(self.norm2(hidden).relu()))


class DenseAsppHead(nn.Module):
    """Five dilated branches, each on all that came before it (DeepMotionAIResearch/DenseASPP).

    The source's first branch rectifies its input in place, so that every later branch and the classifier see the
    rectified features as well. Here that ReLU is written out.
    """

    def __init__(self, spec: NetworkSpec, _: int, high: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            DenseAsppBranch(high + index * spec.channels, spec, dilation, norm=index > 0)
            for index, dilation in enumerate(DENSE_ASPP_DILATIONS)
        )
        wide = high + len(DENSE_ASPP_DILATIONS) * spec.channels
        self.dropout = nn.Dropout2d(spec.dropout)
        self.classifier = nn.Conv2d(wide, spec.num_classes, 1)

    def forward(self, _: Tensor, high: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        x = high.relu()
        for branch in self.branches:
            x = torch.cat([branch(x), x], dim=1)
        return self.classifier(self.dropout(x))
