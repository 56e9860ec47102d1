"""What torch does as its source says and unwatched: composite operators, and functions that would be compiled.

A linear layer adds its bias in place, unless somebody watches (aten/src/ATen/native/Linear.cpp, `linear`): of a map
that is not contiguous it would be predicted with one result too many.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

LINEAR = torch.ops.aten.linear.default


def carry_out_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Carry out `aten.linear` by its parts."""
    if bias is None or x.dim() == 2 or x.is_contiguous():  # a single product that adds
        parts: Tensor = LINEAR.decompose(x, weight, bias)
        return parts
    return torch.matmul(x, weight.t()).add_(bias)


@contextmanager
def adding_in_place() -> Iterator[None]:
    """Have linear layers go the way that they go unwatched, whoever calls them."""
    library = torch.library.Library("aten", "IMPL")
    for key in ("AutogradCPU", "AutogradCUDA"):
        library.impl("linear", carry_out_linear, key)
    try:
        yield
    finally:
        library._destroy()  # noqa: SLF001  # torch has no public way but the collector's


@contextmanager
def uncompiled() -> Iterator[None]:
    """Have what is compiled run as its source: of fake tensors the compiler knows nothing."""
    compiler = torch.compile
    stance = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else None
    torch.compile = _as_source  # type: ignore[assignment]
    try:
        with stance or nullcontext():
            yield
    finally:
        torch.compile = compiler


def _as_source(function: Callable[..., Any] | None = None, **_: object) -> Callable[..., Any]:
    """A function in place of `torch.compile`: it gives back what it is given, as a decorator too."""
    return function or _as_source
