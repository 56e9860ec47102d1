"""Views that are changed in place, whose way back is another one for tensors that hold values.

Of those autograd keeps a changed view by its strides, and lays its gradient into zeros of the base's size
(torch/csrc/autograd/FunctionsManual.cpp, `as_strided_backward`). Of what Python dispatches it keeps the views'
own functions, which need no such zeros.
"""

from functools import cache, partial
from weakref import ref

import torch
from torch import Tensor

from bench.predict.fake import calls
from bench.predict.fake.autocast import KEYS, Arguments, Overload, exclude

# Views by their places in memory, until they are used.
_changed: dict[int, ref[Tensor]] = {}


def note_changes(func: Overload, args: Arguments) -> None:
    """Remember the view that an operator has changed in place."""
    if torch.is_grad_enabled() and _is_in_place(func):
        for view in calls.tensors(args[:1]):
            if view._is_view():  # noqa: SLF001  # torch has no public name for it
                _changed[id(view)] = ref(view)


@cache
def _is_in_place(func: Overload) -> bool:
    arguments = func._schema.arguments  # noqa: SLF001
    alias = arguments[0].alias_info if arguments else None
    return alias is not None and alias.is_write and func.namespace == "aten"


def follow_changes(args: Arguments) -> None:
    """Give views that were changed the way back that they had with values, when an operator is given them.

    Not before: their history is looked up anew then, and nobody else may ask for it meanwhile.
    """
    for view in calls.tensors(args) if _changed else ():
        noted = _changed.pop(id(view), None)
        if noted is None or noted() is not view:
            continue
        # An operator comes here below autograd, where the history could not be looked up.
        with (
            exclude(KEYS.AutogradFunctionality, False),  # noqa: FBT003
            exclude(KEYS.ADInplaceOrView, False),  # noqa: FBT003
        ):
            base = view._base  # noqa: SLF001
            if base is not None and base.dtype == view.dtype and view.requires_grad:
                view.register_hook(partial(_lay_by_strides, *_places(view, base)))


def forget() -> None:
    """Forget the views that nobody has used."""
    _changed.clear()


def _places(view: Tensor, base: Tensor) -> tuple[int, tuple[int, ...], int]:
    """How many elements the base spans, and where among them the view's are: strides and offset."""
    steps = zip(base.shape, base.stride(), strict=True)
    spanned = 1 + sum((size - 1) * stride for size, stride in steps)
    return spanned, view.stride(), int(view.storage_offset() - base.storage_offset())


def _lay_by_strides(
    spanned: int, strides: tuple[int, ...], offset: int, gradient: Tensor
) -> Tensor:
    zeros = gradient.new_zeros(spanned)
    return zeros.as_strided(gradient.shape, strides, offset).copy_(gradient)
