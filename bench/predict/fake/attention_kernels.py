"""Rules by which torch chooses an attention kernel on a GPU: by type, width, layout and device.

The choice on a GPU is that of `scaled_dot_product_attention` in PyTorch 2.11 and 2.15, by the rules of
aten/src/ATen/native/transformers (cuda/sdp_utils.cpp, `can_use_*_attention`; sdp_utils_cpp.h, `check_*`),
which also ask for the GPU's architecture and for the version of cuDNN.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from ann.spec import UnavailableError

Capability = tuple[int, int]
# Compute capabilities that have fused kernels at all, first and last; efficient ones begin at 5.0.
FUSED: tuple[Capability, Capability] = ((8, 0), (12, 1))
HOPPER: Capability = (9, 0)
# Since some version after 2.11 heads without images are taken as one image's, the efficient kernel has
# queries that share heads and needs aligned storage, and one head of keys serves all queries.
NEWER = torch.torch_version.TorchVersion(torch.__version__) >= "2.15"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuRules:
    """What the choice of a kernel depends on: compute capability, and version of cuDNN.

    cuDNN writes its versions as major * 10000 + minor * 100 + patch; without it there is 0 or None.
    """

    capability: Capability = HOPPER
    cudnn: int | None = None

    @classmethod
    def meant(cls) -> Self:
        """The GPU of this machine; without one a Hopper (H100, H200) with the cuDNN of this torch."""
        has_gpu = torch.cuda.is_available()
        return cls(
            capability=torch.cuda.get_device_capability() if has_gpu else HOPPER,
            cudnn=torch.backends.cudnn.version() if torch.version.cuda else None,
        )

    @property
    def has_fused(self) -> bool:
        """Whether flash and cuDNN kernels are made for it."""
        return FUSED[0] <= self.capability <= FUSED[1]

    @property
    def is_large(self) -> bool:
        """Whether it is a data centre's Hopper or Blackwell, for which cuDNN's kernels are tuned."""
        return self.capability == HOPPER or self.capability[0] == 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """One call of `scaled_dot_product_attention`, as its schema names the arguments."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    @property
    def heads(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value: (images, heads, positions, width)."""
        return self.query, self.key, self.value

    @property
    def widths(self) -> tuple[int, int]:
        """Channels of query and key, and of the values."""
        return self.query.shape[-1], self.value.shape[-1]

    @property
    def trains(self) -> bool:
        """Whether gradients are taken."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.heads)

    @property
    def is_half(self) -> bool:
        """Whether the queries have 16 bits."""
        return self.query.dtype in (torch.float16, torch.bfloat16)

    @property
    def is_regular(self) -> bool:
        """Whether any fused kernel takes it: four axes, one type, tokens that lie in one piece."""
        query, key, value = self.heads
        return (
            all(tensor.dim() == 4 and tensor.stride(-1) == 1 for tensor in self.heads)
            and key.dtype == value.dtype == query.dtype
            and key.shape[-1] == query.shape[-1]
            and key.shape[0] == value.shape[0] == query.shape[0]
            and min(query.shape[-2], key.shape[-2]) > 0
        )

    def has_heads(self, *, grouped: bool) -> bool:
        """Whether the numbers of heads go together, for a kernel that lets queries share a head or does not."""
        queries, keys, values = (tensor.shape[1] for tensor in self.heads)
        if self.enable_gqa and grouped:
            return keys == values and queries % keys == 0
        return keys == values == queries or (NEWER and keys == values == 1)

    def batched(self) -> "Attention":
        """Give heads without images one, as newer versions do."""
        if not NEWER or any(tensor.dim() != 3 for tensor in self.heads):
            return self
        mask = self.attn_mask
        while mask is not None and mask.dim() < 4:
            mask = mask.unsqueeze(0)
        query, key, value = (tensor.unsqueeze(0) for tensor in self.heads)
        return replace(self, query=query, key=key, value=value, attn_mask=mask)


def choose(call: Attention, gpu: GpuRules) -> str:
    """Kernel of one attention on a GPU, by what is allowed now (`sdpa_kernel`).

    Raises:
        UnavailableError: what is allowed does not take these tensors.
    """
    is_off = os.environ.get("TORCH_CUDNN_SDPA_DEPRIORITIZED") == "1"
    prefers_cudnn = gpu.is_large and (gpu.cudnn or 0) > 91500 and not is_off
    allowed, batched = torch.backends.cuda, call.batched()
    # In the order in which torch asks.
    for kernel, is_allowed, takes in (
        ("cudnn", prefers_cudnn and allowed.cudnn_sdp_enabled(), _cudnn_takes),
        ("flash", allowed.flash_sdp_enabled(), _flash_takes),
        ("efficient", allowed.mem_efficient_sdp_enabled(), _efficient_takes),
        ("math", allowed.math_sdp_enabled(), None),
        ("cudnn", allowed.cudnn_sdp_enabled(), _cudnn_takes),
    ):
        if is_allowed and (takes is None or (batched.is_regular and takes(batched, gpu))):
            return kernel
    shape = "x".join(map(str, call.query.shape))
    msg = (
        f"attention on cuda: what is forced has no kernel for {call.query.dtype} queries of {shape}; "
        "let torch choose (sdpa), or force another"
    )
    raise UnavailableError(msg)


def _flash_takes(call: Attention, gpu: GpuRules) -> bool:
    width, value_width = call.widths
    # Consumers' Ampere, Ada and Blackwell have too little shared memory to go back.
    is_small = (8, 6) <= gpu.capability <= (8, 9) or gpu.capability >= (12, 0)
    goes_back = width <= 192 or (width > 224 and not call.dropout_p)
    is_square = call.query.shape[-2] == call.key.shape[-2]
    return (
        gpu.has_fused
        and call.is_half
        and call.attn_mask is None
        and width == value_width <= 256
        and (goes_back or not (call.trains and is_small))
        and (is_square or not call.is_causal)
        and call.has_heads(grouped=True)
    )


def _efficient_takes(call: Attention, gpu: GpuRules) -> bool:
    half, bfloat16 = call.is_half, call.query.dtype == torch.bfloat16
    since_ampere = gpu.capability >= FUSED[0]
    # In whole loads of 16 bytes where tensor cores multiply.
    uses_tensor_cores = since_ampere or (half and gpu.capability >= (7, 0))
    alignment = (8 if half else 4) if uses_tensor_cores else 1
    starts = (tensor.storage_offset() for tensor in call.heads if NEWER and since_ampere)
    return (
        (5, 0) <= gpu.capability <= FUSED[1]
        and (half or call.query.dtype == torch.float32)
        and (since_ampere or not bfloat16)
        and all(size % alignment == 0 for size in (*call.widths, *starts))
        and (call.attn_mask is None or call.attn_mask.stride(-1) == 1)
        and call.has_heads(grouped=NEWER)
    )


def _cudnn_takes(call: Attention, gpu: GpuRules) -> bool:
    widths, version = call.widths, gpu.cudnn or 0
    if gpu.capability == HOPPER and version >= 91000 and not NEWER:
        fits = max(widths) <= 256  # seen: torch 2.11 with cuDNN 9.19 on an H200, in training too
    elif gpu.is_large and version > (92200 if gpu.capability != (10, 7) else 92500):
        # Not all widths that it takes can be gone back from.
        goes_back = max(widths) <= 128 or widths in ((192, 128), (256, 256))
        fits = max(widths) <= 256 and (goes_back or not call.trains)
    else:
        takes_unequal = gpu.is_large and version >= 91100
        fits = max(widths) <= 128 or (takes_unequal and widths == (192, 128))
    drops = not call.dropout_p or (
        call.dropout_p * 16 == int(call.dropout_p * 16)
        and not 91100 < version < 91400
        and call.query.shape[-2] > 1
    )
    # cuDNN's attention is not deterministic.
    must_repeat = (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )
    return (
        version > 0
        and gpu.has_fused
        and not must_repeat
        and call.is_half
        and fits
        and drops
        and all(width % 8 == 0 for width in widths)
        and call.key.shape[-2] > 1
        and _cudnn_takes_mask(call)
        and call.has_heads(grouped=True)
    )


def _cudnn_takes_mask(call: Attention) -> bool:
    mask = call.attn_mask
    if mask is None:
        return True
    sides = zip(mask.shape[::-1], (call.key.shape[-2], *call.query.shape[-2::-1]), strict=False)
    return (
        not mask.requires_grad
        and mask.dim() in (2, 4)
        and all(side in (1, size) for side, size in sides)
    )


@contextmanager
def choosing(gpu: GpuRules) -> Iterator[None]:
    """Have attention on fake CUDA tensors take the kernel that this GPU would; torch asks one that is there.

    Whoever calls it, C++ and torch's own modules too, comes here from the dispatcher.
    """
    library = torch.library.Library("aten", "IMPL")
    library.impl("scaled_dot_product_attention", partial(attend, gpu), "AutogradCUDA")
    try:
        yield
    finally:
        library._destroy()  # noqa: SLF001  # torch has no public way but the collector's


def attend(gpu: GpuRules, *heads: Tensor, **options: Any) -> Tensor:  # noqa: ANN401
    """Carry out `scaled_dot_product_attention` by the operator of the kernel that is chosen for it.

    What torch prepares for that is in aten/src/ATen/native/transformers/attention.cpp.
    """
    names = (field.name for field in fields(Attention))
    given: dict[str, Any] = dict(zip(names, heads, strict=False))
    call = Attention(**given, **options)
    kernel = choose(call, gpu)
    if kernel == "math":
        operator = torch.ops.aten.scaled_dot_product_attention.default
        parts: Tensor = operator.decompose(*heads, **options)
        return parts
    result = _fused(kernel, call.batched())
    return result if call.query.dim() == 4 else result.squeeze(0)


def _fused(kernel: str, call: Attention) -> Tensor:
    operator = getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}_attention")
    settings = (call.dropout_p, call.is_causal)
    if kernel != "flash":
        mask = _bias(kernel, call)
        return operator(*call.heads, mask, call.trains, *settings, scale=call.scale)[0]
    width = call.query.shape[-1]
    scale = width**-0.5 if call.scale is None else call.scale
    if width % 8 == 0:
        return operator(*call.heads, *settings, scale=scale)[0]
    padded = (functional.pad(tensor, (0, -width % 8)) for tensor in call.heads)
    return operator(*padded, *settings, scale=scale)[0][..., :width]


def _bias(kernel: str, call: Attention) -> Tensor | None:
    """The mask as numbers that are added; for the efficient kernel one of the whole map, its rows aligned."""
    mask = call.attn_mask
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=call.query.dtype).masked_fill_(~mask, -torch.inf)
    if kernel == "cudnn":
        return mask
    keys = call.key.shape[-2]
    if keys % 16:
        mask = functional.pad(mask, (0, -keys % 16))[..., :keys]
    return mask.expand(*call.query.shape[:-1], keys)
