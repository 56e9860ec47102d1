"""Fake tensors: type, shape, layout and device of what would be computed, but no values and no memory.

torch dispatches on the device that is faked, which need not be there: autocast's casts are its own, and on a
processor the choice of an attention kernel is; on CUDA that is `attention_kernels.attend`. torch's FakeTensorMode
is not used: it takes two seconds to import, and can't go back on a GPU that is not there (torch 2.11 and 2.15).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from bench.predict.fake import attention_kernels, autocast, calls, results, shapes, unwatched, views
from bench.predict.fake.autocast import CPU, META, Arguments, Keywords, Mode, Overload

Device = Literal["cpu", "cuda"]

# Tensors of up to so many elements that no fake one goes into are computed: somebody may read them.
LARGEST_COMPUTED = 4096

# Computes again, inside a `with` block in one in which tensors are fake.
off = _disable_current_modes


class FakeTensor(Tensor):
    """A tensor that is dispatched as if it were on a device, and has a meta tensor for its elements."""

    elements: Tensor
    _faked: torch.device
    __module__ = "torch"  # by which others choose what computes with it (opt_einsum)
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # noqa: SLF001

    def __new__(cls, elements: Tensor, device: torch.device) -> Self:
        """Share the storage of a meta tensor."""
        tensor: Self = Tensor._make_subclass(  # noqa: SLF001
            cls, elements, dispatch_device=True, device_for_backend_keys=device
        )
        tensor.elements, tensor._faked = elements, device
        return tensor

    def __init__(self, *_: object) -> None:
        """Take what `__new__` takes."""

    device = property(lambda self: self._faked)
    is_cpu = property(lambda self: self.device.type == "cpu")
    is_cuda = property(lambda self: self.device.type == "cuda")
    is_meta = property(lambda _: False)

    @property
    def held(self) -> int | None:
        """Elements that a sparse tensor held, which is faked as a dense one, as its views are; None of a dense one."""
        storage = self.untyped_storage()
        return _stored_counts.get(storage._cdata, (None, None))[1]  # noqa: SLF001  # the only name that it has

    @property
    def data(self) -> Tensor:
        """The tensor without its history; a module that converts its weights sets it."""
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.elements = _elements(other, keep_numbers=False)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        """Convert; the tensor's own device is where it is, though C++ takes a GPU's to be on meta."""
        args, kwargs = tree_map(self._elsewhere, (args, kwargs))
        return super().to(*args, **kwargs)

    def _elsewhere(self, value: Any) -> Any:  # noqa: ANN401
        is_device = isinstance(value, str | torch.device)
        is_here = is_device and _indexed(torch.device(value)) == self.device != CPU
        return META if is_here else value

    def keep(self, make: Callable[..., Tensor], arguments: Arguments) -> "FakeTensor":
        """What a module makes once for each device and keeps (`ann.sampling.constant`)."""
        key = (make, arguments, self.device)
        if key not in _kept:
            with off():
                _kept[key] = FakeTensor(make(*arguments, device=META), self.device)
        return _kept[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> "FakeTensor":
        """Copy the tensor, and whether it is a parameter."""
        if id(self) not in memo:
            with off():
                copied = FakeTensor(_shape_of(self), self.device)
            copied.__dict__.update({**vars(self), "elements": copied.elements})
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        other: FakeTensor = memo[id(self)]
        return other

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Overload,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Keywords | None = None,
    ) -> Any:  # noqa: ANN401
        """Follow the operator where no mode is on."""
        if func is autocast.ASK_DEVICE:
            return autocast.device_for_cpp(args[0])
        if any(map(autocast.is_made_of_others, types)):
            return NotImplemented
        return _follow(func, args, dict(kwargs or {}))


_kept: dict[Any, FakeTensor] = {}
# By the storage of a fake, which is kept so that no other gets its place.
_stored_counts: dict[int, tuple[FakeTensor | None, int | None]] = {}


class _Fakes(Mode):
    device_of = staticmethod(autocast.device_for_cpp)
    shape_env = None  # which torch asks of the mode with this key: no side is unknown

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        # So torch asks no driver for a GPU, and other modes see each operator first.
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE  # noqa: SLF001

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        if kwargs.get("device") == META:  # as C++ takes a GPU's tensors to be
            kwargs["device"] = self.device
        views.follow_changes(args)
        result = _follow(func, args, kwargs)
        views.note_changes(func, args)
        return result


def _follow(func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
    """Give what an operator would return."""
    key, inside = calls.describe(func, args, kwargs)
    fakes = [tensor for tensor in inside if isinstance(tensor, FakeTensor)]
    is_described = len(fakes) == len(inside)  # other tensors have values
    if is_described and (known := results.recall(key)):
        return _made(*known, fakes)
    if not fakes and _is_computed(func, args, kwargs):
        return func(*args, **kwargs)
    if torch.Tag.inplace_view in func.tags:
        return _reshape_in_place(func, args, kwargs)
    others = (fake.device for fake in fakes if fake.device != CPU)
    device = _indexed(kwargs.get("device") or next(others, CPU))
    changed = {id(fake.elements): fake for fake in fakes}

    def faked(leaf: Any) -> Any:  # noqa: ANN401
        is_new = isinstance(leaf, Tensor) and id(leaf) not in changed
        return FakeTensor(leaf, device) if is_new else changed.get(id(leaf), leaf)

    shaped = _shaped(func, args, kwargs, on_cpu=device == CPU)
    if key and is_described and _is_repeatable(func, fakes):
        results.remember(key, shaped, [fake.elements for fake in fakes], device)
    return tree_map(faked, shaped)


def _is_repeatable(func: Overload, fakes: Sequence[FakeTensor]) -> bool:
    """Whether its kernel gives the same again: somebody's own may do what it likes, a composite one choose anew."""
    is_resized = any(fake.elements.shape != fake.shape for fake in fakes)  # by an `out`
    is_plain = func.namespace == "aten" and not autocast.is_composite(func)
    return is_plain and not is_resized


