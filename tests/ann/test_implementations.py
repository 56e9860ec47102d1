"""Other ways to compute a block are equal to it, forward and backward, and leave it as it is."""

import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from ann import attention, build
from ann.blocks import Disentangled, NonLocal
from ann.implementations import implement
from ann.spec import UnavailableError

REWRITINGS = ("sdpa", "sdpa-math", "sdpa-flash", "chunked")
BLOCKS = ("nb", "apnb", "fnb", "afnb", "dnl", "apnb-concat", "nl")
TOLERANCE = 1e-12
# Of a 31x17 map's 527 rows of float64: chunks of 9 rows, the last one shorter.
SMALL_CHUNK = 9 * 527 * 8


def make(name, **changes):
    torch.manual_seed(0)
    low = {"low_channels": 12} if name in ("fnb", "afnb") else {}
    block = build.block(name, **{"channels": 16, "key_channels": 8, **low, **changes}).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)  # W_o begins as zero and would hide all else
    return block


def maps(name, count=2):
    torch.manual_seed(1)
    widths = (16, 12) if name in ("fnb", "afnb") else (16,)
    return [
        torch.randn(count, width, 31, 17, dtype=torch.double, requires_grad=True)
        for width in widths
    ]


def difference(found, expected):
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def outcome(module, inputs):
    """Output, and gradients of parameters and inputs; of dead ones (a bias ahead of a norm) noise is left."""
    out = module(*inputs)
    torch.manual_seed(2)
    wanted = [*module.parameters(), *inputs]
    gradients = torch.autograd.grad(out, wanted, torch.randn_like(out), allow_unused=True)
    return out, [gradient for gradient in gradients if gradient is not None]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("implementation", REWRITINGS)
@pytest.mark.parametrize("name", BLOCKS)
def test_output_and_gradients_are_those_of_the_plain_block(name, implementation, training):
    block = make(name).train(training)
    other = implement(block, implementation, "training", chunk_bytes=SMALL_CHUNK)
    expected, gradients = outcome(block, maps(name))
    found, others = outcome(other, maps(name))
    assert difference(found, expected) < TOLERANCE
    largest = max(gradient.abs().max() for gradient in gradients)
    for one, two in zip(others, gradients, strict=True):
        assert (one - two).abs().max() < TOLERANCE * largest


@pytest.mark.parametrize("implementation", REWRITINGS)
def test_a_network_is_rewritten_where_it_attends(implementation):
    torch.manual_seed(0)
    network = build.network("paper/afnb+apnb", backbone="tiny", num_classes=3).double().eval()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.0)
    images = torch.randn(1, 3, 49, 65, dtype=torch.double)
    other = implement(network, implementation)
    with torch.no_grad():
        assert difference(other(images), network(images)) < TOLERANCE
    blocks = [part for part in other.modules() if isinstance(part, NonLocal)]
    assert blocks
    assert all(block.attention is not None for block in blocks)
    assert all(part.attention is None for part in network.modules() if isinstance(part, NonLocal))


class Doubled(NonLocal):
    """Somebody's own block."""

    def refine(self, x, source):
        return 2 * super().refine(x, source)


class Shifted(NonLocal):
    def embed(self, x, source, sample):
        query, key = super().embed(x, source, sample)
        return query, key + 1


class DoubledDisentangled(Disentangled):
    def refine(self, x, source):
        return 2 * super().refine(x, source)


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("implementation", [*REWRITINGS, "fast", "fast-compiled"])
@pytest.mark.parametrize("kind", [Doubled, Shifted, DoubledDisentangled])
def test_a_subclass_is_not_rewritten_as_what_it_is_a_subclass_of(kind, implementation, mode):
    block = kind(build.block_spec("nl", channels=16, key_channels=8))
    wrapped = nn.Sequential(block)
    for module in (block, wrapped):
        with pytest.raises(
            ValueError, match=f"{kind.__name__} is a subclass of NonLocal that can't"
        ):
            implement(module, implementation, mode)
    assert wrapped[0] is block
    assert block.attention is None


@pytest.mark.parametrize(
    "implementation", [*REWRITINGS, pytest.param("compiled", marks=pytest.mark.slow)]
)
def test_parameters_buffers_and_keys_are_the_very_same(implementation):
    block = make("dnl", projection="shared")
    other = implement(block, implementation)
    assert list(other.state_dict()) == list(block.state_dict())
    assert [id(one) for one in other.parameters()] == [id(one) for one in block.parameters()]
    assert [id(one) for one in other.buffers()] == [id(one) for one in block.buffers()]


def test_the_given_module_stays_as_it_is():
    block = make("nb").eval()
    parts = list(block.modules())
    implement(block, "sdpa").train()
    assert list(block.modules()) == parts
    assert not any(part.training for part in block.modules())


def test_a_rewritten_block_is_in_the_mode_of_the_given_one():
    assert not implement(make("nb").eval(), "chunked").training
    assert implement(make("nb").train(), "chunked").training


def test_plain_is_the_module_itself():
    block = make("nb")
    assert implement(block, "plain") is block


