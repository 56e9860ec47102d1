"""Whether the kernels run for a tensor, and how they are started."""

import sys
from typing import Any

import torch
from torch import Tensor

from ann.kernels.tiles import Numbers, Tiles, number_format
from ann.spec import UnavailableError

FORMATS = (torch.float32, torch.bfloat16, torch.float16)
# The first whose tensor cores multiply bfloat16 and TF32.
LEAST_CAPABILITY = (8, 0)


def numbers_of(tensor: Tensor) -> Numbers:
    """Format of the products with a tensor."""
    return number_format(tensor.dtype)


def precision(tensor: Tensor) -> str:
    """How a product of two tiles is computed, see `ann.kernels.passes.pool.product`."""
    if tensor.dtype is torch.bfloat16 and is_interpreted():
        return "widened"
    return "tf32" if numbers_of(tensor) == "tf32" else "ieee"


def is_flat(x: Tensor) -> bool:
    """Whether a map's (n, c, h, w) positions are equally far apart, each row beginning where the last one ended."""
    return x.shape[2] == 1 or x.stride(2) == x.shape[3] * x.stride(3)


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, which `TRITON_INTERPRET=1` asks for before they are imported."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


def require_kernels(x: Tensor) -> None:
    """Refuse what the kernels can't do, by device and number format.

    Raises:
        UnavailableError: what is given, and what would run.
    """
    if x.dtype not in FORMATS:
        formats = ", ".join(str(each).removeprefix("torch.") for each in FORMATS)
        msg = f"triton: {str(x.dtype).removeprefix('torch.')} has no kernel; pass one of {formats}"
        raise UnavailableError(msg)
    if not _runs(x):
        return
    if sys.platform != "linux":
        msg = f"triton: torch has Triton on Linux alone, not on {sys.platform}; use implementation 'fast'"
        raise UnavailableError(msg)
    if x.device.type == "cpu":
        if not is_interpreted():
            msg = (
                "triton: kernels are for a GPU and not for a processor; use implementation 'fast', or set "
                "TRITON_INTERPRET=1 to follow them step by step"
            )
            raise UnavailableError(msg)
        return
    if x.device.type != "cuda":
        msg = f"triton: no kernels for {x.device.type}; they run on cuda"
        raise UnavailableError(msg)
    if torch.version.cuda is not None:
        capability = torch.cuda.get_device_capability(x.device)
        if capability < LEAST_CAPABILITY:
            has = ".".join(map(str, capability))
            msg = (
                f"triton: kernels need compute capability 8.0 or later (Ampere); this GPU has {has}"
            )
            raise UnavailableError(msg)


def _runs(x: Tensor) -> bool:
    """Whether operators on a tensor are executed: it is no meta tensor, and no fake one."""
    return type(x) in (Tensor, torch.nn.Parameter) and not x.is_meta


def launch(kernel: Any, grid: tuple[int, ...], tiles: Tiles, **arguments: Any) -> None:  # noqa: ANN401
    """Start a kernel with the arguments that it has, on the device of its tensors."""
    given = {name: arguments[name] for name in kernel.arg_names}
    device = next(each.device for each in given.values() if isinstance(each, Tensor))
    compiled = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    if device.type == "cpu":
        kernel[grid](**given)
        return
    with torch.cuda.device(device):
        kernel[grid](**given, **compiled)
