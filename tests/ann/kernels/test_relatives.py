"""Other blocks with few keys: equal to themselves without the kernel, also going back."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as fused

from ann import gallery
from ann.implementations import implement
from ann.kernels import attend_to_few
from ann.spec import UnavailableError

pytestmark = pytest.mark.usefixtures("interpreter")
CHANNELS = 64


def made(name, monkeypatch):
    if name == "nystrom":
        pytest.importorskip("nystrom_attention", reason="the group gallery is not installed")
        monkeypatch.setattr(gallery.adapters, "LANDMARKS", 8)
    monkeypatch.setattr("ann.gallery.linear.PROJECTED", 16)
    torch.manual_seed(0)
    block = getattr(gallery, name)(CHANNELS)
    block(maps())  # lazy layers get their weights
    return block.eval()


def maps():
    return torch.randn(1, CHANNELS, 9, 7, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["segformer", "pvtv2_linear", "Linformer", "nystrom"])
def test_gallery_s_blocks_with_few_keys_are_equal(name, monkeypatch):
    block = made(name, monkeypatch)
    with torch.no_grad():
        expected = copy.deepcopy(block).double()(maps().double())
        found = implement(block, "triton")(maps())
    assert (found - expected).norm() / expected.norm() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["segformer", "Linformer", "nystrom"])
def test_gallery_s_blocks_have_the_same_gradients(name, monkeypatch):
    block = made(name, monkeypatch)
    exact = copy.deepcopy(block).double()
    x, y = maps().requires_grad_(), maps().double().requires_grad_()
    implement(block, "triton", "training")(x).square().sum().backward()
    exact(y).square().sum().backward()
    pairs = [(x.grad, y.grad)]
    pairs += [
        (one.grad, other.grad)
        for one, other in zip(block.parameters(), exact.parameters(), strict=True)
    ]
    for one, other in pairs:
        assert (one - other).norm() <= 1e-5 * max(other.norm(), 1e-3)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)], ids=str)
def test_heads_and_images_may_lead(shape):
    query, key, value = (
        torch.randn(*shape, length, width, dtype=torch.double)
        for length, width in ((9, 6), (5, 6), (5, 10))
    )
    found = attend_to_few(query.float(), key.float(), value.float(), scale=0.5)
    expected = fused(query, key, value, scale=0.5)
    assert found.shape == expected.shape
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_more_than_256_keys_are_refused():
    tokens = torch.randn(1, 257, 16)
    with pytest.raises(UnavailableError, match="257 anchors, a tile of queries holds at most 256"):
        attend_to_few(tokens, tokens, tokens, scale=1.0)


def test_a_block_without_attention_to_few_keys_is_refused_when_it_runs():
    block = implement(nn.Conv2d(4, 4, 1), "triton")
    with pytest.raises(
        UnavailableError,
        match="Conv2d does not itself call scaled_dot.* most 256 keys",
    ):
        block(torch.randn(1, 4, 3, 3))


@pytest.mark.parametrize(
    "given", [{"is_causal": True}, {"attn_mask": torch.ones(5, 5).bool()}], ids=str
)
def test_attention_with_a_mask_is_left_to_torch(given):
    class Masked(nn.Module):
        def forward(self, x):
            return fused(x, x, x, **given)

    with pytest.raises(UnavailableError, match="without mask, dropout or causality"):
        implement(Masked(), "triton")(torch.randn(1, 2, 5, 16))


def tokens(*shape, dtype=torch.float32, device="cpu"):
    return torch.zeros(*shape, dtype=dtype, device=device)


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ([tokens(1, 4, 16), tokens(1, 5, 8), tokens(1, 5, 8)], "key .1x5x8. does not fit query"),
        ([tokens(1, 4, 8), tokens(1, 5, 8), tokens(1, 3, 8)], "value .1x8x3. does not fit key"),
        ([tokens(3, 4, 8), tokens(1, 5, 8), tokens(1, 5, 8)], "different heads or images"),
        ([tokens(4, 8), tokens(1, 5, 8), tokens(1, 5, 8)], "different heads or images"),
        (
            [tokens(1, 4, 8, dtype=torch.float16), tokens(1, 5, 8), tokens(1, 5, 8)],
            "query, key and value are float16, float32; pass one number format",
        ),
        (
            [tokens(1, 4, 8, device="meta"), tokens(1, 5, 8), tokens(1, 5, 8)],
            "operands are on cpu, meta; move them to one device",
        ),
        ([tokens(1, 0, 8), tokens(1, 5, 8), tokens(1, 5, 8)], "0 queries and 5 keys"),
        ([tokens(1, 4, 8), tokens(1, 0, 8), tokens(1, 0, 8)], "4 queries and 0 keys"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tokens_that_do_not_fit_are_refused(operands, message):
    with pytest.raises(ValueError, match=message):
        attend_to_few(*operands, scale=1.0)


def test_what_torch_refuses_is_not_computed_by_a_kernel():
    class Narrow(nn.Module):
        def forward(self, x):
            return fused(x, x[..., :8], x)

    with pytest.raises(RuntimeError, match="Expected size for first two dimensions"):
        implement(Narrow(), "triton")(torch.randn(1, 2, 5, 16))
