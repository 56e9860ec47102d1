"""Whether the kernels run for a tensor, and how they are started."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ann.kernels.tiles import MOST_ANCHORS, ProductFormat, Tiles, number_format
from ann.spec import UnavailableError

KERNEL_FORMATS = (torch.float32, torch.bfloat16, torch.float16)
# The first whose tensor cores multiply bfloat16 and TF32.
LEAST_CAPABILITY = (8, 0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Launch:
    """A kernel with the arguments that it is started with."""

    kernel: Any
    grid: tuple[int, ...]
    tiles: Tiles
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The kernel's name."""
        return str(self.kernel.__name__)


_recorded: ContextVar[list[Launch] | None] = ContextVar("recorded", default=None)
# Compute capability, times 10, of the GPU that calls on meta tensors are meant for.
_meant_for: ContextVar[int] = ContextVar("target", default=90)
# Hopper and Blackwell of data centres, whose tensor cores read their operands from a larger shared memory.
_WIDE = (90, 100, 103)
_ALIGNED = 16
_MOST_IMAGES = 65535  # of a grid's further axes (CUDA C++ Programming Guide)


@contextmanager
def recorded(target: int) -> Iterator[list[Launch]]:
    """Collect what would be started on a GPU of that kind inside a `with` block, of calls on meta tensors."""
    launches: list[Launch] = []
    tokens = _recorded.set(launches), _meant_for.set(target)
    try:
        yield launches
    finally:
        _recorded.reset(tokens[0])
        _meant_for.reset(tokens[1])


def without_values(operator: Callable[..., None]) -> Callable[..., None]:
    """What an operator does with tensors that have no values: nothing, unless somebody wants to know what it starts."""

    def follow(*arguments: object) -> None:
        if _recorded.get() is not None:
            operator(*arguments)

    return follow


def numbers_of(tensor: Tensor) -> ProductFormat:
    """Format of the products with a tensor."""
    return number_format(tensor.dtype)


def precision(tensor: Tensor) -> str:
    """How a product of two tiles is computed, see `ann.kernels.passes.pool.multiply`."""
    if tensor.dtype is torch.bfloat16 and is_interpreted():
        return "widened"
    return "tf32" if numbers_of(tensor) == "tf32" else "ieee"


def is_flat(x: Tensor) -> bool:
    """Whether a map's (n, c, h, w) positions are equally far apart, each row beginning where the last one ended."""
    return x.shape[2] == 1 or x.stride(2) == x.shape[3] * x.stride(3)


def is_narrow(x: Tensor) -> bool:
    """Whether there is no room for the widest tiles: on other GPUs than `_WIDE`, or of numbers at odd addresses."""
    positions = x.shape[2] * x.shape[3]
    if positions % _ALIGNED or not is_flat(x):
        return True
    if x.is_cuda and _has_values(x):
        major, minor = torch.cuda.get_device_capability(x.device)
        return 10 * major + minor not in _WIDE
    return _meant_for.get() not in _WIDE


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, which `TRITON_INTERPRET=1` asks for before they are imported."""
    from triton import knobs

    return bool(knobs.runtime.interpret)


def require_kernels(x: Tensor) -> None:
    """Refuse what the kernels can't do, by device and number format.

    Raises:
        UnavailableError: what is given, and what would run.
    """
    if x.dtype not in KERNEL_FORMATS:
        formats = ", ".join(str(each).removeprefix("torch.") for each in KERNEL_FORMATS)
        msg = f"triton: {str(x.dtype).removeprefix('torch.')} has no kernel; pass one of {formats}"
        raise UnavailableError(msg)
    if not _has_values(x):
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


def _has_values(x: Tensor) -> bool:
    """Whether operators on a tensor are executed: it is no meta tensor, and no fake one."""
    return type(x) in (Tensor, torch.nn.Parameter) and not x.is_meta


def _is_far(tensor: Tensor) -> bool:
    """Whether an offset inside one image does not fit into 32 bits, what a tile has beyond the tensor included."""
    sides = zip(tensor.shape[1:], tensor.stride()[1:], strict=True)
    reach = sum((side + MOST_ANCHORS) * stride for side, stride in sides if side > 1)
    return reach >= 2**31


def launch(kernel: Any, grid: tuple[int, ...], tiles: Tiles, **arguments: Any) -> None:  # noqa: ANN401
    """Start a kernel with the arguments that it has, on the device of its tensors."""
    tensors = [each for each in arguments.values() if isinstance(each, Tensor)]
    arguments["IS_FAR"] = any(map(_is_far, tensors))
    given = {name: arguments[name] for name in kernel.arg_names}
    device = tensors[0].device
    if max(grid[1:], default=0) > _MOST_IMAGES:
        msg = f"triton: {max(grid[1:])} images or heads at once, a grid has at most {_MOST_IMAGES}; pass fewer"
        raise UnavailableError(msg)
    if device.type == "meta":
        launches = _recorded.get()
        assert launches is not None, "follow asked"
        launches.append(Launch(kernel=kernel, grid=grid, tiles=tiles, arguments=given))
        return
    compiled = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    if device.type == "cpu":
        kernel[grid](**given)
        return
    with torch.cuda.device(device):
        kernel[grid](**given, **compiled)
