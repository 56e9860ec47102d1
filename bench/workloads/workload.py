"""What a cell executes: the module built from its subject, the inputs, and one call of the two."""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ann import build
from ann.implementations import implement
from ann.spec import BlockSpec, Implementation, NetworkSpec, Size
from bench.workloads import number_formats
from experiments.spec import Cell, Dtype, Subject

NOTHING_TO_TRAIN = (
    "no output depends on a parameter, so there is nothing to train; pass mode='eval'"
)

# What is counted and predicted of those that are made from another one's operators.
SOURCES: Mapping[str, Implementation] = {
    "compiled": "plain",
    "fast-compiled": "fast",
    "onnxruntime": "plain",
}
AUXILIARY_WEIGHT = 0.4  # of the second cross entropy; paper, Eq. 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A module with inputs; calling it is one forward pass, in training with the backward pass."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    mode: str
    dtype: Dtype = "float32"

    def __call__(self) -> None:
        """Run once; results and gradients are dropped.

        Under autocast a step of training casts its weights, since they change from step to step,
        and goes back outside, as PyTorch advises. In inference what is cast stays as long as a
        `numbers()` around all calls.
        """
        if self.mode == "eval":
            with torch.no_grad(), self.numbers():
                self.module(*self.inputs)
            return
        with self.numbers():
            # Kept while going back, as a training loop keeps them.
            outputs = self.module(*self.inputs)
        sum_outputs(outputs).backward()
        del outputs
        self.module.zero_grad(set_to_none=True)

    def numbers(self) -> AbstractContextManager[object]:
        """The number format's context; it may be entered again inside itself."""
        return number_formats.autocast(self.dtype, self.inputs[0].device.type)


def sum_outputs(outputs: object) -> Tensor:
    """Sum of all floating-point tensors that a module returned, from which a backward pass starts.

    Raises:
        ValueError: there is none, or none that depends on a parameter.
    """
    tensors = outputs if isinstance(outputs, tuple | list) else (outputs,)
    sums = [item.sum() for item in tensors if isinstance(item, Tensor) and item.is_floating_point()]
    if not sums:
        msg = f"the module returned {type(outputs).__name__}; it must return a tensor or a tuple of tensors"
        raise ValueError(msg)
    total = torch.stack(sums).sum() if len(sums) > 1 else sums[0]
    if not total.requires_grad:
        raise ValueError(NOTHING_TO_TRAIN)
    return total


class TrainingStep(nn.Module):
    """A network with its loss: cross entropy of the logits plus 0.4 times that of the auxiliary ones (Eq. 18)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Loss of (batch, 3, height, width) images with (batch, height, width) labels."""
        outputs = self.network(images)
        logits, auxiliary = (outputs, None) if isinstance(outputs, Tensor) else outputs
        loss = F.cross_entropy(logits, labels)
        if auxiliary is not None:
            loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(auxiliary, labels)
        return loss


def make_workload(
    cell: Cell, device: str, *, prepare: Callable[[nn.Module], object] | None = None
) -> Workload:
    """Build the cell's module and inputs on a device, random numbers fixed by the cell's seed.

    No weight is left at zero, as W_o begins: products of zeros run faster (bfloat16 on an H200: 894
    against 788 TFLOP/s), all outputs would be alike, and many sums trivial. `prepare` is given the
    module with its weights, before anything is made of it.

    Raises:
        ValueError: the subject can't be built; the message says why.
        UnavailableError: the device lacks the number format, or this machine the implementation.
    """
    number_formats.require_format(cell.dtype, device)
    number_formats.switch_format(cell.dtype, device)
    torch.manual_seed(cell.seed)
    with torch.device(device):
        module = build_module(cell)
        if device != "meta":
            _draw_zeros(module)
        if prepare is not None:
            prepare(module)
        return complete_workload(cell, module, runs=device != "meta")


def build_module(cell: Cell) -> nn.Module:
    """Build the cell's subject with the weights of its number format."""
    module = build_subject(cell.subject).to(dtype=number_formats.weights_dtype(cell.dtype))
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        with torch.no_grad():  # the call in which lazy layers get their weights
            module.eval()(*_inputs(cell))
    return module


