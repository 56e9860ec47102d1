"""Point-wise spatial attention: every position predicts its own weights over the others (PSANet, ECCV 2018).

Axes: n images, m places of the mask, l and c channels of stage 4 and 5, h and w the size of a map, p its positions,
k classes.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ann.layers import ConvNorm, resize
from ann.spec import NetworkSpec, Size


def collect(scores: Float[Tensor, "n m h w"], *, mask: Size) -> Float[Tensor, "n p p"]:
    """Spread each position's scores over the map: entry (source, target) is how much the target asks of the source.

    A position's scores are laid over the map with the middle of the mask on the position. What the mask does not
    reach is 0, and takes part in a softmax as 0 (semseg, lib/psa/src/cpu/psamask.cpp). For `distribute` take the
    transpose: there a position says how much it gives.
    """
    height, width = scores.shape[2:]
    rows, rows_reached = _offsets(height, mask.height, scores.device)
    columns, columns_reached = _offsets(width, mask.width, scores.device)
    here = torch.arange(height, device=scores.device)[None, None, :, None]
    there = torch.arange(width, device=scores.device)
    laid = scores.unflatten(1, (mask.height, mask.width))
    weights = laid[:, rows[:, None, :, None], columns[None, :, None, :], here, there]
    weights = weights.flatten(3).flatten(1, 2)
    if mask.height >= 2 * height - 1 and mask.width >= 2 * width - 1:
        return weights
    reached = rows_reached[:, None, :, None] & columns_reached[None, :, None, :]
    return weights.masked_fill(~reached.reshape(height * width, -1), 0)


def _offsets(
    length: int, mask: int, device: torch.device
) -> tuple[Int64[Tensor, "s t"], Bool[Tensor, "s t"]]:
    """For source and target along one axis: the place in the mask, and whether the mask reaches that far."""
    position = torch.arange(length, device=device)
    place = position[:, None] - position[None, :] + (mask - 1) // 2
    return place.clamp(0, mask - 1), (place >= 0) & (place < mask)


class PsaBranch(nn.Module):
    """One direction: reduced features at half the size, mixed by the attention that they predict."""

    def __init__(self, spec: NetworkSpec, high: int, *, distribute: bool) -> None:
        super().__init__()
        assert spec.mask is not None, "NetworkSpec checks this"
        self.mask = spec.mask
        self.distribute = distribute
        self.reduce = ConvNorm(high, spec.channels)
        self.attention = ConvNorm(spec.channels, spec.channels)
        self.score = nn.Conv2d(spec.channels, spec.mask.pixels, 1, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o y x"]:
        """Return the mixed features, at half the size."""
        reduced = shrink(self.reduce(x))
        weights = collect(self.score(self.attention(reduced)), mask=self.mask)
        if self.distribute:
            weights = weights.mT
        mixed = reduced.flatten(2) @ weights.softmax(dim=1)
        return mixed.unflatten(2, reduced.shape[2:])


def shrink(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c y x"]:
    """Halve the size: corner to corner where both sides are odd, otherwise rounded down and at pixel centres (mmseg).

    semseg knows odd sides only; there the two agree.
    """
    odd = _is_odd(x)
    size = [max(1, (side + 1) // 2 if odd else side // 2) for side in x.shape[2:]]
    return resize(x, torch.Size(size), align_corners=odd)


def _is_odd(x: Float[Tensor, "n c h w"]) -> bool:
    return all(side % 2 == 1 for side in x.shape[2:])


class PsaHead(nn.Module):
    """Both directions, a projection back to the width of the features, and those beside it.

    semseg and mmseg differ in the projection alone: mmseg pads the input of this 1x1 convolution by 1, which adds a
    border before the map is brought to full size; published mmseg weights were trained with it.
    """

    def __init__(self, spec: NetworkSpec, _: int, high: int) -> None:
        super().__init__()
        self.collect = PsaBranch(spec, high, distribute=False)
        self.distribute = PsaBranch(spec, high, distribute=True)
        self.project = ConvNorm(2 * spec.channels, high, padding=spec.projection_padding)
        self.merge = ConvNorm(2 * high, spec.channels, kernel=3)
        self.dropout = nn.Dropout2d(spec.dropout)
        self.classifier = nn.Conv2d(spec.channels, spec.num_classes, 1)

    def forward(self, _: Tensor, high: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        mixed = torch.cat([self.collect(high), self.distribute(high)], dim=1)
        projected = self.project(mixed)
        restored = resize(projected, high.shape[2:], align_corners=_is_odd(high))
        merged = self.merge(torch.cat([high, restored], dim=1))
        return self.classifier(self.dropout(merged))
