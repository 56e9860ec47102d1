"""What one call of a module does, read from its dispatched operators; nothing is executed on meta.

Every operator that ran stands in the ledger with the bytes that it touched: counted by a formula,
free because it only moves or names data, or uncounted. Recomputation, as in activation
checkpointing, is executed and so is counted: these are executed operations, not a model's.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.predict import elementwise, formulas, traffic
from bench.predict.formulas import Call
from bench.records import Alike, Counts, Operator
from bench.workloads import NOTHING_TO_TRAIN

CallMode = Literal["eval", "train"]


class _Work(NamedTuple):
    """What one call does; calls that do the same are entered together."""

    macs: int
    flops: int
    moved_bytes: int
    dtype: str


class Ledger(TorchDispatchMode):
    """Counts the operators that are dispatched inside a `with` block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._rows: dict[tuple[str, str], Counter[_Work]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch 2.15 would import its compiler, seconds, to keep it out of the method below.
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run the operator and enter it; composite ones (inference mode leaves them whole) by parts."""
        del types
        given = dict(kwargs or {})
        if not is_known(str(func.overloadpacket)):
            with self:
                parts = func.decompose(*args, **given)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **given)
        self._enter(Call.of(func, args, given, result))
        return result

    def _enter(self, call: Call) -> None:
        status, macs, flops = _classify(call)
        work = _Work(macs, flops, traffic.moved_bytes(call), traffic.operands(call))
        self._rows.setdefault((call.name, status), Counter())[work] += 1

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Rows of the ledger, the heaviest first."""
        rows = (_operator(name, status, done) for (name, status), done in self._rows.items())
        return tuple(sorted(rows, key=lambda row: (-row.flops, -row.moved_bytes, row.name)))


def _operator(name: str, status: str, done: Counter[_Work]) -> Operator:
    alike = tuple(
        Alike(calls=calls, **work._asdict())
        for work, calls in done.items()
        if work.flops or work.moved_bytes
    )
    return Operator(
        name=name,
        status=status,  # type: ignore[arg-type]  # checked by pydantic
        calls=done.total(),
        macs=sum(row.calls * row.macs for row in alike),
        flops=sum(row.calls * row.flops for row in alike),
        moved_bytes=sum(row.calls * row.moved_bytes for row in alike),
        alike=alike,
    )


def _short(name: str) -> str:
    return formulas.plain_name(name).removeprefix("aten.")


def is_known(name: str) -> bool:
    """Whether an operator has a formula or is declared free."""
    plain = formulas.plain_name(name)
    counted = plain in formulas.MATRIX or plain in formulas.ELEMENTWISE
    return counted or (
        plain.startswith("aten.") and _short(name) in elementwise.VIEWS | elementwise.MOVES
    )


def _classify(call: Call) -> tuple[str, int, int]:
    work = formulas.work_of(call)
    if work is not None:
        return "counted", work.macs, work.flops
    return ("free" if is_free(call.name) else "uncounted"), 0, 0


def is_free(name: str) -> bool:
    """Whether an operator is declared to move or name data alone."""
    is_aten = name.startswith("aten.")
    return is_aten and _short(name) in elementwise.VIEWS | elementwise.MOVES


def count(module: nn.Module, inputs: tuple[Tensor, ...], *, mode: CallMode) -> Counts:
    """Count one forward pass, in `train` with the backward pass of its outputs' sum.

    The module is as before afterwards: mode, running statistics and gradients. On meta tensors
    nothing is executed. Inputs have a gradient only if they ask for one.

    Raises:
        ValueError: in `train`, no output depends on a parameter.
    """
    ledger = Ledger()
    with unchanged(module, mode=mode), ledger:
        run(module, inputs, mode=mode)
    operators = ledger.operators
    return Counts(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        buffers=sum(buffer.numel() for buffer in module.buffers()),
        macs=sum(row.macs for row in operators),
        flops=sum(row.flops for row in operators),
        ledger=operators,
    )


def run(module: nn.Module, inputs: tuple[Tensor, ...], *, mode: CallMode) -> None:
    """Call once; in `train`, go back from gradients of one, which is the backward pass of the sum."""
    if mode == "eval":
        with torch.no_grad():
            module(*inputs)
        return
    outputs = [leaf for leaf in tree_leaves(module(*inputs)) if isinstance(leaf, Tensor)]
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
def unchanged(module: nn.Module, *, mode: CallMode) -> Iterator[None]:
    """Set the mode, and put back mode, buffers, gradients and random state at the end."""
    modes = [(part, part.training) for part in module.modules()]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    for parameter, _ in gradients:
        parameter.grad = None
    module.train(mode == "train")
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
