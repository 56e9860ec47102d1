"""Recurrent layers, step by step and in one operator, against a count by hand."""

import pytest
import torch
from torch import nn

from bench.predict.formulas import Call, work_of
from tests.bench.predict.counting import entered

TOKENS, WIDTH, UNITS = 7 * 2, 5, 6
KINDS = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("both_ways", [False, True])
def test_each_weight_meets_each_token_once(kind, both_ways):
    layer = kind(WIDTH, UNITS, bidirectional=both_ways)
    rows = entered(layer, torch.ones(7, 2, WIDTH))
    assert [row.name for row in rows if row.status == "uncounted"] == []
    macs = TOKENS * KINDS[kind] * UNITS * (WIDTH + UNITS) * (1 + both_ways)
    assert sum(row.macs for row in rows) == macs


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_layer_goes_back_by_two_products_for_each(kind):
    layer = kind(WIDTH, UNITS)
    rows = entered(lambda x: layer(x)[0], torch.ones(7, 2, WIDTH), grad=True)
    assert [row.name for row in rows if row.status == "uncounted"] == []
    whole = 2 * TOKENS * KINDS[kind] * UNITS * (WIDTH + UNITS)
    first_state = 2 * KINDS[kind] * UNITS * UNITS  # nobody asks for its gradient
    assert sum(row.macs for row in rows) in (whole, whole - first_state, whole - 2 * first_state)


def cudnn(name, **more):
    gates = 4 * UNITS
    layers = [(gates, WIDTH), (gates, UNITS), (gates,), (gates,)]
    layers += [(gates, UNITS), (gates, UNITS), (gates,), (gates,)]
    weights = [torch.empty(shape, device="meta") for shape in layers]
    x = torch.empty(7, 2, WIDTH, device="meta")
    arguments = {"input": x, "weight": weights, "mode": 2, "hidden_size": UNITS, "batch_sizes": []}
    return work_of(Call(f"aten.{name}", arguments | more, (x,)))


def test_layers_of_cudnn_are_the_sum_of_their_weights():
    work = cudnn("_cudnn_rnn")
    assert work.macs == TOKENS * 4 * UNITS * (WIDTH + 3 * UNITS)
    # Four gates of three sums; three sigmoids and a tanh; cell 3, output 2.
    assert work.extra_flops == 2 * TOKENS * UNITS * (4 * 3 + 3 * 4 + 1 + 3 + 2)


def test_layers_of_cudnn_go_back_by_two_products_for_each():
    assert cudnn("_cudnn_rnn_backward").macs == 2 * cudnn("_cudnn_rnn").macs


def test_the_fused_cells_of_a_gpu_are_counted_by_their_gates():
    gates, units = torch.empty(2, 4 * UNITS, device="meta"), torch.empty(2, UNITS, device="meta")
    arguments = {"input_gates": gates, "hidden_gates": gates, "cx": units, "input_bias": None}
    work = work_of(Call("aten._thnn_fused_lstm_cell", arguments, (units,)))
    assert work.extra_flops == 2 * UNITS * (4 + 12 + 1 + 3 + 2)
