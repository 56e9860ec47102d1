"""Attention along the row and the column of a position.

Axes: n images, c channels, h height, w width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

KEY_SHARE = 8
PASSES = 2


class CrissCross(nn.Module):
    """Criss-cross attention, twice with the same weights, so that every position reaches every other (RCCA, R = 2).

    Huang et al., CCNet (ICCV 2019), section 3: query and key have C / 8 channels and the value C; the position
    itself counts once; the context is added to the input with a gain that starts at zero. The 3x3 convolutions
    that CCNet has around it are not part of it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // KEY_SHARE)
        self.query = nn.Conv2d(channels, narrow, 1)
        self.key = nn.Conv2d(channels, narrow, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Refine every position by its row and column, and again."""
        for _ in range(PASSES):
            x = x + self.gain * self.context(x)
        return x

    def context(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """What each position finds in its row and column, weighted by one softmax over both."""
        height = x.shape[2]
        query, key, value = self.query(x), self.key(x), self.value(x)
        # Columns first: n w h ..., then rows: n h w ...
        upright = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)
        itself = torch.eye(height, dtype=torch.bool, device=x.device)
        upright = upright.masked_fill(itself, float("-inf")).transpose(1, 2)
        level = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)
        weight = torch.cat([upright, level], dim=3).softmax(dim=3)
        from_column = weight[..., :height].transpose(1, 2) @ value.permute(0, 3, 2, 1)
        from_row = weight[..., height:] @ value.permute(0, 2, 3, 1)
        return from_column.permute(0, 3, 2, 1) + from_row.permute(0, 3, 1, 2)
