"""Number formats: what runs is what is asked for, or it is unavailable."""

import pytest
import torch

from ann.spec import BlockSpec, Size, UnavailableError
from bench.workloads import number_formats, workload
from experiments.spec import Cell

SPEC = BlockSpec(channels=8, key_channels=4)


def make(dtype, mode="eval", device="cpu"):
    cell = Cell(
        experiment="x",
        axes={},
        subject=SPEC,
        size=Size(width=5, height=4),
        dtype=dtype,
        mode=mode,
        batch=2,
    )
    return workload.make_workload(cell, device)


class Seen:
    """Types of what the last convolution gives."""

    def __init__(self, work):
        self.kinds = []
        work.module.out.register_forward_hook(
            lambda module, inputs, output: self.kinds.append(output.dtype)
        )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", torch.float32),
        ("float64", torch.float64),
        ("float16", torch.float16),
        ("bfloat16", torch.bfloat16),
        ("autocast-float16", torch.float16),
        ("autocast-bfloat16", torch.bfloat16),
    ],
)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_products_are_in_the_format_that_is_asked_for(dtype, expected, mode):
    work = make(dtype, mode)
    seen = Seen(work)
    work()
    assert seen.kinds == [expected]


@pytest.mark.parametrize("dtype", ["autocast-bfloat16", "tf32"])
def test_weights_of_autocast_and_tf32_are_float32(dtype):
    assert number_formats.weights_dtype(dtype) is torch.float32


def test_inference_casts_its_weights_once_within_a_context():
    work = make("autocast-bfloat16")
    with work.numbers():
        assert casts(work) > 0
        assert casts(work) == 0
    assert casts(work) > 0


def casts(work):
    """How many weights one call casts."""
    from torch.utils._python_dispatch import TorchDispatchMode

    weights = {id(parameter) for parameter in work.module.parameters()}

    class Count(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if "to_copy" in str(func) and id(args[0]) in weights:
                self.total += 1
            return func(*args, **(kwargs or {}))

    with Count() as count:
        work()
    return count.total


def test_gradients_of_autocast_are_those_of_float32_weights():
    work = make("autocast-bfloat16", "train")
    seen = []
    work.module.out.weight.register_hook(lambda gradient: seen.append(gradient.dtype))
    work()
    assert seen == [torch.float32]


def test_a_processor_has_no_tf32():
    with pytest.raises(UnavailableError, match="tf32 is a format of NVIDIA GPUs"):
        make("tf32")


@pytest.mark.parametrize(
    ("dtype", "capability", "lacks"),
    [
        ("tf32", (7, 5), True),
        ("autocast-bfloat16", (7, 0), True),
        ("bfloat16", (7, 5), True),
        ("autocast-float16", (7, 0), False),
        ("tf32", (8, 0), False),
    ],
)
def test_gpus_before_ampere_lack_bfloat16_and_tf32(dtype, capability, lacks, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    if not lacks:
        number_formats.require_format(dtype, "cuda")
        return
    with pytest.raises(UnavailableError, match=f"this GPU has {capability[0]}.{capability[1]}"):
        number_formats.require_format(dtype, "cuda")


@pytest.fixture
def precisions():
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    yield lambda: [backend.fp32_precision for backend in backends]
    for backend, value in zip(backends, before, strict=True):
        backend.fp32_precision = value


def test_float32_is_whole_and_tf32_is_not_on_cuda(precisions):
    number_formats.switch_format("tf32", "cuda")
    assert precisions() == ["tf32", "tf32"]
    number_formats.switch_format("float32", "cuda")
    assert precisions() == ["ieee", "ieee"]


def test_the_flags_of_an_environment_are_what_switch_sets(precisions):
    from bench.run.environment import precision_flags

    number_formats.switch_format("tf32", "cuda")
    assert number_formats.format_flags("tf32", "cuda").items() <= precision_flags(torch).items()
    assert number_formats.format_flags("tf32", "cpu") == {}
    assert number_formats.format_flags("bfloat16", "cuda") == {}


def test_a_cell_leaves_the_precision_as_it_was(precisions):
    before = precisions()
    with number_formats.unswitched():
        number_formats.switch_format("tf32", "cuda")
        assert precisions() != before
    assert precisions() == before


@pytest.mark.parametrize("dtype", ["float16", "autocast-float16", "bfloat16", "autocast-bfloat16"])
@pytest.mark.parametrize("has", [True, False])
def test_a_format_without_instructions_is_noted_on_a_processor(dtype, has, monkeypatch):
    monkeypatch.setattr(number_formats, "computes_in", lambda kind: has or kind == torch.float32)
    caveats = number_formats.format_caveats(dtype, "cpu")
    kind = dtype.removeprefix("autocast-")
    assert [f"products in {kind};" in each for each in caveats] == [True] * (not has)


@pytest.mark.parametrize(
    ("dtype", "device"), [("float32", "cpu"), ("tf32", "cuda"), ("float16", "cuda")]
)
def test_formats_that_are_computed_in_have_no_note(dtype, device):
    assert number_formats.format_caveats(dtype, device) == ()


def test_a_timing_in_float16_says_that_a_processor_does_without(monkeypatch):
    from bench.measure.cpu_timer import probe

    monkeypatch.setattr(number_formats, "computes_in", lambda kind: kind != torch.float16)
    cell = Cell(
        experiment="x",
        axes={},
        subject=SPEC,
        size=Size(width=5, height=4),
        dtype="float16",
        budget_s=0.01,
    )
    timings = probe(workload.make_workload(cell, "cpu"), cell, "cpu")["timings"]
    assert all(
        "products in float16; a call was seen to take" in each.caveats[0] for each in timings
    )
