"""Other blocks whose queries meet few keys, with the second pass in place of their attention.

SegFormer's and PVTv2's attention to a reduced map, and whatever else calls `scaled_dot_product_attention`; Linformer's
to projected positions; Nystromformer's product of all queries with the landmarks.

Axes: n images, t tokens, m heads, d channels of a head, l landmarks.
"""

from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ann.gallery.linear import Linformer
from ann.kernels.functions import attend_to_few
from ann.kernels.launch import KERNEL_FORMATS, require_kernels
from ann.kernels.tiles import MOST_ANCHORS
from ann.layers import share
from ann.spec import UnavailableError

_NYSTROM = "nystrom_attention.nystrom_attention.NystromAttention"


def rewrite_relative(module: nn.Module) -> nn.Module:
    """Share a block's tensors, and compute its attention to few keys by the kernel.

    What calls fused attention is found when it runs: a call without one to at most 256 keys is an UnavailableError.
    """
    module = share(module)
    found = False
    for part in module.modules():
        if isinstance(part, Linformer):
            part.attention = attend_to_few
            found = True
        elif f"{type(part).__module__}.{type(part).__qualname__}" == _NYSTROM:
            part.forward = MethodType(_attend_by_landmarks, part)
            found = True
    if not found:
        module.forward = partial(_call, module.forward, type(module).__name__)
    return module


def _call(forward: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    few = _FewKeys()
    with few:
        result = forward(*args, **kwargs)
    if not few.taken:
        msg = (
            f"triton: {name} does not itself call scaled_dot_product_attention with at most {MOST_ANCHORS} keys, "
            "without mask, dropout or causality, in float32, bfloat16 or float16, so there is nothing that a kernel of "
            "ours computes; use implementation 'plain' or 'compiled'"
        )
        raise UnavailableError(msg)
    return result


class _FewKeys(TorchFunctionMode):
    """Takes fused attention to few keys to the kernel, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            call = _bind(*args, **kwargs)
            if call is not None:
                self.taken += 1
                return attend_to_few(*call[:3], scale=call[3])
        return func(*args, **kwargs)


def _bind(  # noqa: PLR0917  # torch's own
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001, FBT002
    scale: float | None = None,
    enable_gqa: bool = False,  # noqa: FBT001, FBT002
) -> tuple[Tensor, Tensor, Tensor, float] | None:
    """Operands and scale of a call that the kernel computes; None of another one."""
    heads = query.shape[:-2]
    fit = (
        key.shape[-1] == query.shape[-1] and key.shape[-2] == value.shape[-2]
    )  # else torch says why not
    alike = key.shape[:-2] == heads == value.shape[:-2] and fit and not enable_gqa
    fits = key.shape[-2] <= MOST_ANCHORS and query.dtype in KERNEL_FORMATS
    if attn_mask is not None or dropout_p or is_causal or not (alike and fits):
        return None
    require_kernels(query)
    return query, key, value, query.shape[-1] ** -0.5 if scale is None else scale


def _attend_by_landmarks(module: Any, x: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:  # noqa: ANN401
    """Nystromformer (AAAI 2021), Eq. 13 to 15, with the modules of the package nystrom-attention, in its order.

    The tokens are filled up in front with zeros to whole landmarks, each of which is a mean of neighbours; of the
    products with maps of weights the one that meets all queries is the kernel's.
    """
    from nystrom_attention.nystrom_attention import moore_penrose_iter_pinv

    tokens, landmarks = x.shape[1], module.num_landmarks
    filled = F.pad(x, (0, 0, -tokens % landmarks, 0))
    query, key, value = (
        each.unflatten(2, (module.heads, -1)).transpose(1, 2)
        for each in module.to_qkv(filled).chunk(3, dim=-1)
    )
    mean_query, mean_key = (each.unflatten(2, (landmarks, -1)).mean(dim=3) for each in (query, key))
    mean_query = mean_query * module.scale
    inverse = moore_penrose_iter_pinv(
        (mean_query @ mean_key.mT).softmax(dim=-1), module.pinv_iterations
    )
    summary = inverse @ ((mean_query @ key.mT).softmax(dim=-1) @ value)
    out = attend_to_few(query, mean_key, summary, scale=module.scale)
    if module.residual:
        out = out + module.res_conv(value)
    return module.to_out(out.transpose(1, 2).flatten(2))[:, -tokens:]
