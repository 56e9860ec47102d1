"""Which attention kernel torch chooses, and which one ran: by type, width, layout and device, and it says nothing.

The choice is that of `scaled_dot_product_attention` without mask or dropout, by the rules of PyTorch
2.11 and 2.15 (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp), which also ask for the GPU's
architecture and for the version of cuDNN. What ran is read from the profiler, which sees operators that
the dispatcher no longer names (the math path) and, on a GPU, the kernels below them.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ann.spec import UnavailableError
from bench.measure import profiler

# The operator that a call ends in, and kernels by the names of their libraries.
OPERATOR = re.compile(r"^aten::_scaled_dot_product_(?!attention$)\w+$")
KERNEL = re.compile(r"flash|fmha|sdpa|attention", re.IGNORECASE)
LONGEST_NAME = 120  # a template's arguments say no more than its first ones

HALVES = (torch.float16, torch.bfloat16)
Capability = tuple[int, int]
# Compute capabilities that have fused kernels at all, first and last; efficient ones begin below.
FUSED: tuple[Capability, Capability] = ((8, 0), (12, 1))
EFFICIENT_SINCE: Capability = (5, 0)
HOPPER: Capability = (9, 0)
# As cuDNN writes its versions: major * 10000 + minor * 100 + patch.
CUDNN_PREFERRED_AFTER = 91500
CUDNN_UNEQUAL_SINCE = 91100
CUDNN_WIDE_AFTER = 92200
CUDNN_WIDE_ON_10_7_AFTER = 92500


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuRules:
    """What the choice of a kernel depends on: compute capability, and version of cuDNN (None without it)."""

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

    @property
    def prefers_cudnn(self) -> bool:
        """Whether torch asks cuDNN first; its environment variable says no to that."""
        is_off = os.environ.get("TORCH_CUDNN_SDPA_DEPRIORITIZED") == "1"
        return self.is_large and (self.cudnn or 0) > CUDNN_PREFERRED_AFTER and not is_off

    @property
    def takes_wide(self) -> bool:
        """Whether cuDNN's kernels take 256 channels, in place of 128."""
        after = CUDNN_WIDE_AFTER if self.capability != (10, 7) else CUDNN_WIDE_ON_10_7_AFTER
        return self.is_large and (self.cudnn or 0) > after


@dataclass(frozen=True, slots=True)
class _Heads:
    query: Tensor
    key: Tensor
    value: Tensor

    @property
    def width(self) -> int:
        return self.query.shape[-1]

    @property
    def value_width(self) -> int:
        return self.value.shape[-1]

    @property
    def widths(self) -> tuple[int, int]:
        return self.width, self.value_width

    @property
    def is_half(self) -> bool:
        return self.query.dtype in HALVES

    @property
    def in_one_piece(self) -> bool:
        return all(item.stride(-1) == 1 for item in (self.query, self.key, self.value))


def choose(
    query: Tensor, key: Tensor, value: Tensor, *, gpu: GpuRules | None, trains: bool = False
) -> str:
    """Kernel of one attention without mask or dropout, by what is allowed now (`sdpa_kernel`).

    Args:
        query: (images, heads, positions, width), as key and value.
        key: of the anchors.
        value: of the anchors.
        gpu: whose rules hold; None for those of a processor.
        trains: whether gradients are taken.

    Raises:
        UnavailableError: what is allowed does not take these tensors.
    """
    heads = _Heads(query, key, value)
    takes = _by_cuda(heads, gpu, trains=trains) if gpu else _by_processor(heads)
    found = next((name for name, does in takes.items() if does), None)
    if found is not None:
        return found
    shape = "x".join(map(str, query.shape))
    msg = (
        f"attention on {'cuda' if gpu else 'cpu'}: what is forced has no kernel for {query.dtype} queries of {shape}; "
        "let torch choose (sdpa), or force another"
    )
    raise UnavailableError(msg)


def _by_processor(heads: _Heads) -> dict[str, bool]:
    allowed = torch.backends.cuda
    same_width = heads.key.shape[-1] == heads.width == heads.value_width
    return {
        "flash_for_cpu": allowed.flash_sdp_enabled() and same_width and heads.in_one_piece,
        "math": allowed.math_sdp_enabled(),
    }


