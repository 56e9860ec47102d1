"""Operations of one dispatched operator: MACs of matrix work, FLOPs of element-wise work, or none.

Conventions. A MAC is one multiplication with its addition; FLOPs are 2 per MAC plus the work here:
an arithmetic function of one element is 1 (exp, sqrt and division too), a composite one the sum of
its parts; a softmax is 5 an element (maximum, subtraction, exp, sum, division); a norm that knows
its statistics 2 (one factor and one offset a channel), one that takes them 4 more; pooling 1 for
each element it reads, overlapping windows as often as they read it; bilinear interpolation 7 an
output (4 products, 3 sums). A causal attention counts as a full one. Padding counts as data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from bench.predict import elementwise


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
    def of(
        cls,
        operator: Any,  # noqa: ANN401  # an OpOverload, whose class is private
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: object,
    ) -> "Call":
        """Bind positional and keyword arguments to the schema's names."""
        schema = operator._schema.arguments  # noqa: SLF001  # the only way to the names
        bound = {item.name: item.default_value for item in schema if item.has_default_value()}
        bound |= {item.name: value for item, value in zip(schema, args, strict=False)}
        return cls(str(operator.overloadpacket), bound | dict(kwargs), result)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument."""
        return tuple(self.arguments[name].shape)

    @property
    def out(self) -> Tensor:
        """The first tensor of the result."""
        return self.result if isinstance(self.result, Tensor) else self.result[0]


Formula = Callable[[Call], Work | None]


def _product(left: str, *, adds: bool = False) -> Formula:
    """Matrix product: one MAC for each output and each place of the left operand's last axis."""

    def work(call: Call) -> Work:
        outputs = call.out.numel()
        return Work(outputs * call.shape(left)[-1], outputs * _scalings(call) if adds else 0)

    return work


def _scalings(call: Call) -> int:
    """Operations an output of `beta * input + alpha * product`: the sum, and factors other than 1."""
    factors = (call.arguments.get("alpha", 1), call.arguments.get("beta", 1))
    return (factors[1] != 0) + sum(factor not in (0, 1) for factor in factors)


def _summed_batches(call: Call) -> Work:
    batch, rows, contracted = call.shape("batch1")
    columns = call.shape("batch2")[-1]
    return Work(batch * rows * contracted * columns, rows * columns * _scalings(call))


def _dot(call: Call) -> Work:
    return Work(call.arguments["self"].numel())


def _convolution_macs(call: Call, weight: tuple[int, ...], given: Tensor, made: Tensor) -> int:
    # Each position of the map that the kernel is laid on meets one filter's taps in each of its
    # groups: the output's positions, or the input's where the convolution is transposed.
    positions = given if call.arguments.get("transposed", False) else made
    return positions.numel() * prod(weight[1:])


def convolution(call: Call) -> Work:
    """Dense, grouped, depthwise, dilated or transposed convolution, in any number of dimensions."""
    macs = _convolution_macs(
        call, call.shape("weight"), call.arguments[_input_name(call)], call.out
    )
    bias = call.arguments.get("bias")
    return Work(macs, 0 if bias is None else call.out.numel())


def _input_name(call: Call) -> str:
    return "input" if "input" in call.arguments else "self"


def convolution_backward(call: Call) -> Work:
    """As much again for the input's gradient and for the weight's, each if asked for."""
    grad = call.arguments["grad_output"]
    macs = _convolution_macs(call, call.shape("weight"), call.arguments["input"], grad)
    wants_input, wants_weight, wants_bias = call.arguments["output_mask"]
    return Work(macs * (wants_input + wants_weight), grad.numel() if wants_bias else 0)