def test_fast_is_that_of_the_fast_path():
    block = make("apnb").eval()
    with torch.no_grad():
        assert difference(implement(block, "fast")(*maps("apnb")), block(*maps("apnb"))) < TOLERANCE


@pytest.mark.parametrize("chunk_bytes", [1, SMALL_CHUNK, 2**30])
def test_chunks_hold_no_more_of_the_map_than_they_may(chunk_bytes, monkeypatch):
    seen = []
    mix = attention._mix

    def watched(query, key, value, scale):
        seen.append((query.shape[0] * query.shape[1] * key.shape[1] * 8, query.shape[1]))
        return mix(query, key, value, scale)

    monkeypatch.setattr(attention, "_mix", watched)
    query, key, value = torch.randn(3, 2, 527, 8, dtype=torch.double)
    with torch.no_grad():
        attention.attend_in_chunks(query, key, value, scale=1.0, chunk_bytes=chunk_bytes)
    assert sum(rows for _, rows in seen) == 527
    assert all(size <= chunk_bytes or rows == 1 for size, rows in seen)


def test_training_in_chunks_keeps_no_map_for_the_way_back():
    block = make("nb")
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        implement(block, "chunked", "training", chunk_bytes=SMALL_CHUNK)(*maps("nb", 1))
    assert max(kept) < 527 * 527


def test_a_kernel_that_the_processor_lacks_is_unavailable_and_no_other_runs():
    block = implement(make("nb"), "sdpa-efficient")
    with pytest.raises(
        UnavailableError, match="sdpa-efficient: torch has no such attention kernel"
    ):
        block(*maps("nb"))


def test_flash_says_why_it_does_not_take_values_of_another_width():
    block = implement(make("nb", value_channels=12), "sdpa-flash")
    with pytest.raises(UnavailableError, match="for these tensors on cpu"):
        block(*maps("nb"))


def test_of_torch_s_reasons_those_of_the_kernel_that_was_asked_for_are_told(monkeypatch):
    # What torch 2.11 says on an H200 of queries in float32.
    said = (
        "Memory efficient kernel not used because:",
        "Memory Efficient attention has been runtime disabled.",
        "Flash attention kernel not used because:",
        "Expected query, key and value to all be of dtype: {Half, BFloat16}.",
    )

    def refuse(*_, **__):
        for text in said:
            warnings.warn(f"{text} (Triggered internally at sdp_utils.cpp:986.)", stacklevel=1)
        msg = "No available kernel. Aborting execution."
        raise RuntimeError(msg)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnavailableError) as told:
            implement(make("nb"), "sdpa-flash")(*maps("nb"))
    assert str(told.value).endswith(f"tensors on cpu ({said[-1]})")


def test_an_error_that_is_not_about_kernels_stays_what_it_is(monkeypatch):
    def fail(*_, **__):
        msg = "CUDA error: an illegal memory access was encountered"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fail)
    query, key, value = (torch.randn(1, tokens, 4) for tokens in (5, 3, 3))
    with pytest.raises(RuntimeError, match="illegal memory access") as told:
        attention.attend_fused(query, key, value, scale=1.0, kernel="sdpa-math")
    assert not isinstance(told.value, UnavailableError)


def test_tokens_of_fused_attention_lie_in_one_piece(monkeypatch):
    strides = []

    def watched(query, key, value, **options):
        strides.extend(tensor.stride(-1) for tensor in (query, key, value))
        return query @ key.mT @ value

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    implement(make("nb"), "sdpa")(*maps("nb"))
    assert strides == [1, 1, 1]


def test_a_module_without_attention_has_nothing_to_rewrite():
    with pytest.raises(
        ValueError, match="none of our non-local blocks in Conv2d, so no attention to rewrite"
    ):
        implement(nn.Conv2d(1, 1, 1), "sdpa")


def test_an_unknown_implementation_is_told_what_is_allowed():
    with pytest.raises(
        ValueError, match="unknown implementation 'quick'; allowed are plain, fast, sdpa"
    ):
        implement(make("nb"), "quick")


def test_onnxruntime_is_for_files():
    with pytest.raises(UnavailableError, match="export the module with its inputs"):
        implement(make("nb"), "onnxruntime")


COMPILED = """
import torch
from ann import build
from ann.implementations import implement

block = build.block("dnl", channels=16, key_channels=8).eval()
torch.nn.init.normal_(block.out_norm.weight)
x = torch.randn(1, 16, 9, 7)
for implementation in ("sdpa", "sdpa-math", "chunked"):
    module = implement(block, implementation)
    with torch.no_grad():
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=False)
        exported = torch.export.export(module, (x,), strict=True).module()
        for call in (compiled, exported):
            torch.testing.assert_close(call(x), block(x), rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
def test_attention_that_is_handed_in_compiles_and_is_exported():
    # The checks of shapes, which are on in this process, can't be compiled.
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize("implementation", ["compiled", "fast-compiled"])
def test_compiled_code_is_equal(implementation):
    block = make("apnb").eval()
    with torch.no_grad():
        found = implement(block, implementation)(*maps("apnb"))
        assert difference(found, block(*maps("apnb"))) < TOLERANCE
