"""ONNX files of blocks and networks: recorded, translated, checked, verified, and only then put in their place."""

import logging
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ann.export.capture import (
    FREE_BATCH,
    FREE_MAPS,
    Axes,
    capture,
    inference,
    output_names,
)
from ann.export.model import write_model
from ann.export.verify import verify
from ann.spec import Size, UnavailableError

PREFIX = ".onnx-"  # of the folder that a file is made in


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An exported file: where it is, its size, opset and outputs, and how often each operator is in it.

    `verified` are the sizes at which a file with free height and width was compared with its module.
    """

    path: Path
    size_bytes: int
    operators: dict[str, int]
    opset: int
    outputs: tuple[str, ...]
    verified: tuple[Size, ...] = ()

    @property
    def nodes(self) -> int:
        """Number of nodes of the graph."""
        return sum(self.operators.values())


def to_onnx(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: str | os.PathLike[str],
    *,
    dynamic: bool = False,
    opset: int | None = None,
) -> Exported:
    """Write a block or network in inference as one ONNX file, for inputs of just these sizes or with free axes.

    The module is in float32 on the CPU, and its mode is put back. The file has the weights in it, so that it must
    stay below 2 GB. Outputs are named by their paths in what the module returns, as `aux.0`; a single one is `output`.
    A file takes its place once onnx's checker has passed it, so that one that was there before stays until then.

    Args:
        module: takes maps, images or tokens; with free axes maps or images alone.
        inputs: examples; their values don't matter.
        path: of the file, in a folder that exists.
        dynamic: leave height and width free, and the batch where the module lets it be. Such a file is compared
            with the module in ONNX Runtime at sizes that no grid divides, at sides of 1 if the module takes them, and
            wherever its code may take another path (up to 10,000 pixels); what differs is refused. The module is
            called with random maps there.
        opset: of ONNX; None for the lowest from 18 on that has all operators.

    Raises:
        UnavailableError: onnx or onnxscript is not installed, or onnxruntime where it verifies.
        ValueError: an operator has no translation, `opset` is too low for one, the checker refuses the file, or
            something in the module holds for the example's size alone; the place can't be written, or what was
            given is of another kind than these.
    """
    _require_kinds(inputs, path, opset)
    path = Path(path)
    _require_packages(verifies=dynamic)
    _require_place(path)
    with inference(module), torch.no_grad(), _quiet():
        if dynamic:
            with suppress(ValueError):  # as where the batch is a number in it
                return _export(module, inputs, path, free=FREE_BATCH, opset=opset)
        return _export(module, inputs, path, free=FREE_MAPS if dynamic else None, opset=opset)


def _export(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    *,
    free: Axes | None,
    opset: int | None,
) -> Exported:
    program = capture(module, inputs, free=free)
    outputs = output_names(program)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=PREFIX) as folder:
        part = Path(folder) / path.name
        model, version = write_model(program, part, type(module).__name__, outputs, opset=opset)
        verified = verify(part, module, inputs, program) if free is not None else ()
        part.replace(path)
    return Exported(
        path=path,
        size_bytes=path.stat().st_size,
        operators=dict(Counter(node.op_type for node in model.graph)),
        opset=version,
        outputs=tuple(outputs),
        verified=verified,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch and onnxscript say of their own ways from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.11's, about its own code
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _require_packages(*, verifies: bool) -> None:
    try:
        import onnxscript  # noqa: F401  # brings onnx; torch's exporter needs both

        if verifies:
            import onnxruntime  # noqa: F401
    except ImportError as error:
        packages = "onnx onnxscript onnxruntime" if verifies else "onnx onnxscript"
        msg = f"no ONNX export here: {error.name} is not installed; pip install {packages}"
        if error.name == "onnxruntime":
            msg += ", with which free height and width are verified, or export for one size (dynamic=False)"
        raise UnavailableError(msg) from error


def _require_kinds(inputs: object, path: object, opset: object) -> None:
    if not isinstance(inputs, tuple) or not all(isinstance(x, Tensor) for x in inputs):
        kinds = ", ".join(type(x).__name__ for x in inputs) if isinstance(inputs, tuple) else ""
        given = f"({kinds})" if kinds else type(inputs).__name__
        msg = f"inputs must be a tuple of tensors, as (x,), got {given}; a module that takes others needs one around it"
        raise ValueError(msg)
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        msg = f"path must be a text or a pathlib.Path, got {path!r}"
        raise ValueError(msg)
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int)):
        msg = f"opset must be a whole number or None for the lowest that will do, got {opset!r}"
        raise ValueError(msg)


def _require_place(path: Path) -> None:
    """Find out before the work whether a file can be there."""
    try:
        folder, taken = path.parent.is_dir(), path.is_dir()
        if folder and not taken:
            tempfile.TemporaryDirectory(dir=path.parent, prefix=PREFIX).cleanup()
    except (OSError, ValueError) as error:  # no right, a name too long, a zero in it
        reason = getattr(error, "strerror", None) or error
        msg = f"{path} can't be written: {reason}; name a file in a folder where you may write"
        raise ValueError(msg) from error
    if not folder:
        msg = f"{path} can't be written: there is no folder {path.parent}; make it, or name another"
        raise ValueError(msg)
    if taken:
        msg = f"{path} is a folder; name a file in it, such as {path / 'module.onnx'}"
        raise ValueError(msg)
