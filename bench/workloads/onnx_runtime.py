"""Blocks and networks in ONNX Runtime: exported once for one size, then called like the module they came from."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ann import export
from ann.implementations import UnavailableError

# Relative to the largest output. Torch itself is 6e-5 from its own float64 on an untrained ANN-R50 at 385x257.
TOLERANCE = 1e-3


class OnnxRuntime(nn.Module):
    """A session in the place of a module; tensors go in and come out without a copy.

    One operator may use so many `threads`; operators run one after another, as torch's do.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        super().__init__()
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors alone
        self.session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the graph on maps or images of the size for which it was exported."""
        pairs = zip(self.session.get_inputs(), inputs, strict=True)
        given = {entry.name: tensor.numpy() for entry, tensor in pairs}
        return torch.from_numpy(self.session.run(None, given)[0])


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
        ValueError: it can't be exported, or the outputs differ by more than `TOLERANCE`.
    """
    _runtime()
    kinds = {(tensor.device.type, tensor.dtype) for tensor in inputs}
    if module.training or kinds != {("cpu", torch.float32)}:
        msg = "implementation 'onnxruntime' is inference in float32 on the CPU here; pass --mode eval --dtype float32"
        raise UnavailableError(msg)
    with tempfile.TemporaryDirectory() as folder:
        file = export.to_onnx(module, inputs, Path(folder) / "module.onnx")
        threads = torch.get_num_threads()
        error = _difference(module, OnnxRuntime(file.path, threads=threads), inputs)
        if not error <= TOLERANCE:  # nor NaN
            msg = (
                f"{type(module).__name__} in ONNX Runtime differs from torch by {error:.1e} of its largest output "
                f"({file.nodes} nodes); at most {TOLERANCE:.0e} is allowed, report the module as a bug"
            )
            raise ValueError(msg)
        return OnnxRuntime(file.path, threads=threads)


def _difference(module: nn.Module, session: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Largest difference of the two outputs, relative to the module's largest value."""
    with torch.no_grad():
        expected, output = module(*inputs), session(*inputs)
    largest = float(expected.abs().max())
    return float((output - expected).abs().max()) / (largest or 1.0)


def _runtime() -> Any:  # noqa: ANN401  # a module
    try:
        import onnxruntime
    except ImportError as error:
        msg = "implementation 'onnxruntime': onnxruntime is not installed; pip install onnxruntime onnxscript"
        raise UnavailableError(msg) from error
    return onnxruntime
