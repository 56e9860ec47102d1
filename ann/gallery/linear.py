"""Attention whose cost grows as the number of positions: by reordering the products, or by projecting the positions.

Axes: n images, c channels, h height, w width, t tokens, s projected tokens.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ann.attention import Attention
from ann.gallery.tokens import join_heads, num_heads, split_heads, to_map, to_tokens

EFFICIENT_HEADS = 8
PROJECTED = 256


class EfficientAttention(nn.Module):
    """Queries times (keys times values): softmax over the positions of keys, over the channels of queries.

    Shen et al., Efficient Attention (WACV 2021), section 3: C-hat channels of key and value in 8 heads, a 1x1
    convolution back and the input added.
    """

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.heads = EFFICIENT_HEADS if key_channels % EFFICIENT_HEADS == 0 else 1
        self.query = nn.Conv2d(channels, key_channels, 1)
        self.key = nn.Conv2d(channels, key_channels, 1)
        self.value = nn.Conv2d(channels, key_channels, 1)
        self.out = nn.Conv2d(key_channels, channels, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Refine every position by a summary of all, d x d numbers a head."""
        query, key, value = (
            project(x).flatten(2).unflatten(1, (self.heads, -1))
            for project in (self.query, self.key, self.value)
        )
        summary = key.softmax(dim=3) @ value.mT
        context = summary.mT @ query.softmax(dim=2)
        return x + self.out(context.flatten(1, 2).unflatten(2, x.shape[2:]))


class Linformer(nn.Module):
    """Attention over 256 mixtures of the positions, learned for one size of map.

    Wang et al., Linformer (2020), section 4: keys and values of all heads are projected from t tokens to k = 256 by
    two matrices E and F, which get their length from the first map. Query, key and value have no bias.
    """

    attention: Attention | None = None  # how values are mixed; None by the map of weights

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = num_heads(channels)
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.project_keys = nn.LazyLinear(PROJECTED, bias=False)
        self.project_values = nn.LazyLinear(PROJECTED, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Mix the projected values by what each position asks of the projected keys."""
        tokens = to_tokens(x)
        key = self.project_keys(self.key(tokens).mT).mT
        value = self.project_values(self.value(tokens).mT).mT
        query, key, value = (
            split_heads(each, self.heads) for each in (self.query(tokens), key, value)
        )
        scale = query.shape[3] ** -0.5
        if self.attention is None:
            mixed = (query @ key.mT * scale).softmax(dim=3) @ value
        else:
            mixed = self.attention(query, key, value, scale=scale)
        return to_map(self.out(join_heads(mixed)), x)
