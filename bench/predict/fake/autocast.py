"""CUDA's autocast by torch's own rules, on tensors that are on no GPU.

Autocast casts tensors on a GPU alone, but autograd asks the driver for the streams of one. So in a region of
autocast autograd is off, what has been cast comes to a mode, and from there goes on to autograd as on meta.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.amp.autocast_mode import autocast
from torch.utils._python_dispatch import TorchDispatchMode

from ann.spec import UnavailableError
from bench.predict.fake import unwatched

Overload: TypeAlias = Any  # an OpOverload, whose class is private
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]

META, CPU = torch.device("meta"), torch.device("cpu")
KEYS = torch._C.DispatchKey  # noqa: SLF001  # torch's dispatcher has no public interface
exclude = torch._C._SetExcludeDispatchKeyGuard  # noqa: SLF001
SDPA = torch.ops.aten.scaled_dot_product_attention.default
# What C++ dispatches to learn the device of a tensor; nothing runs.
ASK_DEVICE = torch.ops.prim.device.default


class Mode(TorchDispatchMode):
    """A mode that does not import torch's compiler; it gives each operator to `follow`, and C++ a tensor's device."""

    device_of: Callable[[Tensor], torch.device] = ASK_DEVICE
    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch 2.15 would, seconds, to keep the compiler out of the modes' own method.
        return False

    def __torch_dispatch__(
        self,
        func: Overload,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> Any:  # noqa: ANN401
        if func is ASK_DEVICE:
            return self.device_of(args[0])
        if any(map(is_made_of_others, types)):
            _require_streams(args)
            return NotImplemented  # then it says what is done with those
        if isinstance(func, HigherOrderOperator):  # it is given functions, as flex_attention is
            return self.follow_parts(func, args, dict(kwargs or {}))
        return self.follow(func, args, dict(kwargs or {}))

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        """Do what an operator does; what else or instead, each mode says."""
        return func(*args, **kwargs)

    def follow_parts(self, func: HigherOrderOperator, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        """Follow the operators of which one that is given functions is made."""
        with self:
            return carry_out(func, args, kwargs)


class _ByParts(Mode):
    """Carries out composite operators by their parts where nobody else does, below autograd."""

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        if not is_composite(func) or _has_kernel(func, KEYS.CPU):
            return func(*args, **kwargs)
        with self:
            return func.decompose(*args, **kwargs)


@cache
def is_made_of_others(kind: type) -> bool:
    """Whether tensors of a type are made of other tensors, as nested ones are."""
    return hasattr(kind, "__tensor_flatten__")


def _require_streams(args: Arguments) -> None:
    """Refuse to go back through nested tensors of a GPU that is not there.

    Autograd asks the driver for their stream, and without one ends the process.
    """
    on_gpu = any(isinstance(item, Tensor) and item.device.type == "cuda" for item in args)
    if on_gpu and torch.is_grad_enabled() and not torch.cuda.is_available():
        msg = "training of nested tensors can't be predicted for a GPU; pass --device cpu, or --mode eval"
        raise UnavailableError(msg)


def carry_out(func: HigherOrderOperator, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
    """Do what an operator that is given functions does where nothing is compiled."""
    with _ByParts():
        return func.py_kernels[KEYS.CompositeExplicitAutograd](*args, **kwargs)


@dataclass(slots=True)
class _State:
    casting: bool = False  # autocast is on
    parts_are_cast: bool = False  # it has cast what goes into the composite operator that runs
    cast: bool = False  # it has cast what goes into the operator that autograd is given


_state = _State()


@contextmanager
def _replaced(owner: object, **values: object) -> Iterator[None]:
    """Give an object other attributes inside a `with` block."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def device_for_cpp(tensor: Tensor) -> torch.device:
    """Where torch's C++ takes a fake tensor to be: one of a GPU is there when autocast asks, with itself off."""
    asks = _state.casting and not _state.cast and not torch.is_autocast_enabled("cuda")
    return tensor.device if asks or tensor.device == CPU else META


class _CastFirst(Mode):
    """Gives autograd what autocast has cast."""

    device_of = staticmethod(device_for_cpp)

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        if _state.cast:
            return func(*args, **kwargs)
        if func is not SDPA and is_composite(func):
            # Its parts are cast unless it has been; modes are entered with autocast off.
            is_cast = _state.parts_are_cast or _has_kernel(func, KEYS.AutocastCUDA)
            is_off = exclude(KEYS.AutocastCUDA, is_cast or not _state.casting)
            with self, is_off, _replaced(_state, parts_are_cast=is_cast):
                if func is unwatched.LINEAR:
                    return unwatched.carry_out_linear(*args, **kwargs)
                return func._op_dk(KEYS.CompositeImplicitAutograd, *args, **kwargs)  # noqa: SLF001
        with (
            exclude(KEYS.AutogradFunctionality, False),  # noqa: FBT003
            exclude(KEYS.ADInplaceOrView, False),  # noqa: FBT003
            exclude(KEYS.AutocastCUDA, True),  # noqa: FBT003
            _replaced(_state, cast=True),
        ):
            return func(*args, **kwargs)


def is_composite(func: Overload) -> bool:
    """Whether an operator is made of others, however autograd is."""
    return _has_kernel(func, KEYS.CompositeImplicitAutograd)


@cache
def _has_kernel(func: Overload, key: torch._C.DispatchKey) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)  # noqa: SLF001


@contextmanager
def without_gpu() -> Iterator[None]:
    """Have `torch.autocast("cuda")` cast fake tensors, with a GPU or without; torch would turn it off."""
    enter, leave = autocast.__enter__, autocast.__exit__
    regions: list[ExitStack] = []

    def entering(self: autocast) -> Any:  # noqa: ANN401
        region = ExitStack()
        regions.append(region)
        if self.device == "cuda":
            if self._enabled and not _state.casting:
                region.enter_context(exclude(KEYS.AutogradFunctionality, True))  # noqa: FBT003
                region.enter_context(exclude(KEYS.ADInplaceOrView, True))  # noqa: FBT003
                region.enter_context(_CastFirst())
            region.enter_context(_replaced(_state, casting=self._enabled))
        return enter(self)  # type: ignore[no-untyped-call]  # torch's

    def leaving(self: autocast, *error: Any) -> Any:  # noqa: ANN401
        regions.pop().close()
        return leave(self, *error)

    with (
        _replaced(autocast, __enter__=entering, __exit__=leaving),
        _replaced(torch.cuda.amp.common, amp_definitely_not_available=lambda: False),
        _replaced(torch.cuda, is_bf16_supported=lambda *_: True),
    ):
        yield
