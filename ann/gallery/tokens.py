"""A map as a sequence of positions, and its channels as heads.

Axes: n images, c channels, h height, w width, t tokens, m heads, d channels of a head.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

HEAD_CHANNELS = 64


def num_heads(channels: int) -> int:
    """Heads of 64 channels; one where there are fewer channels, or where 64 does not divide them."""
    return channels // HEAD_CHANNELS if channels % HEAD_CHANNELS == 0 else 1


def to_tokens(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t c"]:
    """Positions as tokens, row by row."""
    return x.flatten(2).mT


def to_map(
    tokens: Float[Tensor, "n t c"], like: Float[Tensor, "n b h w"]
) -> Float[Tensor, "n c h w"]:
    """Tokens as a map as high and wide as another."""
    return tokens.mT.unflatten(2, like.shape[2:])


def split_heads(tokens: Float[Tensor, "n t c"], heads: int) -> Float[Tensor, "n m t d"]:
    """Channels as heads."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def join_heads(tokens: Float[Tensor, "n m t d"]) -> Float[Tensor, "n t c"]:
    """Heads side by side."""
    return tokens.transpose(1, 2).flatten(2)


class OnTokens(nn.Module):
    """A module that takes tokens, and after them what `arguments` makes of the map, as one that takes maps."""

    def __init__(
        self, module: nn.Module, arguments: Callable[[Tensor], tuple[object, ...]] = lambda _: ()
    ) -> None:
        super().__init__()
        self.module, self.arguments = module, arguments

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Run it on the positions."""
        return to_map(self.module(to_tokens(x), *self.arguments(x)), x)
