"""Number formats of a cell: one type for everything, float32 with shorter mantissas, or autocast.

`float32` and `tf32` are switches of the process, which `switch_format` sets on CUDA: products and
convolutions in whole float32 (IEEE), or with mantissas of 10 bits. Autocast keeps weights in float32
and casts what goes into products; it also keeps the cast weights until its outermost context ends.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from ann.spec import UnavailableError
from experiments.spec import Dtype

AUTOCAST = "autocast-"
# float32 and tf32 as torch's `fp32_precision` calls them; other formats leave it as it is.
PRECISIONS: Mapping[Dtype, str] = {"float32": "ieee", "tf32": "tf32"}
# The older switches (`allow_tf32`) raise once these have been set (torch 2.11 and 2.15).
_BACKENDS: tuple[Any, Any] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]

# What that costs, measured: docs/fast.md, "Number formats on a processor".
_SLOWER: Mapping[torch.dtype, str] = {
    torch.float16: "a call was seen to take 30 to 70 times as long as in float32, so that its time says nothing "
    "of the block",
    torch.bfloat16: "a call was seen to take 1.5 to 2.4 times as long as in float32",
}


def weights_dtype(dtype: Dtype) -> torch.dtype:
    """Type of weights and maps."""
    is_float32 = dtype == "tf32" or dtype.startswith(AUTOCAST)
    return torch.float32 if is_float32 else getattr(torch, dtype)


def lower_dtype(dtype: Dtype) -> torch.dtype | None:
    """Type that autocast casts to; None for formats without autocast."""
    return getattr(torch, dtype.removeprefix(AUTOCAST)) if dtype.startswith(AUTOCAST) else None


def autocast(dtype: Dtype, device: str) -> AbstractContextManager[object]:
    """The context in which calls are made."""
    low = lower_dtype(dtype)
    # It would say on meta that it does nothing there.
    return nullcontext() if low is None or device == "meta" else torch.autocast(device, dtype=low)


def require_format(dtype: Dtype, device: str) -> None:
    """Refuse what a device does not have, rather than run something else under its name.

    Raises:
        UnavailableError: the device lacks the format.
    """
    if dtype == "tf32" and device == "cpu":
        msg = "tf32 is a format of NVIDIA GPUs since Ampere; a processor does not have it"
        raise UnavailableError(msg)
    if device == "cuda" and (dtype == "tf32" or dtype.endswith("bfloat16")):
        capability = torch.cuda.get_device_capability()
        if capability < (8, 0):  # Ampere, the first with TF32 and bfloat16
            has = ".".join(map(str, capability))
            msg = f"{dtype} needs compute capability 8.0 or later (Ampere); this GPU has {has}"
            raise UnavailableError(msg)


def computes_in(kind: torch.dtype) -> bool:
    """Whether this processor has instructions for the products of a number format; others do without, at a price."""
    if kind == torch.bfloat16:
        return any(
            has()
            for has in (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)  # noqa: SLF001
        )
    if kind == torch.float16:
        return torch.backends.mkldnn.is_available() and bool(
            torch.ops.mkldnn._is_mkldnn_fp16_supported()  # noqa: SLF001
        )
    return True


def format_caveats(dtype: Dtype, device: str) -> tuple[str, ...]:
    """What a time in a number format doesn't tell: that this processor has to do without instructions for it."""
    kind = lower_dtype(dtype) or weights_dtype(dtype)
    if device != "cpu" or computes_in(kind):
        return ()
    name = str(kind).removeprefix("torch.")
    return (f"this processor has no instructions for products in {name}; {_SLOWER[kind]}",)


def switch_format(dtype: Dtype, device: str) -> None:
    """Set this process's precision of float32 products and convolutions on CUDA, and leave it set."""
    if device == "cuda" and dtype in PRECISIONS:
        for backend in _BACKENDS:
            backend.fp32_precision = PRECISIONS[dtype]


@contextmanager
def unswitched() -> Iterator[None]:
    """Put the process's switches back at the end of a `with` block, for the cell that comes next."""
    before = [backend.fp32_precision for backend in _BACKENDS]
    has_fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(has_fast_path)
        for backend, precision in zip(_BACKENDS, before, strict=True):
            if backend.fp32_precision != precision:
                backend.fp32_precision = precision


def format_flags(dtype: Dtype, device: str) -> dict[str, str]:
    """What `switch_format` changes in an environment's flags."""
    if device != "cuda" or dtype not in PRECISIONS:
        return {}
    return dict.fromkeys(("matmul_precision", "conv_precision"), PRECISIONS[dtype])
