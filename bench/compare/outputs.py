"""What two arms' modules give: kept in files as plain tensors, and compared tensor by tensor.

A tensor is kept by its path in what the module returned, with its form (type, shape, layout) in words; complex numbers
as pairs, sparse and nested tensors by their parts, Python's numbers as tensors.
"""

import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from bench.records import Agreement, TensorAgreement
from bench.workloads import Workload, leaves, structure

# Form in words, and parts that have values.
Plain = tuple[str, list[Tensor]]
OUTPUTS = "outputs"
STRUCTURE = "structure of outputs"
CHUNK = 2**22
INFINITY = float("inf")
ZERO = "is zero on both sides"
EMPTY = "is empty"


def save_outputs(work: Workload, path: Path) -> None:
    """Leave what the module gives in evaluation, without gradients."""
    was_training = work.module.training
    work.module.eval()
    with torch.no_grad():
        kept = plain_outputs(work.module(*work.inputs))
    work.module.train(was_training)
    torch.save(kept, path)
    del kept
    gc.collect()


def plain_outputs(outputs: object) -> dict[str, Any]:
    """The tensors in what a module returned by their paths, and how it is built; to be saved."""
    tensors = {path: plain(leaf) for path, leaf in leaves(outputs).items() if is_value(leaf)}
    return {OUTPUTS: tensors, STRUCTURE: structure(outputs)}


def is_value(leaf: object) -> bool:
    """Whether it is a tensor, an array or a number."""
    return isinstance(leaf, Tensor | bool | int | float | complex) or hasattr(leaf, "__array__")


def plain(leaf: Any) -> Plain:  # noqa: ANN401  # a tensor, an array or a number
    """Copy a leaf to the processor as tensors of no special kind; complex ones as pairs of real and imaginary part."""
    if not isinstance(leaf, Tensor):
        tensor = torch.as_tensor(leaf)
        return f"{type(leaf).__name__} {_tensor_form(tensor)}", [*_plain_parts(tensor)]
    parts = list(_plain_parts(leaf.detach()))
    inside = f" of {' + '.join(str(tuple(part.shape)) for part in parts)}" if leaf.is_nested else ""
    return _tensor_form(leaf) + inside, parts


