"""Attention as arithmetic without parameters: by its map of weights, through torch's fused kernels, or in chunks.

Axes: n images, q queries, s anchors, k width of query and key, v width of the value.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from ann.spec import UnavailableError

# Of the part of the attention map that is in memory at once. Smaller ones are no slower down to a few
# hundred queries a chunk, and what is there twice (product and softmax) stays below a network's rest.
CHUNK_BYTES = 32 * 2**20

# From query, key and value, each token in one piece, and `scale` to the mixed values.
Attention = Callable[..., Float[Tensor, "n q v"]]

KERNELS: Mapping[str, SDPBackend | None] = {
    "sdpa": None,
    "sdpa-math": SDPBackend.MATH,
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
}


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

    Of query and key this removes the unary part of their product (Disentangled Non-Local Neural Networks, ECCV 2020).
    """
    return tokens - tokens.mean(dim=-1, keepdim=True)


def attend_fused(
    query: Float[Tensor, "n q k"],
    key: Float[Tensor, "n s k"],
    value: Float[Tensor, "n s v"],
    *,
    scale: float,
    kernel: str = "sdpa",
) -> Float[Tensor, "n q v"]:
    """Mix the values through `scaled_dot_product_attention`, as one head.

    Each token lies in one piece, else only the math kernel takes it; flash kernels want values as
    wide as keys. `kernel` is one of `KERNELS`; `sdpa` leaves the choice to torch.

    Raises:
        UnavailableError: that kernel does not take these tensors; the message has torch's reasons.
    """
    backend = KERNELS[kernel]
    heads = (query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1))

    def attend() -> Tensor:
        return F.scaled_dot_product_attention(*heads, scale=scale)

    if backend is None:
        return attend().squeeze(1)
    try:
        with sdpa_kernel(backend):
            return attend().squeeze(1)
    except RuntimeError as error:
        if not re.search(r"No (viable|available) (backend|kernel)", str(error)):
            raise
        msg = (
            f"{kernel}: torch has no such attention kernel for these tensors on {query.device.type}"
        )
        raise UnavailableError(msg + _reasons(attend, backend)) from error


def _reasons(attend: Callable[[], Tensor], backend: SDPBackend) -> str:
    """What torch warns of when it refuses a kernel."""
    with (
        warnings.catch_warnings(record=True) as caught,
        suppress(RuntimeError),
        sdpa_kernel(backend),
    ):
        warnings.simplefilter("always")
        attend()
    said = [str(item.message).partition(" (Triggered")[0].rstrip() for item in caught]
    # Headings, and that the kernels which were not asked for are switched off, say nothing.
    reasons = [text for text in said if not text.endswith(("because:", "runtime disabled."))]
    return f" ({'; '.join(reasons)})" if reasons else ""


def attend_in_chunks(
    query: Float[Tensor, "n q k"],
    key: Float[Tensor, "n s k"],
    value: Float[Tensor, "n s v"],
    *,
    scale: float,
    chunk_bytes: int = CHUNK_BYTES,
) -> Float[Tensor, "n q v"]:
    """Mix the values for as many queries at a time as have `chunk_bytes` of the attention map.

    Exact: the softmax of a query needs that query's row alone. Up to two such parts (products and
    weights) are in memory at once, whatever the size of the map; a single row may be larger. With
    gradients each chunk is computed again in the backward pass (activation checkpointing), so that
    there too it is one chunk and never the map; going back is then 5 products in place of 4.
    """
    row_bytes = query.shape[0] * key.shape[1] * query.element_size()
    rows = max(1, chunk_bytes // row_bytes)
    parts = query.split(rows, dim=1)
    if torch.is_grad_enabled():
        again = partial(checkpoint, _mix, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([again(part, key, value, scale) for part in parts], dim=1)
    if len(parts) == 1:
        return _mix(query, key, value, scale)
    mixed: Tensor | None = None
    for place, part in enumerate(parts):
        chunk = _mix(part, key, value, scale)
        if mixed is None:  # under autocast the result's type is known only now
            mixed = chunk.new_empty((*query.shape[:2], value.shape[2]))
        mixed[:, place * rows : place * rows + part.shape[1]] = chunk
    assert mixed is not None, "a map has at least one position"
    return mixed


def _mix(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return (query * scale @ key.mT).softmax(dim=-1) @ value
