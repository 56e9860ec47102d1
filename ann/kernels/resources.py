"""What each kernel takes of a GPU, from compiling it for one that need not be there.

A call on meta tensors tells which kernels start with which arguments; each is compiled for a target as it would be for
that call, and NVIDIA's assembler, which comes with Triton, says how many registers it got, and how much of them lies in
memory instead (spills).
"""

import re
import subprocess
import tempfile
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ann import build
from ann.catalogue import BLOCKS
from ann.kernels.blocks import rewrite
from ann.kernels.launch import Launch, recorded
from ann.spec import BlockSpec, Mode, Size

# Bytes of shared memory that a program may have, by compute capability times 10: Ampere, Ada, Hopper, Blackwell, and
# Blackwell for graphics (CUDA C++ Programming Guide, table of compute capabilities).
SHARED_BYTES = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
TARGETS = tuple(SHARED_BYTES)
_DTYPES = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int32: "i32",
}
# Triton compiles other code for addresses and sizes of which it knows that 16 divides them.
_DIVISOR = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Of one program of a kernel on a target."""

    kernel: str
    target: int
    registers: int  # of a thread
    spilled_bytes: int  # of a thread
    shared_bytes: int
    warps: int


def launches_of(
    spec: BlockSpec,
    size: Size,
    *,
    target: int,
    dtype: torch.dtype,
    mode: Mode = "inference",
    tf32: bool = False,
) -> list[Launch]:
    """What a call of a block starts on a target, in training with its way back; nothing is executed."""
    with torch.device("meta"), _multiplied_as(tf32=tf32), recorded(target) as launches:
        block = rewrite(build.block(spec).to(dtype), mode)
        block.train(mode == "training")
        widths = [width for width in (spec.channels, spec.low_channels) if width]
        maps = [
            torch.empty(
                1, width, size.height, size.width, dtype=dtype, requires_grad=mode == "training"
            )
            for width in widths
        ]
        result: Tensor = block(*maps)
        if mode == "training":
            result.backward(torch.empty_like(result))
    return launches


@contextmanager
def _multiplied_as(*, tf32: bool) -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def different(launches: Iterable[Launch]) -> list[Launch]:
    """Those that are compiled differently, the first of each."""
    kinds: dict[Hashable, Launch] = {}
    for launch in launches:
        signature, constants, divisible = _specialised(launch)
        key = (launch.name, launch.tiles, *map(repr, (signature, constants, divisible)))
        kinds.setdefault(key, launch)
    return list(kinds.values())


def _specialised(
    launch: Launch,
) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int], list[Any]]]:
    """Signature, constants and attributes, as Triton's launcher finds them in the arguments of a call."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    divisible: dict[tuple[int], list[Any]] = {}
    for place, name in enumerate(launch.kernel.arg_names):
        value = launch.arguments[name]
        is_divisible = isinstance(value, Tensor)
        if isinstance(value, Tensor):
            signature[name] = f"*{_DTYPES[value.dtype]}"
        elif name.isupper() or (value == 1 and isinstance(value, int)):
            signature[name], constants[name] = "constexpr", value
        elif isinstance(value, float):
            signature[name] = "fp32"
        else:
            signature[name] = "i32" if value < 2**31 else "i64"
            is_divisible = value % _DIVISOR == 0
        if is_divisible:
            divisible[place,] = [["tt.divisibility", _DIVISOR]]
    return signature, constants, divisible


def resources_of(launch: Launch, target: int) -> Resources:
    """Compile a kernel for a target and read what it takes.

    Raises:
        RuntimeError: this process interprets kernels (`TRITON_INTERPRET`), and compiles none.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if not isinstance(launch.kernel, triton.JITFunction):
        msg = "TRITON_INTERPRET is set: kernels are interpreted here and not compiled; unset it"
        raise RuntimeError(msg)
    signature, constants, divisible = _specialised(launch)
    source = ASTSource(launch.kernel, signature, constexprs=constants, attrs=divisible)
    options = {"num_warps": launch.tiles.warps, "num_stages": launch.tiles.stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)
    registers, spilled = _assembled(compiled.asm["ptx"], target)
    return Resources(
        kernel=launch.name,
        target=target,
        registers=registers,
        spilled_bytes=spilled,
        shared_bytes=compiled.metadata.shared,
        warps=launch.tiles.warps,
    )


def _assembled(code: str, target: int) -> tuple[int, int]:
    """Registers and spilled bytes of a thread, as the assembler tells them of PTX."""
    from triton.backends.nvidia.compiler import get_ptxas, sm_arch_from_capability

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.ptx")
        path.write_text(code)
        name = f"--gpu-name={sm_arch_from_capability(target)}"
        command = [get_ptxas(target).path, "-v", name, str(path), "-o", str(Path(folder, "out"))]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr  # noqa: S603  # Triton's own
    registers = re.search(r"Used (\d+) registers", told)
    spilled = re.search(r"(\d+) bytes spill stores", told)
    if registers is None or spilled is None:
        msg = f"the assembler told no registers and spills: {told!r}"
        raise RuntimeError(msg)
    return int(registers[1]), int(spilled[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledCall:
    """A call whose kernels are compiled: what a block of the catalogue starts at a size."""

    block: str
    size: Size
    mode: Mode = "inference"


# All kernels in all their forms, at the paper's largest size, one of odd numbers, and one smaller than a tile.
COMPILED_SIZES = tuple(map(Size.parse, ("256x128", "97x97", "8x8")))
COMPILED_CALLS: tuple[tuple[str, Mode], ...] = (
    ("apnb", "inference"),
    ("apnb-residual", "inference"),
    ("apnb-concat", "inference"),
    ("afnb-bottleneck", "inference"),
    ("apnb", "training"),
)
COMPILED_FORMATS: dict[str, tuple[torch.dtype, bool]] = {
    "ieee": (torch.float32, False),
    "tf32": (torch.float32, True),
    "bfloat16": (torch.bfloat16, False),
    "float16": (torch.float16, False),
}


def compile_all(
    target: int, numbers: str, *, sizes: Iterable[Size] = COMPILED_SIZES
) -> Iterator[tuple[CompiledCall, Resources]]:
    """Compile what the blocks of the catalogue start on a target, each kind of kernel once."""
    dtype, tf32 = COMPILED_FORMATS[numbers]
    examples = [
        CompiledCall(block=block, size=size, mode=mode)
        for size in sizes
        for block, mode in COMPILED_CALLS
    ]
    launches = {
        example: launches_of(
            BLOCKS[example.block],
            example.size,
            target=target,
            dtype=dtype,
            mode=example.mode,
            tf32=tf32,
        )
        for example in examples
    }
    kinds = different(launch for started in launches.values() for launch in started)
    for example, started in launches.items():
        for launch in started:
            if launch in kinds:
                yield example, resources_of(launch, target)