def _tensor_form(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_nested:
        return f"{kind} nested"
    layout = "" if tensor.layout == torch.strided else str(tensor.layout).removeprefix("torch.")
    return f"{kind} {tuple(tensor.shape)} {layout}".rstrip()


def _plain_parts(tensor: Tensor) -> Iterator[Tensor]:
    if tensor.is_nested:
        for part in tensor.unbind():
            yield from _plain_parts(part)
    elif is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from _plain_parts(getattr(tensor, name))
    elif tensor.is_quantized:
        yield from _plain_parts(tensor.dequantize())
    elif tensor.is_mkldnn:
        yield from _plain_parts(tensor.to_dense())
    elif tensor.layout != torch.strided:
        sparse = tensor.to_sparse_coo().coalesce()
        yield from (*_plain_parts(sparse.indices()), *_plain_parts(sparse.values()))
    else:
        dense = tensor.as_subclass(Tensor).resolve_conj().resolve_neg()
        real = torch.view_as_real(dense) if dense.is_complex() else dense
        yield real.to("cpu", copy=True, memory_format=torch.contiguous_format)


def compare_outputs(first: Path, second: Path) -> Agreement:
    """Compare the outputs that two arms left, tensor by tensor."""
    left, right = (torch.load(path, mmap=True, weights_only=True) for path in (first, second))
    tensors = compare_tensors(left[OUTPUTS], right[OUTPUTS])
    return summed_up(tensors, structures=(left[STRUCTURE], right[STRUCTURE]))


def summed_up(
    outputs: tuple[TensorAgreement, ...], *, structures: tuple[str, str] = ("", "")
) -> Agreement:
    """One number for all outputs, the worst of all, or why there is none."""
    fields: dict[str, Any] = {"tensors": outputs, "structures": structures}
    reasons = [f"output{item.name and ' '}{item.name} {item.reason}" for item in outputs]
    wrong = [
        reason
        for item, reason in zip(outputs, reasons, strict=True)
        if item.max_relative_error is None or (item.reason and item.reason != ZERO)
    ]
    if not outputs:
        wrong = ["no output is a tensor"]
    elif not wrong and all(item.reason == ZERO for item in outputs):
        wrong = ["all outputs are zero"]
    if wrong:
        return Agreement(reason="; ".join(wrong), **fields)
    error = max(item.max_relative_error or 0.0 for item in outputs)
    return Agreement(max_relative_error=error, **fields)


def compare_tensors(
    first: Mapping[str, Plain],
    second: Mapping[str, Plain],
    *,
    sides: tuple[str, str] = ("first", "second"),
    absent: str = "nothing",
    negligible: float = 0.0,
) -> tuple[TensorAgreement, ...]:
    """Compare what two sides have by name, each tensor by its largest difference over the first side's largest value.

    Whole numbers, and the places of what is not finite, have to be equal. What one side lacks is no agreement.
    `sides` and `absent` are words for the sides and for that. Where tensors may be zero but for rounding, a
    difference is a share of at least the `negligible` part of the largest value of all.
    """
    tops = (
        [_largest_finite(part) for _, parts in first.values() for part in parts]
        if negligible
        else []
    )
    least = negligible * max(tops, default=0.0)
    compared = []
    for name in dict.fromkeys((*first, *second)):
        pair = [side.get(name, (absent, [])) for side in (first, second)]
        if pair[0][0] == pair[1][0]:
            compared.append(_compare_leaves(name, *pair, least=least))
        else:
            forms = " and ".join(
                f"{form} in the {side}" for (form, _), side in zip(pair, sides, strict=True)
            )
            compared.append(TensorAgreement(name=name, reason=f"is {forms}"))
    return tuple(compared)


def _compare_leaves(name: str, first: Plain, second: Plain, *, least: float) -> TensorAgreement:
    parts = (first[1], second[1])
    shapes = [[part.shape for part in side] for side in parts]
    if shapes[0] != shapes[1]:
        return TensorAgreement(name=name, reason="has other places that are not zero")
    gap, sizes, strange, count = 0.0, [0.0, 0.0], 0, 0
    for chunks in _chunks(*parts):
        different = _differences(*chunks)
        if different:
            return TensorAgreement(name=name, reason=different)
        finite = chunks[0].isfinite()
        true, other = (chunk[finite].double() for chunk in chunks)
        strange += finite.numel() - true.numel()
        count += finite.numel()
        if true.numel():
            gap = max(gap, float((true - other).abs().max()))
            sizes = list(map(max, sizes, map(_largest_finite, (true, other))))
    note = "" if any(sizes) else ZERO
    if not count:
        note = EMPTY
    elif strange:
        note = f"is not finite at {strange} of {count} places, the same ones on both sides"
    size = max(sizes[0], least) or sizes[1] or 1.0
    return TensorAgreement(name=name, max_relative_error=gap / size, reason=note)


def _largest_finite(values: Tensor) -> float:
    finite = values[values.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def _chunks(first: list[Tensor], second: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    for pair in zip(first, second, strict=True):
        yield from zip(*(part.flatten().split(CHUNK) for part in pair), strict=True)


def _differences(true: Tensor, other: Tensor) -> str:
    """What differs although it has to be equal: whole numbers, and where and how values are not finite."""
    if not true.is_floating_point():
        count = int((true != other).sum())
        return f"has {count} other whole numbers" if count else ""
    kinds = [
        torch.stack((item.isnan(), item == INFINITY, item == -INFINITY)) for item in (true, other)
    ]
    if torch.equal(*kinds):
        return ""
    counts = (int(kind.sum()) for kind in kinds)
    return "is not finite at {} and {} places, or in other ways".format(*counts)
