"""Operations of one dispatched operator: MACs of matrix work, FLOPs of element-wise work, or none.

Conventions. A MAC is one multiplication with its addition; FLOPs are 2 per MAC plus the work here:
an arithmetic function of one element is 1 (exp, sqrt and division too), a composite one the sum of
its parts; a softmax is 5 an element (maximum, subtraction, exp, sum, division); a norm that knows
its statistics 2 (one factor and one offset a channel), one that takes them 4 more; pooling 1 for
each element it reads, overlapping windows as often as they read it; bilinear interpolation 7 an
output (4 products, 3 sums). A causal attention counts as a full one. Padding counts as data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from bench.predict import elementwise
from bench.predict.fake import Arguments, Keywords, Overload, operator_name


@dataclass(frozen=True, slots=True)
class Work:
    """MACs of matrix work, and FLOPs that come on top of 2 per MAC."""

    macs: int = 0
    extra_flops: int = 0

    @property
    def flops(self) -> int:
        """All FLOPs, 2 per MAC."""
        return 2 * self.macs + self.extra_flops


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator: its arguments by the names of its schema, defaults filled in."""

    name: str
    arguments: Mapping[str, Any]
    result: Any

    @classmethod
    def of(cls, operator: Overload, args: Arguments, kwargs: Keywords, result: object) -> "Call":
        """Bind positional and keyword arguments to the schema's names."""
        schema = operator._schema.arguments  # noqa: SLF001  # the only way to the names
        bound = {item.name: item.default_value for item in schema if item.has_default_value()}
        bound |= {item.name: value for item, value in zip(schema, args, strict=False)}
        return cls(operator_name(operator), bound | dict(kwargs), result)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument."""
        return tuple(self.arguments[name].shape)

    @property
    def out(self) -> Tensor:
        """The first tensor of the result."""
        return self.result if isinstance(self.result, Tensor) else self.result[0]


Formula = Callable[[Call], Work | None]


def _product(call: Call, *, left: str) -> Work:
    """Matrix product: one MAC for each output and each place of the left operand's last axis."""
    outputs = call.out.numel()
    # Of `beta * input + alpha * product` the sum counts, and factors other than 1.
    alpha, beta = (call.arguments.get(name, 1) for name in ("alpha", "beta"))
    scalings = (beta != 0) + sum(factor not in (0, 1) for factor in (alpha, beta))
    return Work(outputs * call.shape(left)[-1], 0 if left == "self" else outputs * scalings)


def _summed_batches(call: Call) -> Work:
    work = _product(call, left="batch1")
    return replace(work, macs=call.shape("batch1")[0] * work.macs)


def _convolution(call: Call) -> Work:
    """Dense, grouped, depthwise, dilated or transposed convolution, in any number of dimensions."""
    maps = call.arguments["input" if "input" in call.arguments else "self"]
    bias = call.arguments.get("bias")
    return Work(_convolution_macs(call, maps, call.out), 0 if bias is None else call.out.numel())


def _convolution_macs(call: Call, maps: Tensor, outputs: Tensor) -> int:
    # Each position of the map that the kernel is laid on meets one filter's taps in each of its
    # groups: the output's positions, or the input's where the convolution is transposed.
    positions = maps if call.arguments.get("transposed", False) else outputs
    return positions.numel() * prod(call.shape("weight")[1:])


def _convolution_backward(call: Call) -> Work:
    """As much again for the input's gradient and for the weight's, each if it is wanted."""
    grad = call.arguments["grad_output"]
    macs = _convolution_macs(call, call.arguments["input"], grad)
    wants_input, wants_weight, wants_bias = call.arguments["output_mask"]
    return Work(macs * (wants_input + wants_weight), grad.numel() if wants_bias else 0)


# Lengths that are data: what a packed batch costs does not follow from shapes.
_RAGGED = ("cum_seq_q", "cum_seq_k", "cu_seqlens_q", "cu_seqlens_k", "seqused_k")


