"""Context from averages over cells: pyramid pooling, and attention over a pyramid.

Axes: n images, c channels, h height, w width, t tokens.
"""

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn

from ann.gallery.tokens import join_heads, num_heads, split_heads, to_map, to_tokens
from ann.heads.pyramids import PSP_GRIDS
from ann.layers import ConvNorm, resize

# Of P2T's stage at an eighth of the image's size: a cell is as many places high and wide.
POOL_RATIOS = (6, 8, 10, 12)


class PyramidPooling(nn.Module):
    """Averages over 1, 2, 3 and 6 cells a side, C / 4 channels each, beside the map; a 3x3 brings them back to C.

    Zhao et al., PSPNet (CVPR 2017), section 3.2; the 3x3 convolution is the one that follows there.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // len(PSP_GRIDS))
        self.pools = nn.ModuleList(ConvNorm(channels, narrow) for _ in PSP_GRIDS)
        self.merge = ConvNorm(channels + narrow * len(PSP_GRIDS), channels, kernel=3)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Merge the map with its averages."""
        maps = [x]
        for grid, project in zip(PSP_GRIDS, self.pools, strict=True):
            pooled = project(F.adaptive_avg_pool2d(x, grid))
            maps.append(resize(pooled, x.shape[2:], align_corners=False))
        return self.merge(torch.cat(maps, dim=1))


class PooledAttention(nn.Module):
    """Multi-head attention whose keys and values are four average pools of the map.

    Wu et al., P2T (TPAMI 2022), section 3.2: each pool plus a depth-wise 3x3 of itself, all of them side by side
    through a layer norm. In a P2T stage all blocks share the depth-wise kernels; the norm ahead, the sum with the
    input and the feed-forward part of a block are not part of it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = num_heads(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.local = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in POOL_RATIOS
        )
        self.norm = nn.LayerNorm(channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Mix the pooled values by what each position asks of the pooled keys."""
        pools = self.norm(torch.cat([*map(to_tokens, self.pyramid(x))], dim=1))
        query = split_heads(self.query(to_tokens(x)), self.heads)
        key, value = (split_heads(each, self.heads) for each in self.key_value(pools).chunk(2, -1))
        weight = (query @ key.mT * query.shape[3] ** -0.5).softmax(dim=3)
        return to_map(self.out(join_heads(weight @ value)), x)

    def pyramid(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Maps of averages, one for each ratio, each with what its depth-wise kernel adds."""
        high, wide = x.shape[2:]
        pools = [
            F.adaptive_avg_pool2d(x, (max(1, round(high / ratio)), max(1, round(wide / ratio))))
            for ratio in POOL_RATIOS
        ]
        return [pool + local(pool) for pool, local in zip(pools, self.local, strict=True)]
