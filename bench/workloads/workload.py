"""What a cell executes: the module built from its subject, the inputs, and one call of the two."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ann import build
from ann.implementations import implement
from ann.layers import draw_zeros
from ann.spec import BlockSpec, Implementation, NetworkSpec, Size, UnavailableError
from bench.workloads import factories, number_formats
from bench.workloads.outputs import tensor_leaves
from experiments.spec import Cell, Dtype, OwnModule, Subject

NOTHING_TO_TRAIN = "no output depends on a parameter or on an input, so there is nothing to train; pass --mode eval"

# What is counted and predicted of those that are made from another one's operators.
SOURCES: Mapping[str, Implementation] = {
    "compiled": "plain",
    "fast-compiled": "fast",
    "onnxruntime": "plain",
}
WARMING = BlockSpec(channels=16, key_channels=8)
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
        self.drop_input_gradients()

    def drop_input_gradients(self) -> None:
        """Forget the gradients of the inputs, to which later ones would be added."""
        for tensor in self.inputs:
            tensor.grad = None

    def numbers(self) -> AbstractContextManager[object]:
        """The number format's context; it may be entered again inside itself."""
        return number_formats.autocast(self.dtype, self.inputs[0].device.type)


def sum_outputs(outputs: object) -> Tensor:
    """Sum of all floating-point and complex tensors in what a module returned, from which a backward pass starts.

    Of a complex sum it is the real part.

    Raises:
        ValueError: there is none, or none that depends on a parameter or input.
    """
    tensors = tensor_leaves(outputs).values()
    sums = [_sum(item) for item in tensors if item.is_floating_point() or item.is_complex()]
    if not sums:
        msg = f"the module returned {type(outputs).__name__} without a floating-point tensor; it must return one"
        raise ValueError(msg)
    total = torch.stack(sums).sum() if len(sums) > 1 else sums[0]
    if not total.requires_grad:
        raise ValueError(NOTHING_TO_TRAIN)
    return total


def _sum(tensor: Tensor) -> Tensor:
    if tensor.is_nested:
        tensor = torch.cat([part.flatten() for part in tensor.unbind()])
    total = tensor.sum()
    return total.real if total.is_complex() else total


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
    # As in predictions: torch's one operator for all of nn.MultiheadAttention in inference says nothing of its parts.
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(cell.seed)
    with torch.device(device):
        module = build_module(cell)
        if device != "meta":
            _move_module(module, device)
            draw_zeros(module)
        if prepare is not None:
            prepare(module)
        work = complete_workload(cell, module, runs=device != "meta")
    if cell.implementation == "triton" and device != "meta":
        _require_compiled_kernels(device)
    return work


def _require_compiled_kernels(device: str) -> None:
    """Refuse kernels where there are none, as on a processor, and where Triton's interpreter stands in for them."""
    from ann.kernels import launch

    launch.require_kernels(torch.empty(0, device=device))
    if launch.is_interpreted():
        msg = (
            "triton: TRITON_INTERPRET=1 follows kernels step by step, and no reading of that says anything of them; "
            "leave it out and measure on a GPU, or use implementation 'fast'"
        )
        raise UnavailableError(msg)


def build_module(cell: Cell) -> nn.Module:
    """Build the cell's subject with the weights of its number format."""
    subject = cell.subject
    is_own = isinstance(subject, OwnModule)
    module = factories.build_own(subject, cell.size) if is_own else build_subject(subject)  # type: ignore[arg-type]
    _cast(module, number_formats.weights_dtype(cell.dtype))
    if any(map(is_lazy, _tensors(module))):
        set_mode(module, trains=False)
        with torch.no_grad():  # the call in which lazy layers get their weights
            module(*_inputs(cell))
    return module


def set_mode(module: nn.Module, *, trains: bool) -> None:
    """Set a module to training or inference, whatever its `train` returns; an exported program has one mode alone."""
    with suppress(NotImplementedError):
        module.train(trains)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Give real weights and buffers a type; complex ones stay complex, of the precision that goes with it."""
    of_complex = torch.complex128 if dtype is torch.float64 else torch.complex64

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(of_complex)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    # What needs no other type is left alone: weights that were made in inference mode can't be set.
    if any(tensor.dtype not in (dtype, of_complex) for tensor in _tensors(module)):
        module._apply(cast)  # noqa: SLF001  # as `nn.Module.to`, which makes complex weights real


def _move_module(module: nn.Module, device: str) -> None:
    """Move what was made elsewhere, as from numpy, to the device.

    Raises:
        ValueError: it has no values to move.
    """
    elsewhere = [tensor for tensor in _tensors(module) if tensor.device.type != device]
    if any(tensor.is_meta for tensor in elsewhere):
        msg = (
            f"{type(module).__name__} has weights on meta, which hold no values; make them on {device}, "
            "or pass --device meta"
        )
        raise ValueError(msg)
    if elsewhere:
        module.to(device)


def complete_workload(cell: Cell, module: nn.Module, *, runs: bool) -> Workload:
    """Give a module its inputs, mode and implementation.

    Where nothing `runs`, what is compiled or exported is its source.
    """
    inputs, implementation, trains = _inputs(cell), cell.implementation, cell.mode == "train"
    set_mode(module, trains=trains)
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
    if cell.goes_back_to_inputs:
        inputs = tuple(tensor.requires_grad_() for tensor in inputs)
    return Workload(module=module, inputs=inputs, mode=cell.mode, dtype=cell.dtype)


def _inputs(cell: Cell) -> tuple[Tensor, ...]:
    dtype = number_formats.weights_dtype(cell.dtype)
    return tuple(torch.randn(shape, dtype=dtype) for shape in input_shapes(cell))


def input_shapes(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """Shape of each map or image that a cell's subject is called with; somebody's own block may want tokens."""
    batch, height, width = cell.batch, cell.size.height, cell.size.width
    if not isinstance(cell.subject, OwnModule):
        return tuple((batch, channels, height, width) for channels in input_widths(cell.subject))
    channels = cell.subject.channels
    shapes = {
        "nchw": (batch, channels, height, width),
        "nhwc": (batch, height, width, channels),
        "nlc": (batch, height * width, channels),
    }
    return (shapes[cell.subject.layout],) * cell.subject.inputs


def warm_device(cell: Cell, device: str) -> None:
    """Run the subject once on a tiny map, so that libraries are loaded before anything is read.

    What would be compiled or exported for that map alone is left as its source. In the place of somebody's
    own block, which may be made for one size and batch, a small one of ours runs.
    """
    is_network, is_own = (isinstance(cell.subject, kind) for kind in (NetworkSpec, OwnModule))
    tiny = replace(
        cell,
        subject=WARMING if is_own else cell.subject,
        size=Size(width=65, height=65) if is_network else Size(width=16, height=16),
        implementation="plain" if is_own else SOURCES.get(cell.implementation, cell.implementation),
        batch=2 if cell.mode == "train" else 1,
    )
    make_workload(tiny, device)()


def build_subject(subject: Subject) -> nn.Module:
    """Build a block or a network; what is somebody's own is built by `build_module`, for a size."""
    if isinstance(subject, BlockSpec):
        return build.block(subject)
    assert isinstance(subject, NetworkSpec), "somebody's own module is made for a size"
    return build.network(subject)


def input_widths(subject: Subject) -> tuple[int, ...]:
    """Channels of each map or image that a subject is called with, a fusion block's high-level map first."""
    if isinstance(subject, NetworkSpec):
        return (3,)
    if isinstance(subject, OwnModule):
        return (subject.channels,) * subject.inputs
    return (subject.channels, subject.low_channels) if subject.low_channels else (subject.channels,)
