"""What a call gives, so far as it takes to tell whether another call gives the same: a few thousand of its values.

A cache, a lazy tensor, or work that goes on after the call shows in them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

# Of a tensor, evenly spaced.
MOST_VALUES = 4096
# Share of the largest value by which two runs of the same call may differ: GPUs add in another order each time, and
# sharp attention makes much of it.
TOLERANCE = {torch.float64: 1e-6, torch.bfloat16: 0.1}
USUAL_TOLERANCE = 1e-2
# Packages of whose tensors it is known that they hold their values.
KNOWN_PACKAGES = ("torch", "torchvision", "torchao")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Values of all tensors of an output, with their types and shapes."""

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    values: tuple[Tensor, ...]
    is_finite: bool

    def distance(self, other: "Sample") -> float:
        """Largest difference over the largest value, in multiples of what is allowed; of unlike shapes infinite."""
        if self.shapes != other.shapes:
            return float("inf")
        pairs = zip(self.values, other.values, self.dtypes, strict=True)
        return max(
            (_relative_gap(a, b) / TOLERANCE.get(c, USUAL_TOLERANCE) for a, b, c in pairs),
            default=0.0,
        )

    def equals(self, other: "Sample") -> bool:
        """Whether all values are the very same; what is no number is equal to itself."""
        return self.shapes == other.shapes and all(
            bool(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))
            for a, b in zip(self.values, other.values, strict=True)
        )


def _relative_gap(mine: Tensor, theirs: Tensor) -> float:
    where = mine.isfinite() & theirs.isfinite()
    if not where.any():
        return 0.0
    largest = float(mine[where].abs().max())
    distance = float((mine[where] - theirs[where]).abs().max())
    return distance / largest if largest else distance


def take_sample(tensors: Sequence[Tensor]) -> Sample:
    """Read some values of each tensor, and whether all of them are finite."""
    return Sample(
        shapes=tuple(tuple(x.shape) for x in tensors),
        dtypes=tuple(x.dtype for x in tensors),
        values=tuple(map(_some_values, tensors)),
        is_finite=all(map(_is_finite, tensors)),
    )


def _some_values(tensor: Tensor) -> Tensor:
    """Evenly spaced values on the processor, in double precision; none of what can't be read so."""
    with suppress(RuntimeError, NotImplementedError, TypeError):
        dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
        flat = dense.reshape(-1)
        values = flat[:: max(1, len(flat) // MOST_VALUES)].cpu()
        return values.to(torch.complex128 if values.is_complex() else torch.float64)
    return torch.empty(0, dtype=torch.float64)


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout != torch.strided:
        return True
    with suppress(RuntimeError, NotImplementedError, TypeError):
        # A norm is as finite as its values, and takes no memory; of short formats in one that holds it.
        dtype = None if tensor.is_complex() else torch.float64
        return bool(torch.linalg.vector_norm(tensor.detach(), dtype=dtype).isfinite())
    return True


def tensors_of(outputs: object) -> list[Tensor]:
    """All tensors in tuples, lists, mappings and dataclasses."""
    return [leaf for leaf in _leaves(outputs) if isinstance(leaf, Tensor)]


def _leaves(outputs: object) -> Iterator[object]:
    for leaf in tree_leaves(outputs):
        if isinstance(leaf, Mapping):
            yield from _leaves(list(leaf.values()))
        elif is_dataclass(leaf) and not isinstance(leaf, type):
            yield from _leaves([getattr(leaf, field.name) for field in fields(leaf)])
        else:
            yield leaf


def lazy_part(outputs: object) -> str | None:
    """Name of a type in an output that need not hold its values, or None; of others than tensors if there are none."""
    leaves = [leaf for leaf in _leaves(outputs) if leaf is not None]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    doubtful = [x for x in tensors if not _holds_values(x)] if tensors else leaves
    return type(doubtful[0]).__name__ if doubtful else None


def _holds_values(tensor: Tensor) -> bool:
    """Whether the values that are read are those in the tensor's memory."""
    package = type(tensor).__module__.split(".")[0]
    if type(tensor) in (Tensor, nn.Parameter):
        return True
    if package in KNOWN_PACKAGES:
        return type(tensor).__name__ != "AsyncCollectiveTensor"
    memory = _values_in_memory(tensor)  # ahead of what may compute them
    with suppress(Exception):
        seen = _some_values(tensor).as_subclass(Tensor)
        return memory is not None and torch.allclose(seen, memory, rtol=0, atol=0, equal_nan=True)
    return False


def _values_in_memory(tensor: Tensor) -> Tensor | None:
    with torch._C.DisableTorchFunctionSubclass(), suppress(Exception):  # noqa: SLF001
        storage = tensor.untyped_storage()
        if storage.data_ptr() or not storage.nbytes():
            plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            plain.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
            return _some_values(plain)
    return None


def aliases(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> str | None:
    """Whether an output is an input, or lies in its memory: what to call that, or None."""
    for output in outputs:
        for given in inputs:
            if _storage_place(output) is None or _storage_place(output) != _storage_place(given):
                continue
            whole = output.shape == given.shape and output.data_ptr() == given.data_ptr()
            return "returns its input" if whole else "returns a view of its input"
    return None


def _storage_place(tensor: Tensor) -> int | None:
    with suppress(RuntimeError, NotImplementedError):
        return tensor.untyped_storage().data_ptr() or None
    return None
