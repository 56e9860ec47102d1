"""The ledger: operations of one call, read from its dispatched operators; of fake tensors nothing is executed.

Every operator that ran stands in the ledger with the bytes that it touched: counted by a formula,
free because it only moves or names data, or uncounted. Recomputation, as in activation
checkpointing, is executed and so is counted: these are executed operations, not a model's.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.predict import formulas
from bench.predict.fake import (
    Arguments,
    FakeTensor,
    Keywords,
    Mode,
    Overload,
    carry_out,
    describe,
    masked_pairs,
    operator_name,
    tensors,
)
from bench.predict.shapes import shapes_of
from bench.records import Alike, Counts, Operator
from bench.workloads import NOTHING_TO_TRAIN, set_mode, tensor_leaves

Step = Literal["eval", "train"]
Context = Callable[[], AbstractContextManager[object]]
# MACs of a call by another counter, from the operator, what it was given and what came; None if it has no formula.
SecondCount = Callable[[Overload, Arguments, Keywords, object], int | None]

# The tensor that these pick from or put into is touched at those places alone.
PICKS = frozenset(("index", "index_select", "gather", "embedding", "masked_select"))
PUTS = frozenset(("index_put", "_index_put_impl", "index_add", "scatter_add", "index_copy"))


class Ledger(Mode):
    """Counts the operators that are dispatched inside a `with` block."""

    def __init__(self, second: SecondCount | None = None) -> None:
        """With `second`, another counter's formula is asked of each operator, too."""
        super().__init__()
        self._second = second
        self._calls: Counter[_Entry] = Counter()
        self._entries: dict[Hashable, _Entry] = {}  # of calls by their description

    def follow(self, func: Overload, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        """Run the operator and enter it; composite ones (inference mode leaves them whole) by parts."""
        name = operator_name(func)
        if not formulas.find_formula(name) and not formulas.is_free(name):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        key = describe(func, args, kwargs, result).key
        entry = self._entries.get(key) if key is not None else None
        if entry is None:
            call = formulas.Call.of(func, args, kwargs, result)
            entry = _enter(call, self._second and self._second(func, args, kwargs, result))
            if key is not None and not formulas.depends_on_values(call):
                self._entries[key] = entry
        self._calls[entry] += 1
        return result

    def follow_parts(self, func: Any, args: Arguments, kwargs: Keywords) -> Any:  # noqa: ANN401
        """Enter attention with a mask of blocks by the blocks that a kernel computes, other such operators by parts."""
        name = func.name()
        pairs = masked_pairs(name, args)
        if pairs is None:
            return super().follow_parts(func, args, kwargs)
        result = carry_out(func, args, kwargs)
        given = dict(zip(("query", "key", "value"), args, strict=False))
        self._calls[_enter(formulas.Call(name, given | {"pairs": pairs}, result), None)] += 1
        return result

    def clear(self) -> None:
        """Forget what was entered."""
        self._calls.clear()

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Rows of the ledger, the heaviest first."""
        rows: dict[tuple[str, str], Counter[_Entry]] = {}
        for entry, count in self._calls.items():
            rows.setdefault((entry.name, entry.status), Counter())[entry] += count
        operators = (_operator(name, status, calls) for (name, status), calls in rows.items())
        return tuple(sorted(operators, key=lambda row: (-row.flops, -row.moved_bytes, row.name)))


@dataclass(frozen=True, eq=False, slots=True)
class _Entry:
    """What the ledger has of calls that are alike."""

    name: str
    status: str
    alike: Alike
    second: int | None  # MACs by another counter


def _enter(call: formulas.Call, second: int | None) -> _Entry:
    work = formulas.work_of(call)
    status = "counted" if work else "free" if formulas.is_free(call.name) else "uncounted"
    work = work or formulas.Work()
    alike = Alike(
        calls=1,
        macs=work.macs,
        flops=work.flops,
        moved_bytes=moved_bytes(call),
        dtype=operand_format(call),
        **(shapes_of(call) | ({"products": work.products} if work.products else {})),
    )
    return _Entry(call.name, status, alike, second)


def _operator(name: str, status: str, entries: Counter[_Entry]) -> Operator:
    calls = Counter[Alike]()
    for entry, count in entries.items():
        calls[entry.alike] += count
    alike = tuple(
        entry.model_copy(update={"calls": count})
        for entry, count in calls.items()
        if entry.flops or entry.moved_bytes
    )
    seconds = [entry.second * count for entry, count in entries.items() if entry.second is not None]
    return Operator(
        name=name,
        status=status,  # type: ignore[arg-type]  # checked by pydantic
        calls=calls.total(),
        macs=sum(row.calls * row.macs for row in alike),
        flops=sum(row.calls * row.flops for row in alike),
        moved_bytes=sum(row.calls * row.moved_bytes for row in alike),
        torch_macs=sum(seconds) if seconds else None,
        alike=alike,
    )


def moved_bytes(call: formulas.Call) -> int:
    """Bytes that a call reads from memory and writes to it, had it no cache.

    Each tensor counts once, and twice what is changed in place. Views and tensors that are only made
    room for cost nothing; what picks places counts what it picks, and an expanded tensor counts what
    lies under it.
    """
    name = formulas.short_name(call.name)
    if name in formulas.VIEWS or "empty" in name:
        return 0
    operands, results = tensors(call.arguments.values()), tensors((call.result,))
    target = call.arguments.get("self", call.arguments.get("weight"))
    others = [item for item in operands if item is not target]
    if name in PICKS:
        return sum(map(_bytes, others)) + 2 * sum(map(_bytes, results))
    in_place = any(item is target for item in results)
    if name in PUTS and in_place:
        # Read what is put, read and write where it goes.
        return sum(map(_bytes, others)) + 2 * max(map(_bytes, others), default=0)
    each = {id(item): item for item in (*operands, *results)}.values()
    is_read_too = in_place and name not in formulas.MOVES
    return sum(map(_bytes, each)) + (_bytes(target) if is_read_too else 0)


def operand_format(call: formulas.Call) -> str:
    """Number format of the first operand that has one, of our kernels their weight's; float32 where none has."""
    first = call.arguments.get("weight") if call.name in formulas.OURS else None
    operands = tensors((first, *call.arguments.values()))
    formats = (str(item.dtype) for item in operands if item.is_floating_point())
    return next(formats, "float32").removeprefix("torch.")


def _bytes(tensor: Tensor) -> int:
    if formulas.is_sparse(tensor):
        return formulas.stored(tensor) * tensor.element_size()
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    return prod(size for size, stride in sides if stride or not size) * tensor.element_size()


def count(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    mode: Step,
    first: bool = True,
    numbers: Context = nullcontext,
    second: SecondCount | None = None,
) -> Counts:
    """Count one forward pass, in `train` with the backward pass of its outputs' sum.

    The module is as before afterwards: mode, running statistics and gradients. On meta and fake
    tensors nothing is executed. Inputs have a gradient only if they ask for one. `numbers` makes the
    context of a forward pass, autocast's or one that does nothing. One that is not the `first` comes after a
    forward pass: what that made once is there, and in inference what autocast has cast. A `second` counter is
    asked of the same call.

    Raises:
        ValueError: in `train`, no output depends on a parameter.
    """
    ledger = Ledger(second)
    with unchanged(module, mode=mode), ledger, numbers() if mode == "eval" else nullcontext():
        if not first:
            with torch.set_grad_enabled(mode == "train"), numbers():
                module(*inputs)
            ledger.clear()
        run(module, inputs, mode=mode, numbers=numbers)
    operators = ledger.operators
    return Counts(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        buffers=sum(buffer.numel() for buffer in module.buffers()),
        macs=sum(row.macs for row in operators),
        flops=sum(row.flops for row in operators),
        ledger=operators,
    )


def run(module: nn.Module, inputs: tuple[Tensor, ...], *, mode: Step, numbers: Context) -> None:
    """Call once; in `train`, go back from gradients of one, which is the backward pass of the sum."""
    with torch.set_grad_enabled(mode == "train"), numbers():
        outputs = tensor_leaves(module(*inputs)).values()
    if mode == "eval":
        return
    starts = [output for output in outputs if output.requires_grad]
    if not starts:
        raise ValueError(NOTHING_TO_TRAIN)
    ones = [torch.ones((), dtype=out.dtype, device=out.device).expand_as(out) for out in starts]
    torch.autograd.backward(starts, ones)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Keep nn.MultiheadAttention from its fused path in eval, one operator that hides what it does."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def unchanged(module: nn.Module, *, mode: Step) -> Iterator[None]:
    """Set the mode, and put back mode, buffers, gradients and random state at the end."""
    modes = [(part, part.training) for part in module.modules()]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    buffers = [
        (buffer, buffer.detach().clone())
        for buffer in module.buffers()
        if not (buffer.is_meta or isinstance(buffer, FakeTensor))  # which have no values
    ]
    for parameter, _ in gradients:
        parameter.grad = None
    set_mode(module, trains=mode == "train")
    try:
        with torch.random.fork_rng(devices=[]), plain_attention():
            yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