def _by_cuda(heads: _Heads, gpu: GpuRules, *, trains: bool) -> dict[str, bool]:
    """Whether each kernel takes the tensors, in the order in which torch asks."""
    allowed = torch.backends.cuda
    takes = {
        "flash": allowed.flash_sdp_enabled() and _flash_takes(heads, gpu, trains=trains),
        "efficient": allowed.mem_efficient_sdp_enabled() and _efficient_takes(heads, gpu),
        "math": allowed.math_sdp_enabled(),
    }
    cudnn = {"cudnn": allowed.cudnn_sdp_enabled() and _cudnn_takes(heads, gpu, trains=trains)}
    return {**cudnn, **takes} if gpu.prefers_cudnn else {**takes, **cudnn}


def _flash_takes(heads: _Heads, gpu: GpuRules, *, trains: bool) -> bool:
    same_width = heads.key.shape[-1] == heads.width == heads.value_width
    # Consumers' Ampere, Ada and Blackwell have too little shared memory to go back.
    is_small = (8, 6) <= gpu.capability <= (8, 9) or gpu.capability >= (12, 0)
    goes_back = not (trains and is_small) or heads.width <= 192 or heads.width > 224
    fits = same_width and heads.width <= 256 and goes_back
    return gpu.has_fused and heads.is_half and heads.in_one_piece and fits


def _efficient_takes(heads: _Heads, gpu: GpuRules) -> bool:
    half, bfloat16 = heads.is_half, heads.query.dtype == torch.bfloat16
    has_type = half or heads.query.dtype == torch.float32
    since_ampere = gpu.capability >= FUSED[0]
    # In whole loads of 16 bytes where tensor cores multiply.
    uses_tensor_cores = since_ampere or (half and gpu.capability >= (7, 0))
    alignment = (8 if half else 4) if uses_tensor_cores else 1
    aligned = all(width % alignment == 0 for width in heads.widths)
    fits = heads.key.shape[-1] == heads.width and aligned and heads.in_one_piece
    is_made = EFFICIENT_SINCE <= gpu.capability <= FUSED[1]
    return is_made and has_type and fits and (since_ampere or not bfloat16)


def _cudnn_takes(heads: _Heads, gpu: GpuRules, *, trains: bool) -> bool:
    widths = heads.widths
    if gpu.takes_wide:
        # Not all widths that it takes can be gone back from.
        fits = max(widths) <= 256
        fits = fits and (not trains or max(widths) <= 128 or widths in ((192, 128), (256, 256)))
    else:
        takes_unequal = gpu.is_large and (gpu.cudnn or 0) >= CUDNN_UNEQUAL_SINCE
        fits = max(widths) <= 128 or (takes_unequal and widths == (192, 128))
    fits = fits and all(width % 8 == 0 for width in widths) and heads.key.shape[-2] > 1
    has_cudnn = gpu.cudnn is not None and gpu.has_fused and not _must_repeat()
    return has_cudnn and heads.is_half and heads.in_one_piece and fits


def _must_repeat() -> bool:
    """Whether all must be deterministic, as cuDNN's attention is not."""
    if not torch.are_deterministic_algorithms_enabled():
        return False
    return not torch.is_deterministic_algorithms_warn_only_enabled()


def fused(kernel: str, *heads: Tensor, scale: float | None, trains: bool) -> Tensor:
    """Call the operator behind `scaled_dot_product_attention` by the name of its kernel."""
    operators = torch.ops.aten
    sums = {"efficient": (None, trains), "cudnn": (None, trains)}.get(kernel, ())
    operator = getattr(
        operators,
        "_scaled_dot_product_flash_attention_for_cpu"
        if kernel == "flash_for_cpu"
        else f"_scaled_dot_product_{kernel}_attention",
    )
    found: Tensor = operator(*heads, *sums, scale=scale)[0]
    return found


def executed_kernels(
    work: Callable[[], object], *, device: Literal["cpu", "cuda"]
) -> tuple[str, ...]:
    """Call once more under the profiler; name the attention operators and GPU kernels, the most frequent first.

    Empty where no attention was fused, or compiled code calls none.
    """
    return named(profiler.events(work, device))


def named(events: Iterable[Any]) -> tuple[str, ...]:
    """Names of those events that are attention."""
    seen: Counter[str] = Counter()
    for event in events:
        on_host = event.device_type.name == "CPU"
        if (OPERATOR if on_host else KERNEL).search(event.name):
            seen[event.name.removeprefix("aten::")[:LONGEST_NAME]] += 1
    return tuple(name for name, _ in seen.most_common())
