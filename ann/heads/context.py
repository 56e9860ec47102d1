"""Heads around a context block: ANN's own, the one of NL and DNL, and the auxiliary head without any.

Axes: n images, l and c channels of stage 4 and 5, h and w the size of both, k classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ann.blocks import make_block
from ann.layers import ConvNorm
from ann.spec import NetworkSpec


class AnnHead(nn.Module):
    """Fusion, 3x3 reduction, context, classifier; without its blocks it is the baseline (official models/seg/nets).

    The paper's text has no reduction; official code and mmseg do. The one dropout module is applied after the fusion
    and again ahead of the classifier, as in mmseg; the official code has none in these places.
    """

    def __init__(self, spec: NetworkSpec, _: int, high: int) -> None:
        super().__init__()
        self.fusion = None if spec.fusion is None else make_block(spec.fusion)
        fused = high if spec.fusion is None else spec.fusion.out_channels
        self.reduce = ConvNorm(fused, spec.channels, kernel=3, bias=spec.norm_bias)
        self.context = None if spec.context is None else make_block(spec.context)
        refined = spec.channels if spec.context is None else spec.context.out_channels
        self.dropout = nn.Dropout2d(spec.dropout)
        self.classifier = nn.Conv2d(refined, spec.num_classes, 1)

    def forward(
        self, low: Float[Tensor, "n l h w"], high: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        x = high
        if self.fusion is not None:
            x = self.dropout(self.fusion(high, low))
        x = self.reduce(x)
        if self.context is not None:
            x = self.context(x)
        return self.classifier(self.dropout(x))


class FcnHead(nn.Module):
    """The context block between two 3x3 convolutions, then the input concatenated again (mmseg NLHead, DNLHead)."""

    def __init__(self, spec: NetworkSpec, _: int, high: int) -> None:
        super().__init__()
        assert spec.context is not None, "NetworkSpec checks this"
        self.enter = ConvNorm(high, spec.channels, kernel=3, bias=spec.norm_bias)
        self.context = make_block(spec.context)
        refined = spec.context.out_channels
        self.leave = ConvNorm(refined, spec.channels, kernel=3, bias=spec.norm_bias)
        self.merge = ConvNorm(high + spec.channels, spec.channels, kernel=3, bias=spec.norm_bias)
        self.dropout = nn.Dropout2d(spec.dropout)
        self.classifier = nn.Conv2d(spec.channels, spec.num_classes, 1)

    def forward(self, _: Tensor, high: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        refined = self.leave(self.context(self.enter(high)))
        merged = self.merge(torch.cat([high, refined], dim=1))
        return self.classifier(self.dropout(merged))


class AuxiliaryHead(nn.Module):
    """3x3 convolution and classifier on stage 4, for the deep supervision of training (paper, section 3.4)."""

    def __init__(self, spec: NetworkSpec, low: int) -> None:
        super().__init__()
        assert spec.auxiliary_channels is not None, "make_auxiliary checks this"
        self.reduce = ConvNorm(low, spec.auxiliary_channels, kernel=3, bias=spec.norm_bias)
        self.dropout = nn.Dropout2d(spec.auxiliary_dropout)
        self.classifier = nn.Conv2d(spec.auxiliary_channels, spec.num_classes, 1)

    def forward(self, low: Float[Tensor, "n l h w"]) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        return self.classifier(self.dropout(self.reduce(low)))
