"""Live tensor storages under dispatch: what stands, what stood at the peak, and who made it."""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.predict.allocator import Event, replay
from bench.predict.fake import Arguments, Keywords, Mode, Overload, operator_name, tensors
from bench.predict.ledger import Context, Step, unchanged
from bench.predict.segments import MIN_BLOCK_BYTES, round_up
from bench.records import LiveTensor, PredictedMemory
from bench.workloads import sum_outputs

# CUDA's kernels of these make a tensor for themselves, as large as their first argument; no dispatch sees it
# (aten/src/ATen/native/cuda/SoftMax.cu, softmax_backward_cuda_out: the gradient times the output).
SCRATCH = frozenset({"aten._softmax_backward_data"})


def rounded(size_bytes: int) -> int:
    """Bytes that PyTorch's CUDA allocator needs for a request, in blocks of 512."""
    return round_up(size_bytes, MIN_BLOCK_BYTES)


class _Storage(NamedTuple):
    """A live storage: how large it is, when and by what it was made, and the tensor that it was made for."""

    reference: weakref.ref[Any]
    size_bytes: int
    place: int  # among all, in the order in which they were made
    event: int  # its name among the allocator's events; the key is another's later
    operator: str | None  # None of one that was there before the call
    module: str
    shape: torch.Size
    dtype: torch.dtype

    def live_tensor(self) -> LiveTensor:
        """The row of a record."""
        return LiveTensor(
            operator=self.operator or "",
            module=self.module,
            shape=tuple(self.shape),
            dtype=str(self.dtype).removeprefix("torch."),
            size_bytes=self.size_bytes,
        )


