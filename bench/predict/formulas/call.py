"""A call of an operator, the work that it does, and what formulas ask of tensors."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from bench.predict.fake import Arguments, FakeTensor, Keywords, Overload, operator_name

Product = tuple[int, int, int, int]  # batch, rows, columns, depth


@dataclass(frozen=True, slots=True)
class Work:
    """MACs of matrix work, and FLOPs that come on top of 2 per MAC.

    `products` are the shapes of the matrix work; none where they are told elsewhere (`bench.predict.shapes`).
    """

    macs: int = 0
    extra_flops: int = 0
    products: tuple[Product, ...] = ()

    @property
    def flops(self) -> int:
        """All FLOPs, 2 per MAC."""
        return 2 * self.macs + self.extra_flops

    def __add__(self, other: "Work") -> "Work":
        extra_flops = self.extra_flops + other.extra_flops
        return Work(self.macs + other.macs, extra_flops, self.products + other.products)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator: its arguments by the names of its schema, defaults filled in."""

    name: str
    arguments: Mapping[str, Any]
    result: Any

    @classmethod
    def of(cls, operator: Overload, args: Arguments, kwargs: Keywords, result: object) -> "Call":
        """Bind positional and keyword arguments to the schema's names."""
        schema = operator._schema.arguments  # noqa: SLF001  # the only way to the names
        bound = {item.name: item.default_value for item in schema if item.has_default_value()}
        bound |= {item.name: value for item, value in zip(schema, args, strict=False)}
        return cls(operator_name(operator), bound | dict(kwargs), result)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument."""
        return tuple(self.arguments[name].shape)

    def has(self, name: str) -> bool:
        """Whether an argument that may be left out is given."""
        return self.arguments.get(name) is not None

    @property
    def out(self) -> Tensor:
        """The first tensor of the result."""
        first: Tensor = self.result if isinstance(self.result, Tensor) else self.result[0]
        return first


# None: the work is not known.
Formula = Callable[[Call], Work | None]


def matrix_work(products: Iterable[Product], extra_flops: int = 0) -> Work:
    """Work of matrix products by their shapes, those without any work left out."""
    kept = tuple(shape for shape in products if prod(shape))
    return Work(sum(map(prod, kept)), extra_flops, kept)


def numbers_in(tensor: Tensor) -> list[int] | None:
    """The whole numbers in a tensor; None where it has no values."""
    if isinstance(tensor, FakeTensor) or tensor.is_meta:
        return None
    with torch._C._DisableTorchDispatch():  # noqa: SLF001  # else a read is an operator of the call
        return [int(number) for number in tensor.tolist()]


def is_sparse(value: object) -> bool:
    """Whether it is a tensor that holds some of its elements alone, or the fake of one."""
    if isinstance(value, FakeTensor):
        return value.held is not None
    return isinstance(value, Tensor) and value.layout != torch.strided


def stored(tensor: Tensor) -> int:
    """Elements that a sparse tensor holds; of a dense one all."""
    if not is_sparse(tensor):
        return tensor.numel()
    if isinstance(tensor, FakeTensor) and tensor.held is not None:
        return tensor.held
    held = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()  # noqa: SLF001  # of any state
    return held.numel()


def plain_name(name: str) -> str:
    """Name of an operator without the mark of its in-place form: relu_ is relu."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def short_name(name: str) -> str:
    """The same of ATen's, without the library's."""
    return plain_name(name).removeprefix("aten.")
