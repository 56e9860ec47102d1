"""Predictions of blocks as people write them, held against the live storages of a real call on the processor."""

import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from ann.spec import Size
from bench.predict import ledger as flops
from bench.predict import live_memory
from bench.predict.fake import shapes, unwatched
from bench.predict.fake import tensor as fake_tensor
from bench.predict.predict import predict_cell
from bench.workloads import workload
from experiments.spec import Cell, OwnModule

DEFAULTS = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False}


class Tokens(nn.Module):
    """Heads of a projected map, attended to by `attend`."""

    def __init__(self, channels, attend, heads=(4, 4)):
        super().__init__()
        self.attend, self.heads, self.width = attend, heads, channels // heads[0]
        self.query = nn.Linear(channels, heads[0] * self.width)
        self.key, self.value = (nn.Linear(channels, heads[1] * self.width) for _ in range(2))

    def forward(self, x):
        tokens = x.flatten(2).mT
        parts = (self.query, self.key, self.value)
        split = [part(tokens).unflatten(2, (-1, self.width)).transpose(1, 2) for part in parts]
        return self.attend(*split).transpose(1, 2).flatten(2).mT.reshape(x.shape)


class MultiHead(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.inner = nn.MultiheadAttention(channels, 4, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).mT
        return self.inner(tokens, tokens, tokens, need_weights=False)[0].mT.reshape(x.shape)


def spelled(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, **DEFAULTS)


def causal(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def grouped(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, enable_gqa=True)


def without_images(query, key, value):
    split = (item.flatten(0, 1) for item in (query, key, value))
    return F.scaled_dot_product_attention(*split).unflatten(0, query.shape[:2])


def masked(query, key, value):
    mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask.tril())


def with_heads(query, key, value):
    mask = torch.zeros(query.shape[1], query.shape[2], key.shape[2], device=query.device)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Learned(nn.Module):
    """A mask that is a parameter, with which torch computes the map even where nobody asks for gradients."""

    def __init__(self, channels, positions=24 * 16):
        super().__init__()
        self.mask = nn.Parameter(torch.zeros(positions, positions))
        self.tokens = Tokens(channels, self.attend)

    def attend(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=self.mask)

    def forward(self, x):
        return self.tokens(x)


class Grid(nn.Module):
    """A grid of positions made without naming a device."""

    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return x * self.scale + torch.linspace(-1, 1, x.shape[-1])


class Island(nn.Module):
    """Float32 in the middle of autocast, as rotary position codes have it."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        y = self.conv(x)
        with torch.autocast(x.device.type, enabled=False):
            return y * y.float().cos()


class Values(nn.Module):
    """Weights that are made from values: an orthogonal matrix."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("basis", torch.linalg.qr(torch.randn(channels, channels))[0])
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        assert abs(float((self.basis @ self.basis.mT).trace()) - channels) < 0.1
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return torch.einsum("bchw,cd->bdhw", self.conv(x), self.basis) * self.rates[-1]


class Again(nn.Module):
    """Computed again on the way back."""

    def __init__(self, channels, reentrant):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.reentrant = reentrant

    def forward(self, x):
        y = self.first(x)
        if not self.training:  # torch warns where nothing is gone back from
            return self.second(y).relu()
        return checkpoint(lambda y: self.second(y).relu(), y, use_reentrant=self.reentrant)


FACTORIES = {
    "spelled": lambda channels: Tokens(channels, spelled),
    "causal": lambda channels: Tokens(channels, causal),
    "masked": lambda channels: Tokens(channels, masked),
    "with_heads": lambda channels: Tokens(channels, with_heads),
    "learned": Learned,
    "grouped": lambda channels: Tokens(channels, grouped, heads=(4, 2)),
    "without_images": lambda channels: Tokens(channels, without_images),
    "multi_head": MultiHead,
    "grid": Grid,
    "island": Island,
    "values": Values,
    "reentrant": lambda channels: Again(channels, reentrant=True),
    "not_reentrant": lambda channels: Again(channels, reentrant=False),
}


@pytest.fixture
def own(monkeypatch):
    """Cells of the factories above."""
    monkeypatch.setitem(sys.modules, "theirs", SimpleNamespace(**FACTORIES))

    def cell(name, **changes):
        subject = OwnModule(factory=f"theirs:{name}", channels=32)
        fields = {"size": Size(width=24, height=16), "device": "cpu", "probes": (), **changes}
        return Cell(experiment="x", axes={}, subject=subject, **fields)

    return cell


@pytest.mark.parametrize("dtype", ["float32", "autocast-bfloat16"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", FACTORIES)
def test_predicted_bytes_and_macs_are_those_of_a_real_call(own, name, mode, dtype):
    cell = own(name, mode=mode, dtype=dtype)
    found = predict_cell(cell)
    work = workload.make_workload(cell, "cpu")
    given = {"mode": mode, "numbers": work.numbers}
    with unwatched.adding_in_place():  # as torch does where nobody looks on
        live = live_memory.predict_memory(work.module, work.inputs, **given)
    counts = flops.count(work.module, work.inputs, **given)
    assert found.counts.macs == counts.macs
    assert found.predicted.increment_bytes == live.increment_bytes


@pytest.mark.parametrize("dtype", ["float32", "autocast-bfloat16", "autocast-float16"])
@pytest.mark.parametrize("mode", ["eval", "train"])
# Of the others a GPU has no such device, or a fused kernel where a processor has none.
@pytest.mark.parametrize(
    "name", sorted({*FACTORIES} - {"grid", "grouped", "with_heads", "learned"})
)
def test_a_gpu_that_is_not_there_does_the_same_products(own, name, mode, dtype):
    found, other = (
        predict_cell(own(name, mode=mode, dtype=dtype, device=device)).counts.macs
        for device in ("cuda", "cpu")
    )
    assert found == other


@pytest.mark.parametrize("name", ["spelled", "causal", "multi_head", "grouped"])
def test_no_map_of_attention_is_held_on_either_device(own, name):
    for device in ("cpu", "cuda"):
        cell = own(name, device=device, mode="train", dtype="autocast-bfloat16")
        live = predict_cell(cell).predicted.live
        assert max(item.size_bytes for item in live) < 4 * (24 * 16) ** 2 * 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_module_is_told_the_device_that_is_meant(device):
    with fake_tensor.on(device):
        x = fake_tensor.as_fake(torch.ones(2, 3), device)
        assert x.device.type == device
        assert (x.is_cpu, x.is_cuda, x.is_meta) == (device == "cpu", device == "cuda", False)
        assert torch.zeros(3, device=x.device).device == x.device
        assert x.new_zeros(8000).device == x.device == (x @ x.mT).device


def test_moving_a_tensor_to_where_it_is_copies_nothing():
    with fake_tensor.on("cuda"):
        x = torch.empty(3, 4, device="cuda")
        assert x.to("cuda").untyped_storage()._cdata == x.untyped_storage()._cdata
        assert x.to(x.device, torch.float16).dtype == torch.float16
        assert x.cpu().device.type == "cpu"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_tensor_changed_in_place_is_the_same_with_its_new_shape(device):
    with fake_tensor.on(device):
        x = fake_tensor.as_fake(torch.ones(2, 3), device)
        same = x.t_().unsqueeze_(0)
        assert same is x
        assert (x * 2).shape == (1, 3, 2)
        assert x.add_(1) is x


def test_small_numbers_that_nothing_fake_goes_into_can_be_read():
    with fake_tensor.on("cpu"):
        assert torch.linspace(0, 1, 3).tolist() == [0.0, 0.5, 1.0]
        assert torch.arange(4).sum().item() == 6
        large = torch.zeros(fake_tensor.LARGEST_COMPUTED + 1)
        assert isinstance(large, fake_tensor.FakeTensor)
        assert isinstance(torch.ones(100)[:, None] * torch.ones(100), fake_tensor.FakeTensor)


def test_a_shared_weight_stays_shared():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    with fake_tensor.on("cpu"):
        fake_tensor.replace_tensors(module, lambda tensor: fake_tensor.as_fake(tensor, "cpu"))
        assert module[1].weight is module[0].weight
        assert isinstance(module[0].weight, nn.Parameter)
        assert len(list(module.parameters())) == 3


def test_conversion_of_a_module_changes_its_weights():
    with fake_tensor.on("cuda"), torch.device("cuda"):
        module = nn.Conv2d(3, 4, 1).to(torch.bfloat16)
        assert module(torch.empty(1, 3, 5, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_modes_that_were_on_before_are_on_afterwards(device):
    ledger = flops.Ledger()
    with ledger:
        with fake_tensor.on(device):
            torch.empty(9000, device=device)
        torch.ones(9000).exp()
    assert {"aten.exp"} < {row.name for row in ledger.operators}
    torch.ones(9000).cos().sum().item()
    assert "aten.cos" not in {row.name for row in ledger.operators}


def test_nothing_fake_is_left_afterwards():
    with fake_tensor.on("cuda"):
        torch.empty(3, device="cuda")
    assert type(torch.ones(3)) is torch.Tensor
    assert not torch.autocast("cpu", enabled=False)._enabled
    x = torch.randn(1, 1, 4, 8)
    assert F.scaled_dot_product_attention(x, x, x).device.type == "cpu"


ATEN = torch.ops.aten
MAPS = st.tuples(*(st.integers(1, 9) for _ in range(4)))


def same(func, *args):
    """Whether the rule gives what torch's own kernel gives for meta tensors, or gives up."""
    found = shapes.RULES[func](*args)
    if found is None:
        return True
    expected = func(*args)
    pairs = zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True)
    return all(layout(one) == layout(other) for one, other in pairs)


def layout(tensor):
    """Type, shape and strides; how far apart the only one of its axis lies is nobody's business."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.dtype, tensor.shape, [step for size, step in steps if size > 1]


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


@given(
    MAPS, st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.booleans()
)
def test_the_shape_of_a_convolution_is_torchs(
    sizes, kernel, stride, padding, dilation, channels_last
):
    x, weight = meta(*sizes), meta(6, sizes[1], kernel, kernel)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    settings = ([stride] * 2, [padding] * 2, [dilation] * 2, False, [0, 0], 1)
    if min(sizes[2:]) + 2 * padding > dilation * (kernel - 1):
        assert same(ATEN.convolution.default, x, weight, None, *settings)


@given(MAPS, st.sampled_from([torch.float32, torch.bfloat16, torch.int64]), st.booleans())
def test_other_shapes_are_torchs(sizes, dtype, is_transposed):
    x = meta(*sizes, dtype=dtype)
    x = x.mT if is_transposed else x
    assert same(ATEN.relu.default, x)
    assert same(ATEN.mul.Tensor, x, torch.tensor(2))
    assert same(ATEN.add.Tensor, x, meta(1, 1, 1, 1))
    assert same(ATEN.cat.default, [x, x], -1)
    if dtype.is_floating_point:
        assert same(ATEN.mean.dim, x, [-1, -2], True)
        assert same(ATEN.mean.dim, x, [1])
        assert same(ATEN._adaptive_avg_pool2d.default, x, [2, 3])
        assert same(ATEN._softmax.default, x, -1, False)
        assert same(ATEN.bmm.default, x[0], x[0].mT)
