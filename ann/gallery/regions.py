"""Context through a few regions: bases found by expectation-maximisation, and the objects of a coarse prediction.

Axes: n images, c channels, h height, w width, t positions, r regions.
"""

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn

from ann.layers import ConvNorm

BASES, ITERATIONS, MOMENTUM = 64, 3, 0.9
REGIONS = 19
SMALL = 1e-6


class ExpectationMaximisation(nn.Module):
    """Each position as a mixture of 64 bases, which three steps of expectation-maximisation fit to the image.

    Li et al., EMANet (ICCV 2019), section 3: between two 1x1 convolutions, the second with a norm, added to the
    input and rectified. The steps have no gradient, in the released code as in mmsegmentation's, so that the first
    convolution gets none either. In training the bases follow the images by a moving average.
    """

    bases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.leave = ConvNorm(channels, channels, relu=False)
        drawn = torch.randn(1, channels, BASES) * (2 / BASES) ** 0.5
        self.register_buffer("bases", F.normalize(drawn, dim=1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Rebuild the map from its bases."""
        positions = self.enter(x).flatten(2)
        with torch.no_grad():
            weight, bases = self.fit(positions)
            if self.training:
                mean = F.normalize(bases.mean(dim=0, keepdim=True), dim=1)
                self.bases.mul_(MOMENTUM).add_(mean, alpha=1 - MOMENTUM)
        rebuilt = (bases @ weight.mT).unflatten(2, x.shape[2:])
        return (x + self.leave(rebuilt.relu())).relu()

    def fit(
        self, positions: Float[Tensor, "n c t"]
    ) -> tuple[Float[Tensor, "n t r"], Float[Tensor, "n c r"]]:
        """Which base each position belongs to, by shares, and the bases: the weighted means, of length 1."""
        bases = self.bases.expand(positions.shape[0], -1, -1)
        for _ in range(ITERATIONS):
            weight = (positions.mT @ bases).softmax(dim=2)
            bases = positions @ (weight / (SMALL + weight.sum(dim=1, keepdim=True)))
            bases = F.normalize(bases, dim=1)
        return weight, bases


class ObjectContext(nn.Module):
    """Attention from positions to 19 object regions, each the mean of the positions that a coarse prediction gives it.

    Yuan et al., OCR (ECCV 2020), section 3.2: query and key through two 1x1 convolutions with norm and ReLU, value
    and output through one, the context beside the map through another one. The coarse prediction is a 1x1 convolution
    here; in OCRNet it comes from the stage before. 19 regions are the classes of Cityscapes.
    """

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.predict = nn.Conv2d(channels, REGIONS, 1)
        self.query = self._two_layers(channels, key_channels)
        self.key = self._two_layers(channels, key_channels)
        self.value = ConvNorm(channels, key_channels)
        self.out = ConvNorm(key_channels, channels)
        self.merge = ConvNorm(2 * channels, channels)

    @staticmethod
    def _two_layers(channels: int, key_channels: int) -> nn.Module:
        return nn.Sequential(ConvNorm(channels, key_channels), ConvNorm(key_channels, key_channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Merge the map with what each position finds among the regions."""
        share = self.predict(x).flatten(2).softmax(dim=2)
        regions = (x.flatten(2) @ share.mT).unsqueeze(3)
        query, key, value = (
            each.flatten(2) for each in (self.query(x), self.key(regions), self.value(regions))
        )
        weight = (query.mT @ key * query.shape[1] ** -0.5).softmax(dim=2)
        context = self.out((value @ weight.mT).unflatten(2, x.shape[2:]))
        return self.merge(torch.cat([context, x], dim=1))
