"""The arithmetic without weights.

Axes: n images, q queries, s anchors, k width of query and key.
"""

from jaxtyping import Float
from torch import Tensor


def likeness(
    query: Float[Tensor, "n q k"], key: Float[Tensor, "n k s"], *, scale: float = 1.0
) -> Float[Tensor, "n q s"]:
    """Weight of each anchor for each query: the softmax over the anchors of their products.

    Paper, Eq. 2 to 3 (every position an anchor) and 9 (S of them). The product is multiplied by
    `scale` in a step of its own, as in all published implementations.
    """
    return (query @ key * scale).softmax(dim=-1)


def whiten(tokens: Float[Tensor, "n k s"]) -> Float[Tensor, "n k s"]:
    """Subtract each channel's mean over the positions.

    Of query and key this removes the unary part of their product (Disentangled Non-Local Neural
    Networks, ECCV 2020).
    """
    return tokens - tokens.mean(dim=-1, keepdim=True)
