"""Live tensor storages under dispatch: what stands, what stood at the peak, and who made it."""

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from bench.predict.fake import Arguments, Keywords, Mode, Overload
from bench.predict.ledger import Context, Step, unchanged
from bench.records import LiveTensor, PredictedMemory
from bench.workloads import sum_outputs


def rounded(size_bytes: int) -> int:
    """Bytes that PyTorch's CUDA allocator hands out for a request, in blocks of 512."""
    return -(-size_bytes // 512) * 512


class Meter(Mode):
    """Follows storages from the operator that makes them to their end.

    A storage counts once, however many views it has, from the end of the operator that made it; the
    workspace inside an operator is invisible. What an operator is given that none has made stood
    from the beginning: a tensor that is a module's plain attribute. Storages are followed by weak
    references, so that nothing lives longer for being watched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = 0
        self.standing_bytes = 0
        self.peak_bytes = 0
        self.peak_operator = ""
        self.peak_live: tuple[LiveTensor, ...] = ()
        self._live: dict[int, tuple[weakref.ref[Any], LiveTensor | None, int]] = {}
        self._modules: list[str] = [""]

    def hold(self, tensors: Iterable[Tensor]) -> int:
        """Count tensors that are there before the call; return the bytes that are new."""
        new_bytes = self._add(tensors)
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        return new_bytes

    def begin(self) -> None:
        """Look for the peak from here on, over the bytes that stand."""
        self.standing_bytes = self.live_bytes
        self.peak_bytes, self.peak_operator, self.peak_live = self.live_bytes, "", ()

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        """Run the operator and follow the storages that are new in its result."""
        name = str(func.overloadpacket)
        if name != "aten.lift_fresh":  # whose tensor the call has just made of numbers
            new_bytes = self._add(tree_leaves((args, kwargs)))
            self.standing_bytes += new_bytes
            self.peak_bytes += new_bytes
        result = func(*args, **kwargs)
        self._add(tree_leaves(result), name)
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_operator = self.live_bytes, name
            entries = (entry for _, entry, _ in self._live.values() if entry is not None)
            self.peak_live = tuple(entries)
        return result

    def _add(self, leaves: Iterable[object], operator: str | None = None) -> int:
        """Follow the storages of tensors; give the bytes of those that are new."""
        before = self.live_bytes
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                self._follow_storage(leaf, operator)
        return self.live_bytes - before

    def _follow_storage(self, tensor: Tensor, operator: str | None) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata  # noqa: SLF001  # the storage itself, whatever object stands for it
        size_bytes = rounded(storage.nbytes())
        if key in self._live or not size_bytes:
            return
        entry = None
        if operator is not None:
            is_backward = torch._C._current_autograd_node() is not None  # noqa: SLF001
            entry = LiveTensor(
                operator=operator,
                module="(backward)" if is_backward else self._modules[-1],
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                size_bytes=size_bytes,
            )
        reference = weakref.ref(storage, partial(self._drop, key))
        self._live[key] = (reference, entry, size_bytes)
        self.live_bytes += size_bytes

    def _drop(self, key: int, _: object) -> None:
        self.live_bytes -= self._live.pop(key)[2]

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

    Raises:
        ValueError: in `train`, no output depends on a parameter.
    """
    meter = Meter()

    def forward() -> object:
        with torch.set_grad_enabled(mode == "train"), numbers():
            return module(*inputs)

    with unchanged(module, mode=mode):
        parameter_bytes = meter.hold([*module.parameters(), *module.buffers()])
        input_bytes = meter.hold(inputs)
        with meter, numbers() if mode == "eval" else nullcontext():
            forward()
            meter.begin()
            with meter.attributing(module):
                outputs = forward()  # kept while going back, as a training loop keeps them
                if mode == "train":
                    sum_outputs(outputs).backward()
    live = tuple(sorted(meter.peak_live, key=lambda tensor: -tensor.size_bytes))
    by_module: Counter[str] = Counter()
    for tensor in live:
        by_module[tensor.module] += tensor.size_bytes
    return PredictedMemory(
        peak_bytes=meter.peak_bytes,
        increment_bytes=meter.peak_bytes - meter.standing_bytes,
        input_bytes=input_bytes,
        parameter_bytes=parameter_bytes,
        peak_operator=meter.peak_operator,
        live=live,
        by_module=dict(by_module),
    )