class Meter(Mode):
    """Follows storages from the operator that makes them to their end.

    A storage counts once, however many views it has, from the end of the operator that made it; the
    workspace inside an operator is invisible. What an operator is given that none has made stood
    from the beginning: a tensor that is a module's plain attribute. Storages are followed by weak
    references, so that nothing lives longer for being watched. `events` is what CUDA's allocator was
    asked for, some operators' scratch included, the call from `call_at` on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = 0
        self.standing_bytes = 0
        self.peak_bytes = 0
        self.peak_operator = ""
        self.parameter_bytes = self.input_bytes = 0
        self.events: list[Event] = []
        self.call_at = -1
        self._place = 0  # of the storage that was made last
        self._peak_place = 0  # and at the peak; none is listed where that is what stood
        self._live: dict[int, _Storage] = {}
        # Of those that are not live any more the ones that were at the peak.
        self._gone: list[_Storage] = []
        self._modules: list[str] = [""]

    def hold(self, tensors: Iterable[Tensor]) -> int:
        """Count tensors that are there before the call; return the bytes that are new."""
        new_bytes = self._add(tensors)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return new_bytes

    def begin(self) -> None:
        """Look for the peak from here on, over the bytes that stand."""
        self.standing_bytes, self.call_at = self.live_bytes, len(self.events)
        self.peak_bytes, self.peak_operator = self.live_bytes, ""
        self._peak_place, self._gone = 0, []

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        """Run the operator and follow the storages that are new in its result."""
        name = operator_name(func)
        if name != "aten.lift_fresh":  # whose tensor the call has just made of numbers
            new_bytes = self._add(tensors((args, kwargs)))
            self.standing_bytes += new_bytes
            self.peak_bytes += new_bytes
        result = func(*args, **kwargs)
        self._add(tensors((result,)), name)
        if name in SCRATCH and args[0].numel():
            scratch = len(self.events)
            self.events += (scratch, rounded(args[0].nbytes)), (scratch, 0)
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_operator = self.live_bytes, name
            self._peak_place, self._gone = self._place, []
        return result

    @property
    def peak_live(self) -> tuple[LiveTensor, ...]:
        """Tensors that operators had made and that were live at the peak, in the order in which they were made."""
        live = (storage for storage in self._live.values() if storage.place <= self._peak_place)
        at_peak = sorted((*self._gone, *live), key=lambda storage: storage.place)
        return tuple(storage.live_tensor() for storage in at_peak if storage.operator is not None)

    def _add(self, tensors: Iterable[Tensor], operator: str | None = None) -> int:
        """Follow the storages of tensors; give the bytes of those that are new."""
        before = self.live_bytes
        for tensor in tensors:
            self._follow_storage(tensor, operator)
        return self.live_bytes - before

    def _follow_storage(self, tensor: Tensor, operator: str | None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001  # the storage itself, whatever object stands for it
        size_bytes = rounded(storage.nbytes())
        if key in self._live or not size_bytes:
            return
        is_backward = torch._C._current_autograd_node() is not None  # noqa: SLF001
        self._place += 1
        event = len(self.events)
        self._live[key] = _Storage(
            reference=weakref.ref(storage, partial(self._drop, key)),
            size_bytes=size_bytes,
            place=self._place,
            event=event,
            operator=operator,
            module="(backward)" if is_backward else self._modules[-1],
            shape=tensor.shape,
            dtype=tensor.dtype,
        )
        self.live_bytes += size_bytes
        stood = operator is None and self.call_at >= 0
        self.events.insert(self.call_at if stood else event, (event, size_bytes))
        self.call_at += stood

    def _drop(self, key: int, _: object) -> None:
        storage = self._live.pop(key)
        self.live_bytes -= storage.size_bytes
        self.events.append((storage.event, 0))
        if storage.place <= self._peak_place:
            self._gone.append(storage)

    @contextmanager
    def attributing(self, module: nn.Module) -> Iterator[None]:
        """Name the module in whose forward pass each operator runs; the outermost one is ``."""

        def enter(name: str, *_: object) -> None:
            self._modules.append(name)

        def leave(*_: object) -> None:
            self._modules.pop()

        with ExitStack() as hooks:
            for name, part in module.named_modules():
                if isinstance(part, torch.jit.ScriptModule):  # which takes no hooks
                    continue
                hooks.enter_context(part.register_forward_pre_hook(partial(enter, name)))
                hooks.enter_context(part.register_forward_hook(leave, always_call=True))
            yield


def predict_memory(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    mode: Step,
    numbers: Context = nullcontext,
    with_allocator: bool = True,
) -> PredictedMemory:
    """Peak of the live tensors in one forward pass, in `train` with the backward pass of the sum.

    It is a call that is not the first: what one forward pass before it made and kept stands, too.
    Parameters, buffers, inputs and other tensors of the module stand from the beginning; saved
    tensors and gradients count. Of a module and inputs that are fake or on `meta` nothing is executed
    or allocated. Mode, buffers and gradients are put back.

    Args:
        module: what is called.
        inputs: with what.
        mode: `eval` or `train`.
        numbers: makes the context of a forward pass; in inference all calls share one, and so what
            autocast has cast, each step of training has its own.
        with_allocator: say what CUDA's allocator makes of it, too.

    Raises:
        ValueError: in `train`, no output depends on a parameter.
    """
    meter = follow_call(module, inputs, mode=mode, numbers=numbers)
    memory = describe_peak(meter)
    return memory.model_copy(update=allocated(meter)) if with_allocator else memory


def follow_call(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    mode: Step,
    numbers: Context = nullcontext,
) -> Meter:
    """Follow what stands, a call before, and the call, as `predict_memory` has it."""
    meter = Meter()

    def forward() -> object:
        with torch.set_grad_enabled(mode == "train"), numbers():
            return module(*inputs)

    with unchanged(module, mode=mode):
        for part in module.modules():  # nearly the order in which they were made
            meter.hold((*part.parameters(recurse=False), *part.buffers(recurse=False)))
        meter.parameter_bytes = meter.live_bytes
        meter.input_bytes = meter.hold(inputs)
        with meter, numbers() if mode == "eval" else nullcontext():
            forward()
            meter.begin()
            with meter.attributing(module):
                outputs = forward()  # kept while going back, as a training loop keeps them
                if mode == "train":
                    sum_outputs(outputs).backward()
    return meter


def describe_peak(meter: Meter) -> PredictedMemory:
    """Say what was alive at the peak."""
    live = tuple(sorted(meter.peak_live, key=lambda tensor: -tensor.size_bytes))
    by_module: Counter[str] = Counter()
    for tensor in live:
        by_module[tensor.module] += tensor.size_bytes
    return PredictedMemory(
        peak_bytes=meter.peak_bytes,
        increment_bytes=meter.peak_bytes - meter.standing_bytes,
        input_bytes=meter.input_bytes,
        parameter_bytes=meter.parameter_bytes,
        peak_operator=meter.peak_operator,
        live=live,
        by_module=dict(by_module),
    )


def allocated(meter: Meter) -> dict[str, int]:
    """What the allocator hands out and reserves for a call, with segments of each kind."""
    usual, expandable = (
        replay(meter.events, meter.call_at, expandable=kind) for kind in (False, True)
    )
    return {
        "allocated_bytes": usual.allocated_bytes,
        "reserved_bytes": usual.reserved_bytes,
        "expandable_reserved_bytes": expandable.reserved_bytes,
    }
