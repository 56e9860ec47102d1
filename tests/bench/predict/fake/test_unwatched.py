"""What torch does unwatched: held against the profiler, which changes nothing, of a real call."""

import os
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from ann.spec import UnavailableError
from bench.predict import fake
from bench.predict.fake import Mode, operator_name
from bench.predict.ledger import count
from bench.predict.live_memory import predict_memory
from tests.bench.measure.test_memory import allocated_bytes


def peak_bytes(module, x):
    """Peak of what the allocator is asked for in one call, over what stands, by the profiler."""
    # Read when the profiler first starts, for all later tests.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.no_grad():
        return allocated_bytes(lambda: module(x))


def heads(*shape):
    """Queries, keys and values with numbers."""
    with fake.off():
        return torch.randn(3, *shape).unbind(0)


def faked(module, *inputs, device="cpu"):
    replaced = fake.replace_tensors(module, partial(fake.as_fake, device=device))
    return replaced, tuple(fake.as_fake(each, device) for each in inputs)


class Operators(Mode):
    def __init__(self):
        super().__init__()
        self.names = []

    def follow(self, func, args, kwargs):
        self.names.append(operator_name(func))
        return func(*args, **kwargs)


@pytest.mark.parametrize("is_transposed", [True, False])
def test_a_linear_layer_is_predicted_with_what_the_allocator_is_asked_for(is_transposed):
    module, x = nn.Linear(64, 128), torch.randn(2, 512, 64)
    x = x.mT.contiguous().mT if is_transposed else x
    real_bytes = peak_bytes(module, x)
    with fake.on("cpu"):
        replaced, inputs = faked(module, x)
        assert predict_memory(replaced, inputs, mode="eval").increment_bytes == real_bytes


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("casts", [True, False])
def test_a_bias_on_a_transposed_map_is_added_in_place(device, casts):
    with fake.on(device):
        module, (x,) = faked(nn.Linear(8, 8), torch.randn(2, 8, 5).mT, device=device)
        with Operators() as seen, torch.autocast(device, torch.bfloat16, enabled=casts):
            output = module(x)
        output.sum().backward()
    assert "aten.add_" in seen.names
    assert module.weight.grad.shape == (8, 8)


class Flex(nn.Module):
    """Attention with a function of the scores or a mask of blocks."""

    def __init__(self, *, masked):
        super().__init__()
        self.masked = masked

    def forward(self, query, key, value):
        if not self.masked:
            return flex_attention(
                query, key, value, score_mod=lambda s, b, h, i, j: s - (i - j).abs()
            )
        sides = (query.shape[2], key.shape[2])
        mask = create_block_mask(
            lambda b, h, i, j: (i - j).abs() <= 64, None, None, *sides, device=query.device
        )
        return flex_attention(query, key, value, block_mask=mask)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("masked", "share"), [(False, 1), (True, 10 / 16)])
def test_flex_attention_is_counted_by_the_blocks_of_its_mask(device, masked, share):
    """Four rows of blocks of 128: two at either end hold something, three in the middle."""
    with fake.on(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that it is slow where it is not compiled
        module, inputs = faked(Flex(masked=masked), *heads(1, 4, 512, 16), device=device)
        counts = count(module, inputs, mode="eval")
    assert counts.macs == share * 4 * 512 * 512 * (16 + 16)


class Documents(nn.Module):
    """A mask that looks into a table; it is made with the module, or `inside` the call, where nothing has values."""

    def __init__(self, *, inside):
        super().__init__()
        self.inside, self.documents = inside, torch.arange(512) // 256
        self.mask = None if inside else self.made(self.documents)

    @staticmethod
    def made(documents):
        return create_block_mask(
            lambda b, h, i, j: documents[i] == documents[j], None, None, 512, 512, device="cpu"
        )

    def forward(self, query, key, value):
        mask = self.made(self.documents) if self.inside else self.mask
        return flex_attention(query, key, value, block_mask=mask)


@pytest.mark.parametrize(("inside", "share"), [(False, 1 / 2), (True, 1)])
def test_a_mask_that_nobody_can_look_into_is_counted_whole(inside, share):
    with fake.on("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, inputs = faked(Documents(inside=inside), *heads(2, 4, 512, 16))
        counts = count(module, inputs, mode="eval")
    assert counts.macs == share * 2 * 4 * 512 * 512 * (16 + 16)


def test_the_way_back_of_flex_attention_follows_its_mask_too():
    """The map again, and a product for each gradient: five in place of two."""
    with fake.on("cuda"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, inputs = faked(Flex(masked=True), *heads(1, 4, 512, 16), device="cuda")
        for each in inputs:
            each.requires_grad_()
        counts = count(module, inputs, mode="train")
    assert counts.macs == 10 / 16 * 4 * 512 * 512 * (2 * 16 + 5 * 16)


class Doubled(nn.Module):
    def forward(self, x):
        return x + x


def test_what_was_compiled_before_runs_as_its_source():
    def backend(*_):
        pytest.fail("compiled")

    module, x = torch.compile(Doubled(), backend=backend), torch.randn(4, 8)
    with fake.on("cpu"), Operators() as seen:
        assert module(fake.as_fake(x, "cpu")).shape == (4, 8)
    assert seen.names == ["aten.add"]


def test_what_would_be_compiled_inside_is_its_source():
    with fake.on("cpu"):

        @torch.compile(fullgraph=True)
        def double(x):
            return 2 * x

        assert torch.compile(double, dynamic=True) is double
        assert double(fake.as_fake(torch.randn(4), "cpu")).shape == (4,)
    assert torch.compile.__module__ == "torch"


class Counted(nn.Module):
    """Reads how often it was called."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.tensor(0))
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        self.calls += 1
        return self.conv(x) if self.calls.item() > 0 else x


def test_a_number_that_a_module_counts_with_can_be_read():
    with fake.on("cpu"):
        module, inputs = faked(Counted(), torch.randn(1, 8, 4, 4))
        assert count(module, inputs, mode="eval").macs == 8 * 8 * 16
        assert module.calls == 0  # put back


def test_a_cumulative_batch_norm_reads_how_many_maps_it_has_seen():
    with fake.on("cpu"):
        module, inputs = faked(nn.BatchNorm2d(8, momentum=None), torch.randn(2, 8, 4, 4))
        assert predict_memory(module, inputs, mode="train").increment_bytes > 0


class Ragged(nn.Module):
    """A linear layer on sequences of several lengths."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 32)

    def forward(self, tokens):
        ends = torch.tensor([0, 10, 64], device=tokens.device)
        return self.inner(torch.nested.nested_tensor_from_jagged(tokens, ends)).values()


@pytest.mark.parametrize(("device", "mode"), [("cpu", "eval"), ("cpu", "train"), ("cuda", "eval")])
def test_a_nested_tensor_is_followed_into_what_it_is_made_of(device, mode):
    with fake.on(device):
        module, inputs = faked(Ragged(), torch.randn(64, 16), device=device)
        macs = count(module, inputs, mode=mode).macs
    assert macs == (1 if mode == "eval" else 2) * 64 * 16 * 32


def test_training_of_a_nested_tensor_is_refused_for_a_gpu_that_is_not_there():
    with fake.on("cuda"):
        module, inputs = faked(Ragged(), torch.randn(64, 16), device="cuda")
        with pytest.raises(UnavailableError, match="training of nested tensors can't be predicted"):
            count(module, inputs, mode="train")
