"""Fused layers of attention, against a count by hand."""

import pytest
import torch
from torch import nn

from bench.predict.formulas import Call, work_of
from tests.bench.predict.counting import entered


def packed(name, **more):
    query, key = torch.empty(20, 6, 8, device="meta"), torch.empty(20, 2, 8, device="meta")
    arguments = {"query": query, "key": key, "value": key, "cu_seq_q": torch.tensor([0, 5, 20])}
    return work_of(Call(name, arguments | more, (query,)))


@pytest.mark.parametrize(("name", "products"), [("_varlen_attn", 2), ("_varlen_attn_backward", 5)])
def test_attention_of_packed_sequences_has_the_heads_of_its_queries(name, products):
    pairs = 6 * (5 * 5 + 15 * 15)
    assert packed(f"torch_attn.{name}").macs == products * pairs * 8


def test_keys_may_have_lengths_of_their_own():
    work = packed("torch_attn._varlen_attn", cu_seq_k=torch.tensor([0, 4, 6]))
    assert work.macs == 6 * (5 * 4 + 15 * 2) * 16


def test_efficient_attention_of_packed_sequences_has_an_image_of_all():
    query = torch.empty(1, 20, 6, 8, device="meta")
    starts = torch.tensor([0, 5, 20])
    arguments = {"query": query, "key": query, "value": query, "cu_seqlens_q": starts}
    work = work_of(Call("aten._efficient_attention_forward", arguments, (query,)))
    assert work.macs == 6 * (25 + 225) * 16


def fused(function, *inputs):
    torch.backends.mha.set_fastpath_enabled(True)
    with torch.inference_mode():
        (row,) = [row for row in entered(function, *inputs) if row.macs]
    return row


def test_the_fused_layer_of_multi_head_attention_is_its_parts():
    layer = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    row = fused(lambda x: layer(x, x, x, need_weights=False), torch.ones(2, 10, 16))
    assert row.name == "aten._native_multi_head_attention"
    assert row.macs == 4 * 2 * 10 * 16 * 16 + 2 * 2 * 10 * 10 * 16
    assert row.flops - 2 * row.macs == 4 * 2 * 10 * 16 + 6 * 2 * 4 * 10 * 10


def test_the_fused_encoder_layer_is_its_parts():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    row = fused(layer, torch.ones(2, 10, 16))
    assert row.name == "aten._transformer_encoder_layer_fwd"
    assert row.macs == 20 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 2 * 10 * 10 * 16
    norms, sums, biases, relu = 2 * 8 * 16, 2 * 16, 5 * 16 + 32, 32
    assert row.flops - 2 * row.macs == 20 * (norms + sums + biases + relu) + 6 * 2 * 4 * 10 * 10