def _attention(call: Call, *, head_axis: int = 1, backward: bool = False) -> Work | None:
    """Two products, scale and softmax of the map; to go back the map again, and a product for each operand of both."""
    if any(call.arguments.get(name) is not None for name in _RAGGED):
        return None
    query, key, value = (
        call.shape(name if name in call.arguments else f"{name}_")
        for name in ("query", "key", "value")
    )
    pairs = query[0] * query[head_axis] * query[3 - head_axis] * key[3 - head_axis]
    if backward:
        # exp(scaled similarity - logsumexp) is 3 an element, the softmax's backward 3, the scale 1.
        return Work(pairs * (3 * query[-1] + 2 * value[-1]), 7 * pairs)
    return Work(pairs * (query[-1] + value[-1]), 6 * pairs)


# The operand whose last axis is summed over; all but `self` come with something that is added.
PRODUCTS = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), "self"),
    **dict.fromkeys(("addmm", "_addmm_activation"), "mat1"),
    "addmv": "mat",
    "baddbmm": "batch1",
}
CONVOLUTIONS = (
    *("convolution", "_convolution", "convolution_overrideable"),
    *("cudnn_convolution", "mkldnn_convolution"),
)
# Kernels of attention, and the axis of its heads.
ATTENTIONS: Mapping[str, int] = {
    "_scaled_dot_product_flash_attention": 1,
    "_scaled_dot_product_efficient_attention": 1,
    "_scaled_dot_product_cudnn_attention": 1,
    "_scaled_dot_product_fused_attention_overrideable": 1,
    "_scaled_dot_product_flash_attention_for_cpu": 1,
    "_scaled_dot_product_attention_math_for_mps": 1,
    "_flash_attention_forward": 2,
    "_efficient_attention_forward": 2,
    "_cudnn_attention_forward": 1,
}
ATTENTIONS_BACKWARD = {
    f"{name.removesuffix('_forward')}_backward": axis for name, axis in ATTENTIONS.items()
}
CONVOLUTIONS_BACKWARD = ("convolution_backward", "convolution_backward_overrideable")


def _elementwise(call: Call, *, count: elementwise.Count) -> Work:
    return Work(extra_flops=count(call.arguments, call.out))


FORMULAS: Mapping[str, Formula] = {
    **{name: partial(_elementwise, count=count) for name, count in elementwise.COUNTS.items()},
    **{name: partial(_product, left=left) for name, left in PRODUCTS.items()},
    "addbmm": _summed_batches,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(CONVOLUTIONS_BACKWARD, _convolution_backward),
    **{name: partial(_attention, head_axis=axis) for name, axis in ATTENTIONS.items()},
    **{
        name: partial(_attention, head_axis=axis, backward=True)
        for name, axis in ATTENTIONS_BACKWARD.items()
    },
}


def work_of(call: Call) -> Work | None:
    """Operations of a call; None where there is no formula for it."""
    formula = find_formula(call.name)
    if formula is None or _is_bookkeeping(call):
        return Work() if formula else None
    return formula(call)


def find_formula(name: str) -> Formula | None:
    """Formula of an operator of ATen."""
    return FORMULAS.get(short_name(name)) if name.startswith("aten.") else None


def _is_bookkeeping(call: Call) -> bool:
    # Counters such as a norm's number of batches are integers of one element, made from such.
    tensors = [x for x in (call.result, *call.arguments.values()) if isinstance(x, Tensor)]
    return (
        isinstance(call.result, Tensor)
        and call.result.dtype in (torch.int64, torch.int32)
        and all(tensor.numel() <= 1 for tensor in tensors)
    )


def is_free(name: str) -> bool:
    """Whether an operator is declared to move or name data alone."""
    is_aten = name.startswith("aten.")
    return is_aten and short_name(name) in elementwise.VIEWS | elementwise.MOVES


def plain_name(name: str) -> str:
    """Name of an operator without the mark of its in-place form: relu_ is relu."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def short_name(name: str) -> str:
    """The same of ATen's, without the library's."""
    return plain_name(name).removeprefix("aten.")
