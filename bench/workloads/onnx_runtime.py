"""Blocks and networks in ONNX Runtime: exported once for one size, then called like the module they came from."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ann import export
from ann.implementations import UnavailableError
from bench.workloads.outputs import tensor_leaves


class OnnxRuntime(nn.Module):
    """A session in the place of a module; tensors go in and come out without a copy.

    One operator may use so many `threads`; operators run one after another, as torch's do. What comes out is built
    as what the module `returned`.
    """

    def __init__(self, path: Path, *, threads: int, returned: object) -> None:
        super().__init__()
        leaves, self.structure = pytree.tree_flatten(returned)
        self.are_tensors = [isinstance(leaf, Tensor) for leaf in leaves]
        self.session = export.open_session(path, threads=threads)

    def forward(self, *inputs: Tensor) -> Any:  # noqa: ANN401  # as the module's
        """Run the graph on maps or images of the size for which it was exported."""
        outputs = iter(export.run_session(self.session, *inputs))
        leaves = [next(outputs) if is_tensor else None for is_tensor in self.are_tensors]
        return pytree.tree_unflatten(leaves, self.structure)


def make_session_module(module: nn.Module, inputs: tuple[Tensor, ...]) -> OnnxRuntime:
    """Export a module, compare the file's output with its own, and load it with torch's number of threads.

    The session that was compared is not the one that is returned, so that the first call of that one
    allocates all that a call needs.

    Args:
        module: in inference and float32, on the CPU.
        inputs: of the sizes for which it is exported.

    Raises:
        UnavailableError: onnx, onnxscript or onnxruntime is not installed, or the module is in
            training, on another device or of another number format.
        ValueError: it can't be exported, ONNX Runtime does not take the file, or the outputs differ
            by more than `ann.export.TOLERANCE`.
    """
    _require_runtime()
    kinds = {(tensor.device.type, tensor.dtype) for tensor in inputs}
    if module.training or kinds != {("cpu", torch.float32)}:
        msg = "implementation 'onnxruntime' is inference in float32 on the CPU here; pass --mode eval --dtype float32"
        raise UnavailableError(msg)
    with tempfile.TemporaryDirectory() as folder:
        file = export.to_onnx(module, inputs, Path(folder) / "module.onnx")
        with torch.no_grad():
            expected = module(*inputs)
        threads = torch.get_num_threads()
        session = OnnxRuntime(file.path, threads=threads, returned=expected)
        error = _difference(expected, session(*inputs))
        if not error <= export.TOLERANCE:  # nor NaN
            msg = (
                f"{type(module).__name__} in ONNX Runtime differs from torch by {error:.1e} of its largest output "
                f"({file.nodes} nodes); at most {export.TOLERANCE:.0e} is allowed, report the module as a bug"
            )
            raise ValueError(msg)
        return OnnxRuntime(file.path, threads=threads, returned=expected)


def _difference(expected: object, outputs: object) -> float:
    """Largest difference of any output, relative to the largest value of the module's."""
    pairs = zip(*(tensor_leaves(each).values() for each in (expected, outputs)), strict=True)
    return max(export.difference(*pair) for pair in pairs)


def _require_runtime() -> None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        msg = "implementation 'onnxruntime': onnxruntime is not installed; pip install onnxruntime onnxscript"
        raise UnavailableError(msg) from error
