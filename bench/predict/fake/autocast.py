"""CUDA's autocast by torch's own rules, on tensors that are on no GPU.

Autocast casts tensors on a GPU alone, but autograd asks the driver for the streams of one. So in a region of
autocast autograd is off, what has been cast comes to a mode, and from there goes on to autograd as on meta.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import autocast
from torch.utils._python_dispatch import TorchDispatchMode

Arguments = tuple[Any, ...]

META, CPU = torch.device("meta"), torch.device("cpu")
KEYS = torch._C.DispatchKey  # noqa: SLF001  # torch's dispatcher has no public interface
exclude = torch._C._SetExcludeDispatchKeyGuard  # noqa: SLF001
SDPA = torch.ops.aten.scaled_dot_product_attention.default
# What C++ dispatches to learn the device of a tensor; nothing runs.
ASK_DEVICE = torch.ops.prim.device.default


class Mode(TorchDispatchMode):
    """A mode that does not import torch's compiler."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch 2.15 would, seconds, to keep the compiler out of the modes' own method.
        return False


@dataclass(slots=True)
class _State:
    casting: bool = False  # autocast is on
    parts_are_cast: bool = False  # it has cast what goes into the composite operator that runs
    cast: bool = False  # it has cast what goes into the operator that autograd is given


_state = _State()


@contextmanager
def _during(**changes: bool) -> Iterator[None]:
    before = {name: getattr(_state, name) for name in changes}
    for name, value in changes.items():
        setattr(_state, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_state, name, value)


def device_for_cpp(tensor: Tensor) -> torch.device:
    """Where torch's C++ takes a fake tensor to be: one of a GPU is there when autocast asks, with itself off."""
    asks = _state.casting and not _state.cast and not torch.is_autocast_enabled("cuda")
    return tensor.device if asks or tensor.device == CPU else META


class _CastFirst(Mode):
    """Gives autograd what autocast has cast."""

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        del types
        given = dict(kwargs or {})
        if func is ASK_DEVICE:
            return device_for_cpp(args[0])
        if _state.cast:
            return func(*args, **given)
        if func is not SDPA and _has_kernel(func, KEYS.CompositeImplicitAutograd):
            return self._decompose(func, args, given)
        with (
            exclude(KEYS.AutogradFunctionality, False),  # noqa: FBT003
            exclude(KEYS.ADInplaceOrView, False),  # noqa: FBT003
            exclude(KEYS.AutocastCUDA, True),  # noqa: FBT003
            _during(cast=True),
        ):
            return func(*args, **given)

    def _decompose(self, func: Any, args: Arguments, kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Run a composite operator, whose parts are cast unless it has been; modes are entered with autocast off."""
        is_cast = _state.parts_are_cast or _has_kernel(func, KEYS.AutocastCUDA)
        is_off = is_cast or not _state.casting
        with self, exclude(KEYS.AutocastCUDA, is_off), _during(parts_are_cast=is_cast):
            return func._op_dk(KEYS.CompositeImplicitAutograd, *args, **kwargs)  # noqa: SLF001


@cache
def _has_kernel(func: Any, key: Any) -> bool:  # noqa: ANN401
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)  # noqa: SLF001


@contextmanager
def _region(*, enabled: bool) -> Iterator[None]:
    with ExitStack() as stack:
        if enabled and not _state.casting:
            stack.enter_context(exclude(KEYS.AutogradFunctionality, True))  # noqa: FBT003
            stack.enter_context(exclude(KEYS.ADInplaceOrView, True))  # noqa: FBT003
            stack.enter_context(_CastFirst())
        stack.enter_context(_during(casting=enabled))
        yield


@contextmanager
def without_gpu() -> Iterator[None]:
    """Have `torch.autocast("cuda")` cast fake tensors, with a GPU or without; torch would turn it off."""
    enter, leave = autocast.__enter__, autocast.__exit__
    regions: list[ExitStack] = []

    def entering(self: autocast) -> Any:  # noqa: ANN401
        regions.append(ExitStack())
        if self.device == "cuda":
            regions[-1].enter_context(_region(enabled=self._enabled))
        return enter(self)  # type: ignore[no-untyped-call]  # torch's

    def leaving(self: autocast, *error: Any) -> Any:  # noqa: ANN401
        regions.pop().close()
        return leave(self, *error)

    with (
        _replaced(autocast, "__enter__", entering),
        _replaced(autocast, "__exit__", leaving),
        _replaced(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        _replaced(torch.cuda, "is_bf16_supported", lambda *_: True),
    ):
        yield


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