@dataclass(frozen=True, slots=True)
class _Attention:
    """Sizes of an attention: heads of all images together, queries, keys, their width, the values'."""

    heads: int
    queries: int
    keys: int
    width: int
    value_width: int

    @classmethod
    def of(cls, call: Call, *, head_axis: int = 1) -> "_Attention | None":
        if any(call.arguments.get(name) is not None for name in _RAGGED):
            return None
        query, key, value = (_shape_of(call, name) for name in ("query", "key", "value"))
        tokens = 3 - head_axis
        return cls(query[0] * query[head_axis], query[tokens], key[tokens], query[-1], value[-1])

    @property
    def forward(self) -> Work:
        """Two products; scale and softmax of the map."""
        pairs = self.heads * self.queries * self.keys
        return Work(pairs * (self.width + self.value_width), 6 * pairs)

    @property
    def backward(self) -> Work:
        """The map again, and a product for each operand of both products; the map is never kept."""
        pairs = self.heads * self.queries * self.keys
        # exp(scaled similarity - logsumexp) is 3 an element, the softmax's backward 3, the scale 1.
        return Work(pairs * (3 * self.width + 2 * self.value_width), 7 * pairs)


# Lengths that are data: what a packed batch costs can't be told from shapes.
_RAGGED = ("cum_seq_q", "cum_seq_k", "cu_seqlens_q", "cu_seqlens_k", "seqused_k")


def _shape_of(call: Call, name: str) -> tuple[int, ...]:
    return call.shape(name if name in call.arguments else f"{name}_")


def _attention(*, head_axis: int = 1, backward: bool = False) -> Formula:
    def work(call: Call) -> Work | None:
        sizes = _Attention.of(call, head_axis=head_axis)
        if sizes is None:
            return None
        return sizes.backward if backward else sizes.forward

    return work


def _attention_formulas() -> dict[str, Formula]:
    fused = ("flash", "efficient", "cudnn", "fused")
    names = {"fused": "fused_attention_overrideable"}
    table: dict[str, Formula] = {}
    for kind in fused:
        name = f"aten._scaled_dot_product_{names.get(kind, f'{kind}_attention')}"
        table[name] = _attention()
        table[f"{name}_backward"] = _attention(backward=True)
    table["aten._scaled_dot_product_flash_attention_for_cpu"] = _attention()
    table["aten._scaled_dot_product_flash_attention_for_cpu_backward"] = _attention(backward=True)
    table["aten._scaled_dot_product_attention_math_for_mps"] = _attention()
    for kind, axis in (("flash", 2), ("efficient", 2), ("cudnn", 1)):
        table[f"aten._{kind}_attention_forward"] = _attention(head_axis=axis)
        table[f"aten._{kind}_attention_backward"] = _attention(head_axis=axis, backward=True)
    return table


MATRIX: dict[str, Formula] = {
    "aten.mm": _product("self"),
    "aten.bmm": _product("self"),
    "aten.mv": _product("self"),
    "aten.dot": _dot,
    "aten.vdot": _dot,
    "aten.addmm": _product("mat1", adds=True),
    "aten._addmm_activation": _product("mat1", adds=True),
    "aten.addmv": _product("mat", adds=True),
    "aten.baddbmm": _product("batch1", adds=True),
    "aten.addbmm": _summed_batches,
    "aten.convolution": convolution,
    "aten._convolution": convolution,
    "aten.convolution_overrideable": convolution,
    "aten.cudnn_convolution": convolution,
    "aten.mkldnn_convolution": convolution,
    "aten.convolution_backward": convolution_backward,
    "aten.convolution_backward_overrideable": convolution_backward,
    **_attention_formulas(),
}


def _elementwise(count: elementwise.Count) -> Formula:
    return lambda call: Work(extra_flops=count(call.arguments, call.out))


ELEMENTWISE: dict[str, Formula] = {
    f"aten.{name}": _elementwise(count) for name, count in elementwise.COUNTS.items()
}


def work_of(call: Call) -> Work | None:
    """Operations of a call; None where there is no formula for it."""
    name = plain_name(call.name)
    formula = MATRIX.get(name) or ELEMENTWISE.get(name)
    if formula is None or _is_bookkeeping(call):
        return Work() if formula else None
    return formula(call)


def _is_bookkeeping(call: Call) -> bool:
    # Counters such as a norm's number of batches are integers of one element, made from such.
    return (
        isinstance(call.result, Tensor)
        and call.result.dtype in (torch.int64, torch.int32)
        and all(
            one.numel() <= 1
            for one in (call.result, *call.arguments.values())
            if isinstance(one, Tensor)
        )
    )


def plain_name(name: str) -> str:
    """Name of an operator without the mark of its in-place form: relu_ is relu."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name