def _made(plan: results.Plan, device: torch.device, fakes: Sequence[FakeTensor]) -> Any:  # noqa: ANN401
    """Make the result of a call that is known."""
    match plan:
        case results.Given():
            return fakes[plan.place]
        case results.Layout():
            base = None if plan.base is None else fakes[plan.base].elements
            return FakeTensor(plan.made(base), device)
        case tuple() | list():
            return type(plan)(_made(part, device, fakes) for part in plan)
    return plan


def _is_computed(func: Overload, args: Arguments, kwargs: Keywords) -> bool:
    """Whether a call that nothing fake goes into, and that is not for another device, is small."""
    if kwargs.get("device") not in (None, CPU):
        return False
    if func._schema.is_mutable:  # noqa: SLF001
        return True
    try:
        results = tree_leaves(_shaped(func, args, kwargs))
    except RuntimeError:  # since the result depends on values; or it is wrong, which is said then
        return True
    return all(leaf.numel() <= LARGEST_COMPUTED for leaf in results if isinstance(leaf, Tensor))


def _reshape_in_place(func: Overload, args: Arguments, kwargs: Keywords) -> Tensor:
    tensor: FakeTensor = args[0]
    with torch._C._DisableTorchDispatch():  # noqa: SLF001
        func(*args, **kwargs)
    layout = (tensor.storage_offset(), tensor.shape, tensor.stride())
    tensor.elements = torch.empty(0, dtype=tensor.dtype, device=META)
    tensor.elements.set_(tensor.untyped_storage(), *layout)
    return tensor