def complete_workload(cell: Cell, module: nn.Module, *, runs: bool) -> Workload:
    """Give a module its inputs, mode and implementation.

    Where nothing `runs`, what is compiled or exported is its source.
    """
    inputs, implementation, trains = _inputs(cell), cell.implementation, cell.mode == "train"
    module = module.train(trains)
    if not runs:
        implementation = SOURCES.get(implementation, implementation)
    if implementation == "onnxruntime":
        from bench.workloads import onnx_runtime

        module = onnx_runtime.make_session_module(module, inputs)
    else:
        module = implement(module, implementation, "training" if trains else "inference")
    if trains and isinstance(cell.subject, NetworkSpec):
        module = TrainingStep(module)
        labels = torch.zeros(cell.batch, cell.size.height, cell.size.width, dtype=torch.long)
        inputs = (*inputs, labels)
    return Workload(module=module, inputs=inputs, mode=cell.mode, dtype=cell.dtype)


def _inputs(cell: Cell) -> tuple[Tensor, ...]:
    dtype, size = number_formats.weights_dtype(cell.dtype), cell.size
    widths = input_widths(cell.subject)
    return tuple(
        torch.randn(cell.batch, width, size.height, size.width, dtype=dtype) for width in widths
    )


def _draw_zeros(module: nn.Module) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            if weight.numel() and weight.is_floating_point() and not weight.any():
                weight.normal_(std=weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.1)


def warm_device(cell: Cell, device: str) -> None:
    """Run the subject once on a tiny map, so that libraries are loaded before anything is read.

    What would be compiled or exported for that map alone is left as its source.
    """
    is_network = isinstance(cell.subject, NetworkSpec)
    tiny = replace(
        cell,
        size=Size(width=65, height=65) if is_network else Size(width=16, height=16),
        implementation=SOURCES.get(cell.implementation, cell.implementation),
        batch=2 if cell.mode == "train" else 1,
    )
    make_workload(tiny, device)()


def build_subject(subject: Subject) -> nn.Module:
    """Build a block, a network or somebody's own module."""
    if isinstance(subject, BlockSpec):
        return build.block(subject)
    if isinstance(subject, NetworkSpec):
        return build.network(subject)
    factory = find_factory(subject.factory)
    wanted = inspect.signature(factory).parameters.keys() & {"channels", "key_channels"}
    module = factory(**{name: getattr(subject, name) for name in wanted})
    if not isinstance(module, nn.Module):
        msg = (
            f"{subject.factory} returned {type(module).__name__}; it must return a torch.nn.Module"
        )
        raise ValueError(msg)
    return module


def input_widths(subject: Subject) -> tuple[int, ...]:
    """Channels of each map or image that a subject is called with, a fusion block's high-level map first."""
    if isinstance(subject, NetworkSpec):
        return (3,)
    low = subject.low_channels if isinstance(subject, BlockSpec) else None
    return (subject.channels, low) if low else (subject.channels,)


def find_factory(path: str) -> Callable[..., object]:
    """Import `package.module:factory`; what it prints goes to standard error.

    Raises:
        ValueError: there is no such module, it can't be imported, or there is no such callable in it.
    """
    module_name, _, name = path.partition(":")
    try:
        with redirect_stdout(sys.stderr):
            module = importlib.import_module(module_name)
    except ImportError as error:
        msg = f"block {path!r}: can't import {module_name!r} ({error}); run where Python finds it or set PYTHONPATH"
        raise ValueError(msg) from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        # A syntax error says itself where it is.
        place = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"
        raised = f"{type(error).__name__}: {error}{place}"
        msg = f"block {path!r}: importing {module_name!r} raises {raised}; mend it there"
        raise ValueError(msg) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        msg = f"block {path!r}: {module_name} has no callable {name!r}; it has {', '.join(names) or 'none'}"
        raise ValueError(msg)
    return factory
