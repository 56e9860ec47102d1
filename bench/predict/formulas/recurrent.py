"""Recurrent layers: every weight meets every token once, and each step has its gates.

An LSTM's four gates are sums of two products with two biases; three sigmoids and a hyperbolic tangent; the
cell two products and a sum, the output a hyperbolic tangent and a product. A GRU's are alike, with a product
and a sum for the new state's reset and three operations for the mean of new and old.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from bench.predict.formulas.call import Call, Formula, Product, Work, matrix_work

SIGMOID = 4
LSTM_CELL = 3 * SIGMOID + 1 + 3 + 2
GRU_CELL = 2 * SIGMOID + 1 + 1 + 3
# To go back: each gate's function 3, the products that it stood in 2; the cell's tanh, its sum and product.
LSTM_BACKWARD, GRU_BACKWARD = 4 * (3 + 2) + 5, 3 * (3 + 2) + 4
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
# cuDNN's and oneDNN's numbers of a mode.
MODES = {0: "rnn", 1: "rnn", 2: "lstm", 3: "gru"}


def _recurrent_cell(kind: str, units: int, *, biased: bool) -> int:
    """FLOPs of one step of so many units, beside the products."""
    sums = GATES[kind] * (3 if biased else 1)
    return units * (sums + {"lstm": LSTM_CELL, "gru": GRU_CELL, "rnn": 1}[kind])


def _layers(
    kind: str, tokens: int, weights: Sequence[Tensor], *, units: int, backward: bool = False
) -> Work:
    """Layers of one kind by their weights, all of which have as many rows as there are gates, but for projections."""
    matrices = [weight for weight in weights if weight.dim() == 2 and weight.numel()]
    biased = any(weight.dim() == 1 and weight.numel() for weight in weights)
    products: list[Product] = [(1, tokens, *weight.shape) for weight in matrices]
    cells = sum(weight.shape[0] == GATES[kind] * units for weight in matrices) // 2
    if backward:
        both = [*products, *((1, *weight.shape, tokens) for weight in matrices)]
        each = {"lstm": LSTM_BACKWARD, "gru": GRU_BACKWARD, "rnn": 3}[kind]
        return matrix_work(both, cells * tokens * units * each)
    return matrix_work(products, cells * tokens * _recurrent_cell(kind, units, biased=biased))


def _tokens(call: Call) -> int:
    """Tokens of a batch, or of sequences packed into one."""
    steps = call.shape("input")[:-1]
    return steps[0] if len(steps) == 1 else steps[0] * steps[1]


def _cudnn(call: Call, *, backward: bool = False) -> Work:
    weights = call.arguments["weight"]
    units, kind = call.arguments["hidden_size"], MODES[call.arguments["mode"]]
    return _layers(kind, _tokens(call), weights, units=units, backward=backward)


def _mkldnn(call: Call, *, backward: bool = False) -> Work:
    first = 1 if backward else 0
    weights = [call.arguments[f"weight{number}"] for number in range(first, first + 4)]
    weights = weights if call.arguments["has_biases"] else weights[:2]
    units, kind = call.arguments["hidden_size"], MODES[call.arguments["mode"]]
    return _layers(kind, _tokens(call), weights, units=units, backward=backward)


def _fused_cell(call: Call, *, kind: str) -> Work:
    units = call.arguments["hidden_gates"].numel() // GATES[kind]
    return Work(extra_flops=_recurrent_cell(kind, units, biased=call.has("input_bias")))


def _fused_cell_backward(call: Call, *, kind: str) -> Work:
    if kind == "gru":
        return Work(extra_flops=call.arguments["grad_hy"].numel() * GRU_BACKWARD)
    return Work(extra_flops=call.arguments["cx"].numel() * LSTM_BACKWARD)


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(("_cudnn_rnn", "miopen_rnn"), _cudnn),
    **dict.fromkeys(("_cudnn_rnn_backward", "miopen_rnn_backward"), partial(_cudnn, backward=True)),
    "mkldnn_rnn_layer": _mkldnn,
    "mkldnn_rnn_layer_backward": partial(_mkldnn, backward=True),
    "_thnn_fused_lstm_cell": partial(_fused_cell, kind="lstm"),
    "_thnn_fused_gru_cell": partial(_fused_cell, kind="gru"),
    "_thnn_fused_lstm_cell_backward_impl": partial(_fused_cell_backward, kind="lstm"),
    "_thnn_fused_gru_cell_backward": partial(_fused_cell_backward, kind="gru"),
}
