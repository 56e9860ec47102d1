"""Fake tensors: casts and attention kernels held against torch's own, on the processor and on fake CUDA."""

import copy
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ann import build
from ann.implementations import implement
from bench.predict import formulas, live_memory
from bench.predict.fake import autocast
from bench.predict.fake import tensor as fake_tensor
from bench.predict.live_memory import Meter

MEBI = 2**20
HALVES = (torch.float16, torch.bfloat16)
needs_cuda_build = pytest.mark.skipif(
    torch.version.cuda is None, reason="this torch knows no CUDA tensors, not even fake ones"
)


class Stream(TorchDispatchMode):
    """Operators with the types of their results; what only names or initialises data is left out."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func is autocast.ASK_DEVICE:
            return result
        kinds = [leaf.dtype for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if kinds and name not in formulas.VIEWS | {"empty"}:
            # Each device has a batch norm of its own.
            self.seen.append(("batch_norm" if "batch_norm" in name else name, kinds[0]))
        return result


def stream(module, inputs, numbers=nullcontext):
    with Stream() as seen, torch.no_grad(), numbers():
        module(*inputs)
    return seen.seen


def casting(device, lower):
    return partial(torch.autocast, device, dtype=lower) if lower else nullcontext


@contextmanager
def fake_cuda_autocast(lower):
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", lower)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_dtype("cuda", torch.float16)


def make_block(name):
    changes = {"low_channels": 8} if name in ("fnb", "afnb") else {}
    return build.block(name, channels=16, key_channels=8, **changes).eval()


def maps(name, device):
    low = (torch.zeros(1, 8, 9, 11, device=device),) if name in ("fnb", "afnb") else ()
    return (torch.zeros(1, 16, 9, 11, device=device), *low)


BLOCKS = ("nb", "apnb", "afnb", "dnl", "apnb-bottleneck")


def faked(name, *, device, lower, implementation="plain"):
    with fake_tensor.on(device):
        with torch.device(device):
            module = implement(make_block(name), implementation)
            inputs = maps(name, device)
        module = fake_tensor.replace_tensors(module, partial(fake_tensor.as_fake, device=device))
        return stream(module, inputs, casting(device, lower))


@pytest.mark.parametrize("lower", HALVES)
@pytest.mark.parametrize("name", BLOCKS)
def test_casts_are_those_of_autocast_on_the_processor(name, lower):
    module = make_block(name)
    expected = stream(module, maps(name, "cpu"), casting("cpu", lower))
    assert faked(name, device="cpu", lower=lower) == expected


@needs_cuda_build
@pytest.mark.parametrize("lower", HALVES)
@pytest.mark.parametrize("name", BLOCKS)
def test_casts_are_those_of_autocast_on_cuda(name, lower):
    with FakeTensorMode(), torch.device("cuda"):
        module = make_block(name)
        expected = stream(module, maps(name, "cuda"), partial(fake_cuda_autocast, lower))
    assert faked(name, device="cuda", lower=lower) == expected


@needs_cuda_build
@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.softmax(dim=-1),
        lambda x: F.log_softmax(x, dim=-1),
        lambda x: x.sum(),
        lambda x: F.layer_norm(x, x.shape[-1:]),
        lambda x: F.interpolate(x, size=(5, 7), mode="bilinear"),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.group_norm(x, 2),
        lambda x: x.mean(dim=-1, keepdim=True),
        lambda x: x**2,
        lambda x: x @ x.mT,
        lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
        lambda x: F.dropout(F.relu(x) * 0.5 + x),
        lambda x: F.cross_entropy(x, torch.zeros(2, 6, 6, dtype=torch.long, device=x.device)),
        lambda x: torch.tensordot(x, x.float(), dims=([3], [3])),
        lambda x: torch.cdist(x.flatten(2), x.flatten(2)),
        lambda x: torch.cat((x, x.float())),
        F.instance_norm,
        lambda x: F.cosine_similarity(x, x),
    ],
)
@pytest.mark.parametrize("lower", HALVES)
def test_the_type_of_each_function_is_that_of_cuda(call, lower):
    class Calls(torch.nn.Module):
        def forward(self, x):
            return call(x)

    module = Calls()
    with FakeTensorMode(), fake_cuda_autocast(lower), torch.no_grad():
        expected = module(torch.zeros(2, 4, 6, 6, device="cuda", dtype=lower)).dtype
    with fake_tensor.on("cuda"), torch.autocast("cuda", dtype=lower):
        found = module(torch.zeros(2, 4, 6, 6, device="cuda", dtype=lower)).dtype
    assert found == expected


def predicted(name, implementation="plain", *, device="cuda", lower=None, mode="eval"):
    with fake_tensor.on(device):
        with torch.device(device):
            module = build.block(name)
            inputs = (torch.empty(1, 2048, 128, 256),)
        module = fake_tensor.replace_tensors(module, partial(fake_tensor.as_fake, device=device))
        way = "training" if mode == "train" else "inference"
        module = implement(module.train(mode == "train"), implementation, way)
        return live_memory.predict_memory(module, inputs, mode=mode, numbers=casting(device, lower))


# Of cast weights there is nothing in it: they stand from the first call on.
@pytest.mark.parametrize(
    ("lower", "device", "expected"),
    [
        (None, "cuda", 8288),
        (torch.float16, "cuda", 6208),
        (torch.bfloat16, "cuda", 10288),
        (torch.bfloat16, "cpu", 4144),
    ],
)
def test_bfloat16_autocast_needs_more_memory_than_float32_on_cuda_alone(lower, device, expected):
    found = predicted("nb", device=device, lower=lower)
    assert round(found.increment_bytes / MEBI) == expected


@pytest.mark.parametrize("lower", HALVES)
@pytest.mark.parametrize("name", BLOCKS)
def test_predicted_bytes_are_those_of_a_call_that_is_not_the_first(name, lower):
    module, meter = make_block(name), Meter()
    with torch.autocast("cpu", dtype=lower), torch.no_grad():
        module(*maps(name, "cpu"))
        inputs = maps(name, "cpu")
        with meter:
            module(*inputs)
    with fake_tensor.on("cpu"):
        module = fake_tensor.replace_tensors(module, partial(fake_tensor.as_fake, device="cpu"))
        inputs = tuple(fake_tensor.as_fake(item, "cpu") for item in inputs)
        numbers = casting("cpu", lower)
        found = live_memory.predict_memory(module, inputs, mode="eval", numbers=numbers)
    assert found.increment_bytes == meter.peak_bytes - meter.standing_bytes
    # What autocast has cast stands, beside inputs and parameters.
    casts = found.peak_bytes - found.increment_bytes - found.input_bytes - found.parameter_bytes
    assert casts > 0


def test_cuda_copies_the_map_to_float32_ahead_of_a_bfloat16_softmax():
    found = predicted("nb", lower=torch.bfloat16)
    maps = [tensor for tensor in found.live if tensor.shape == (1, 32768, 32768)]
    assert sorted(f"{one.operator} {one.dtype}" for one in maps) == [
        "aten._softmax float32",
        "aten._to_copy float32",
        "aten.mul bfloat16",
    ]
    found = predicted("nb", lower=torch.float16)
    kinds = {one.operator: one.dtype for one in found.live if one.shape == (1, 32768, 32768)}
    assert kinds == {"aten._softmax": "float32", "aten._to_copy": "float16"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_fused_attention_holds_no_map_in_training_either(device):
    found = predicted("nb", "sdpa", device=device, mode="train")
    assert max(one.size_bytes for one in found.live) < 300 * MEBI
    assert 600 < found.increment_bytes / MEBI < 700


def test_chunks_are_computed_again_under_the_same_casts():
    found = predicted("nb", "chunked", lower=torch.bfloat16, mode="train")
    assert found.increment_bytes < 900 * MEBI


def test_real_tensors_are_left_to_torch():
    class Masked(torch.nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x, is_causal=True)

    module, x = Masked(), torch.randn(1, 1, 4, 8)
    expected = module(x)
    with fake_tensor.on("cuda"), torch.autocast("cuda", dtype=torch.bfloat16):
        assert module(x).dtype == torch.float32
        assert torch.equal(module(x), expected)


@pytest.mark.parametrize("name", ["nb", "dnl"])
def test_the_processor_takes_the_kernel_that_is_predicted(name):
    module = implement(make_block(name), "sdpa")
    seen = [operator for operator, _ in stream(module, maps(name, "cpu"))]
    found = [
        operator for operator, _ in faked(name, device="cpu", lower=None, implementation="sdpa")
    ]
    assert found == seen


def test_a_copy_of_a_module_has_the_shapes_of_the_module():
    with fake_tensor.on("cuda"):
        with torch.device("cuda"):
            block = make_block("nb")
        copied = copy.deepcopy(block)
    assert [one.shape for one in copied.parameters()] == [one.shape for one in block.parameters()]
    assert {one.device.type for one in copied.parameters()} == {"cuda"}


@pytest.mark.parametrize("join", [torch.stack, lambda parts: torch.cat([x[None] for x in parts])])
def test_numbers_are_put_together_with_fakes(join):
    with fake_tensor.on("cpu"):
        mean = fake_tensor.as_fake(torch.zeros(3), "cpu").mean()
        assert join([mean, torch.tensor(1.0)]).shape == (2,)
