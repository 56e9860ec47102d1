"""Blocks and networks as ONNX files for maps of one size, with adaptive pooling as products of small matrices.

ONNX has no adaptive pooling. Where the cells do not divide the map, PyTorch's exporter writes out each cell of each
grid by itself (thousands of nodes, or an error, pytorch#120477). But averaging over cells is linear in either axis: it
is a matrix for the rows and one for the columns, each made for the size. The maximum over cells is one over rows of
one over columns.

Axes: n images, c channels, h and w height and width of a map, g cells along one axis.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ann.fast.pooling import cell_means
from ann.samplers import cell_bounds
from ann.spec import UnavailableError

OPSET = 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An exported file: where it is, its size, and how often each operator is in it."""

    path: Path
    size_bytes: int
    operators: dict[str, int]

    @property
    def nodes(self) -> int:
        """Number of nodes of the graph."""
        return sum(self.operators.values())


def to_onnx(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> Exported:
    """Write a block or network in inference as one ONNX file, for inputs of just these sizes.

    The module is in float32 on the CPU, and its mode is put back. The file has the weights in it, so
    that it must stay below 2 GB.

    Raises:
        UnavailableError: onnx or onnxscript is not installed.
        ValueError: an operator of the module has no translation.
    """
    try:
        import onnxscript  # noqa: F401  # brings onnx; torch's exporter needs both
    except ImportError as error:
        msg = f"no ONNX export here: {error.name} is not installed; pip install onnx onnxscript"
        raise UnavailableError(msg) from error
    with inference(module), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.11's, about its own code
        program = torch.export.export(module, inputs).run_decompositions(_TABLE)
        try:
            written = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=OPSET)
        except torch.onnx.errors.OnnxExporterError as error:
            msg = (
                f"{type(module).__name__} can't be exported: {str(error).strip().splitlines()[0]}; "
                "write the operator that it names as others that ONNX has"
            )
            raise ValueError(msg) from error
    assert written is not None, "a dynamo export returns its program"
    written.save(str(path), external_data=False)
    operators = Counter(node.op_type for node in written.model.graph)
    return Exported(path=path, size_bytes=path.stat().st_size, operators=dict(operators))


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Set a module to eval, and each part back to its mode at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def average_pool(x: Float[Tensor, "*n c h w"], size: list[int]) -> Float[Tensor, "*n c y x"]:
    """Adaptive average pooling as two products, the axis first that leaves less for the other."""
    rows, columns = (
        cell_means((grid,), int(length), x.dtype, device=x.device)
        for length, grid in zip(x.shape[-2:], size, strict=True)
    )
    if size[0] * x.shape[-1] <= size[1] * x.shape[-2]:
        return rows @ x @ columns.mT
    return rows @ (x @ columns.mT)


def max_pool(x: Float[Tensor, "*n c h w"], size: list[int]) -> tuple[Tensor, None]:
    """Adaptive max pooling as a maximum over rows, then over columns; it does not say where."""
    for axis, grid in zip((-2, -1), size, strict=True):
        length = int(x.shape[axis])
        bounds = (cell_bounds(cell, length, grid) for cell in range(grid))
        maxima = [x.narrow(axis, start, stop - start).amax(axis) for start, stop in bounds]
        x = torch.stack(maxima, dim=axis)
    return x, None


_TABLE: dict[Any, Callable[..., object]] = {
    torch.ops.aten.adaptive_avg_pool2d.default: average_pool,
    torch.ops.aten._adaptive_avg_pool2d.default: average_pool,  # noqa: SLF001  # its name
    torch.ops.aten.adaptive_max_pool2d.default: max_pool,
}