def _shaped(func: Overload, args: Arguments, kwargs: Keywords, *, on_cpu: bool = False) -> Any:  # noqa: ANN401
    """Run the operator's kernel for meta tensors."""
    leaves = tree_leaves((args, kwargs))
    # Numbers are tensors without axes, and do not decide the type of the result.
    # Those that are put together with others are looked at like them.
    is_joined = any(isinstance(each, list) and calls.tensors(each) for each in args)
    has_numbers = not is_joined and any(isinstance(leaf, FakeTensor) for leaf in leaves)
    args, kwargs = tree_map(partial(_elements, keep_numbers=has_numbers), (args, dict(kwargs)))
    if any(argument.name == "device" for argument in func._schema.arguments):  # noqa: SLF001
        kwargs["device"] = META
    kwargs.pop("pin_memory", None)
    return shapes.shaped(func, args, kwargs, on_cpu=on_cpu)


def _elements(leaf: Any, *, keep_numbers: bool) -> Any:  # noqa: ANN401
    """The meta tensor that has a tensor's shape."""
    if isinstance(leaf, FakeTensor):
        return leaf.elements
    if not isinstance(leaf, Tensor) or leaf.is_meta or (keep_numbers and not leaf.dim()):
        return leaf
    return _shape_of(leaf)


def _shape_of(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def _indexed(device: torch.device) -> torch.device:
    return torch.device("cuda", 0) if device.type == "cuda" else device


@contextmanager
def on(device: Device, *, gpu: attention_kernels.GpuRules | None = None) -> Iterator[None]:
    """Follow what is called, on fake tensors of the device whose rules hold.

    On `cuda` an attention kernel is chosen by the rules of `gpu`, if None by those of `GpuRules.meant`.
    """
    with ExitStack() as stack:
        stack.callback(_kept.clear)
        stack.callback(views.forget)
        stack.enter_context(unwatched.adding_in_place())
        stack.enter_context(unwatched.uncompiled())
        stack.callback(_stored_counts.clear)
        if device == "cuda":
            # `torch.tensor` copies its numbers to a GPU unseen, unless it leaves that to the dispatcher.
            before = torch._C._only_lift_cpu_tensors()  # noqa: SLF001
            stack.callback(torch._C._set_only_lift_cpu_tensors, before)  # noqa: SLF001
            torch._C._set_only_lift_cpu_tensors(True)  # noqa: FBT003, SLF001
            stack.enter_context(autocast.without_gpu())
            rules = gpu or attention_kernels.GpuRules.meant()
            stack.enter_context(attention_kernels.choosing(rules))
        stack.enter_context(_Fakes(_indexed(torch.device(device))))
        yield


def as_fake(tensor: Tensor, device: Device) -> Tensor:
    """A fake tensor like this one, or this one if it is fake, or a single number that a module may read."""
    is_number = not tensor.dim() and not isinstance(tensor, nn.Parameter)  # a counter of calls
    if isinstance(tensor, FakeTensor) or is_number:
        return tensor
    with off():
        fake = FakeTensor(_shape_of(tensor), _indexed(torch.device(device)))
        if tensor.layout != torch.strided:
            coordinates = tensor.layout == torch.sparse_coo
            values = tensor._values() if coordinates else tensor.values()  # noqa: SLF001
            _stored_counts[fake.untyped_storage()._cdata] = (fake, values.numel())  # noqa: SLF001
        return fake


def replace_tensors(module: nn.Module, make: Callable[[Tensor], Tensor]) -> nn.Module:
    """Put another tensor in place of each of a module's, plain attributes included; those shared stay so."""
    pairs: dict[int, tuple[Tensor, Tensor]] = {}  # an id is one tensor's as long as that is kept

    def replaced(leaf: Any) -> Any:  # noqa: ANN401
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) not in pairs:
            other = make(leaf)
            if isinstance(leaf, nn.Parameter) and other is not leaf:
                other = nn.Parameter(other, requires_grad=leaf.requires_grad)
            pairs[id(leaf)] = (leaf, other)
        return pairs[id(leaf)][1]

    for part in module.modules():
        for name, value in vars(part).items():
            if any(isinstance(leaf, Tensor) for leaf in tree_leaves(value)):
                vars(part)[name] = tree_map(replaced, value)
    return module
