"""Which attention kernel is chosen, by the rules of devices, and which one ran, by the profiler."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ann.spec import UnavailableError
from bench.measure import profiler
from bench.predict import ledger as flops
from bench.predict.fake import attention_kernels, tensor
from bench.predict.fake.attention_kernels import NEWER, Attention, GpuRules

# The cuDNN that comes with torch 2.11 and with 2.15.
OF_2_11, OF_2_15 = 91900, 92600
HALF, FULL = torch.bfloat16, torch.float32


def heads(width, dtype, value_width=None, anchors=9, heads=(1, 1)):
    query = torch.empty(1, heads[0], 9, width, dtype=dtype, device="meta")
    key = query.new_empty(1, heads[1], anchors, width)
    return query, key, query.new_empty(1, heads[1], anchors, value_width or width)


def choose(query, key, value, *, gpu, trains=False, **options):
    query = query.clone().requires_grad_(trains)
    return attention_kernels.choose(Attention(query=query, key=key, value=value, **options), gpu)


def hopper(cudnn):
    return GpuRules(cudnn=cudnn)


def other(major, minor, cudnn=OF_2_15):
    return GpuRules(capability=(major, minor), cudnn=cudnn)


@pytest.mark.parametrize(
    ("gpu", "width", "dtype", "expected"),
    [
        (hopper(OF_2_11), 128, HALF, "cudnn"),
        (hopper(OF_2_11), 256, HALF, "flash" if NEWER else "cudnn"),
        (hopper(OF_2_15), 256, HALF, "cudnn"),
        (hopper(OF_2_15), 256, torch.float16, "cudnn"),
        (hopper(91500), 128, HALF, "flash"),
        (hopper(None), 128, HALF, "flash"),
        (hopper(OF_2_15), 12, HALF, "flash"),
        (hopper(OF_2_15), 256, FULL, "efficient"),
        (hopper(OF_2_15), 512, HALF, "efficient"),
        (hopper(OF_2_15), 516, HALF, "math"),
        (hopper(OF_2_15), 6, FULL, "math"),
        (hopper(OF_2_15), 256, torch.float64, "math"),
        (other(10, 0), 256, HALF, "cudnn"),
        (other(10, 7, cudnn=92400), 256, HALF, "flash"),
        (other(8, 0), 128, HALF, "flash"),
        (other(12, 0), 128, HALF, "flash"),
        (other(7, 5), 128, torch.float16, "efficient"),
        (other(7, 5), 128, HALF, "math"),
        (other(7, 5), 6, FULL, "efficient"),
        (other(12, 1), 128, FULL, "efficient"),
        (other(12, 2), 128, FULL, "math"),
        (other(13, 0), 128, HALF, "math"),
    ],
)
def test_the_kernel_follows_from_gpu_cudnn_type_and_width(gpu, width, dtype, expected):
    assert choose(*heads(width, dtype), gpu=gpu) == expected


@pytest.mark.parametrize(
    ("gpu", "widths", "expected"),
    [
        (hopper(OF_2_15), (256, 256), "cudnn"),
        (hopper(OF_2_15), (192, 192), "flash"),
        (hopper(OF_2_15), (192, 128), "cudnn"),
        (hopper(OF_2_11), (192, 128), "cudnn"),
        (other(8, 0), (200, 200), "flash"),
        (hopper(None), (200, 200), "flash"),
        (other(8, 9), (200, 200), "efficient"),
        (other(8, 9), (256, 256), "flash"),
        (other(12, 1), (224, 224), "efficient"),
    ],
)
def test_training_has_fewer_widths_than_inference(gpu, widths, expected):
    assert choose(*heads(widths[0], HALF, widths[1]), gpu=gpu, trains=True) == expected


@pytest.mark.parametrize(
    ("gpu", "widths", "expected"),
    [
        (hopper(91600), (192, 128), "cudnn"),
        (other(8, 0), (192, 128), "efficient"),
        (hopper(None), (64, 12), "math"),
        (hopper(None), (64, 16), "efficient"),
    ],
)
def test_values_of_another_width_than_keys_are_taken_by_few(gpu, widths, expected):
    assert choose(*heads(widths[0], HALF, widths[1]), gpu=gpu) == expected


@pytest.mark.parametrize(("warns", "expected"), [(False, "flash"), (True, "cudnn")])
def test_cudnn_is_not_chosen_where_all_must_be_deterministic(warns, expected):
    torch.use_deterministic_algorithms(mode=True, warn_only=warns)
    try:
        assert choose(*heads(128, HALF), gpu=hopper(OF_2_15)) == expected
    finally:
        torch.use_deterministic_algorithms(mode=False)


def test_cudnn_takes_no_single_anchor():
    assert choose(*heads(128, HALF, anchors=1), gpu=hopper(OF_2_15)) == "flash"


def test_cudnn_comes_last_where_torch_was_told_so(monkeypatch):
    monkeypatch.setenv("TORCH_CUDNN_SDPA_DEPRIORITIZED", "1")
    assert choose(*heads(128, HALF), gpu=hopper(OF_2_15)) == "flash"


@pytest.mark.parametrize(
    ("widths", "cudnn", "is_there"),
    [
        ((256, 256), OF_2_11, False),
        ((256, 256), OF_2_15, True),
        ((192, 128), 91002, False),
        ((192, 128), 91100, True),
    ],
)
def test_a_forced_cudnn_kernel_of_more_channels_is_there_since_some_version(
    widths, cudnn, is_there
):
    asked = heads(widths[0], HALF, widths[1])
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        if is_there:
            assert choose(*asked, gpu=hopper(cudnn)) == "cudnn"
            return
        with pytest.raises(UnavailableError, match="on cuda: what is forced has no kernel"):
            choose(*asked, gpu=hopper(cudnn))


def test_the_gpu_of_this_machine_is_meant_or_a_hopper(monkeypatch):
    assert GpuRules.meant().capability == (9, 0) or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    assert GpuRules.meant().capability == (8, 6)


class Attend(torch.nn.Module):
    """Attention of its inputs."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, *inputs):
        return functional.scaled_dot_product_attention(*inputs, **self.options)


def faked(device, *inputs, gpu=None, mode="eval", **options):
    """The attention operator that a call on fake tensors ends in; None for plain products."""
    with tensor.on(device, gpu=gpu):
        inputs = [tensor.as_fake(item, device).requires_grad_(mode == "train") for item in inputs]
        ledger = flops.count(Attend(**options), tuple(inputs), mode=mode).ledger
    names = [row.name for row in ledger if "scaled_dot_product" in row.name]
    return min(names, key=len).removeprefix("aten._scaled_dot_product_") if names else None


def test_a_processor_has_one_fused_kernel_for_all_types():
    assert faked("cpu", *heads(512, torch.float64)) == "flash_attention_for_cpu"


def test_flash_on_the_processor_wants_values_as_wide_as_keys():
    assert faked("cpu", *heads(8, FULL, 16)) is None


def test_tokens_that_do_not_lie_in_one_piece_fall_to_the_math_kernel():
    query, key, value = heads(8, FULL)
    query = query.mT.contiguous().mT
    assert choose(query.mT.contiguous().mT, key, value, gpu=hopper(OF_2_15)) == "math"
    assert faked("cpu", query, key, value) is None


def test_a_forced_kernel_that_a_device_lacks_is_unavailable():
    with (
        sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        pytest.raises(
            UnavailableError, match="on cuda: what is forced has no kernel for torch.float32"
        ),
    ):
        choose(*heads(8, FULL), gpu=hopper(OF_2_15))
    with (
        sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION),
        pytest.raises(RuntimeError, match="No (viable|available)"),
    ):
        faked("cpu", *heads(8, FULL))


NEWER = attention_kernels.NEWER


@pytest.mark.parametrize(
    ("shared", "options", "expected"),
    [
        ((4, 4), {"attn_mask": None, "dropout_p": 0.0, "is_causal": False}, "cudnn"),
        ((4, 4), {"is_causal": True}, "cudnn"),
        ((4, 4), {"attn_mask": (9, 9)}, "cudnn"),
        ((4, 4), {"attn_mask": (9,)}, "efficient"),
        ((4, 4), {"dropout_p": 0.125}, "cudnn"),
        ((4, 4), {"dropout_p": 0.1}, "flash"),
        ((4, 2), {"enable_gqa": True}, "cudnn"),
        ((4, 3), {"enable_gqa": True}, "math"),
        ((4, 1), {}, "cudnn" if NEWER else "math"),
    ],
)
def test_options_are_taken_by_some_kernels(shared, options, expected):
    if options.get("attn_mask"):
        options = {"attn_mask": torch.empty(options["attn_mask"], dtype=HALF, device="meta")}
    assert choose(*heads(64, HALF, heads=shared), gpu=hopper(OF_2_15), **options) == expected


@pytest.mark.parametrize(
    ("anchors", "options", "expected"),
    [
        (9, {"is_causal": True}, "flash"),
        (7, {"is_causal": True}, "efficient"),
        (9, {"attn_mask": (9, 9)}, "efficient"),
    ],
)
def test_flash_takes_no_mask_and_is_causal_on_squares(anchors, options, expected):
    if "attn_mask" in options:
        options = {"attn_mask": torch.empty(options["attn_mask"], dtype=HALF, device="meta")}
    assert choose(*heads(64, HALF, anchors=anchors), gpu=other(8, 0, None), **options) == expected


def test_the_efficient_kernel_lets_queries_share_heads_in_newer_versions():
    asked = heads(64, FULL, heads=(4, 2))
    expected = "efficient" if NEWER else "math"
    assert choose(*asked, gpu=hopper(OF_2_15), enable_gqa=True) == expected


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("dtype", "options", "expected"),
    [
        (HALF, {}, "cudnn_attention"),
        (FULL, {}, "efficient_attention"),
        (torch.float64, {}, None),
        (HALF, {"attn_mask": True, "dropout_p": 0.1}, "efficient_attention"),
        (HALF, {"dropout_p": 0.1}, "flash_attention"),
    ],
)
def test_a_call_on_fake_cuda_ends_in_the_kernel_that_is_chosen(dtype, options, expected, mode):
    query, key, value = (torch.empty(2, 4, 9, 64, dtype=dtype) for _ in range(3))
    if "attn_mask" in options:
        options = {**options, "attn_mask": torch.ones(9, 9, dtype=torch.bool)}
    assert faked("cuda", query, key, value, gpu=hopper(OF_2_15), mode=mode, **options) == expected


def test_heads_without_images_are_one_images_in_newer_versions():
    inputs = [torch.empty(4, 9, 64, dtype=HALF) for _ in range(3)]
    expected = "cudnn_attention" if NEWER else None
    assert faked("cuda", *inputs, gpu=hopper(OF_2_15)) == expected


def test_flash_pads_channels_to_eight():
    inputs = [torch.empty(1, 2, 9, 12, dtype=HALF) for _ in range(3)]
    with tensor.on("cuda", gpu=hopper(None)):
        inputs = [tensor.as_fake(item, "cuda") for item in inputs]
        found = flops.count(Attend(), tuple(inputs), mode="eval")
    assert found.macs == 2 * 2 * 9 * 9 * 16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("dtype", [FULL, torch.float16, HALF], ids=str)
@pytest.mark.parametrize("width", [64, 128, 192, 256, 512])
def test_a_real_gpu_chooses_the_kernel_that_is_predicted(width, dtype, trains):
    query, key, value = (
        torch.randn(1, 1, 64, width, device="cuda", dtype=dtype, requires_grad=trains)
        for _ in range(3)
    )
    call = lambda: functional.scaled_dot_product_attention(query, key, value)
    chosen = choose(query, key, value, gpu=GpuRules.meant(), trains=trains)
    middle = "attention_math" if chosen == "math" else f"{chosen}_attention"
    assert f"_scaled_dot_product_{middle}" in profiler.executed_kernels(call, device="cuda")


def attention(*shape, **options):
    query = torch.randn(shape)
    return lambda: functional.scaled_dot_product_attention(query, query, query, **options)


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        (
            torch.nn.attention.SDPBackend.FLASH_ATTENTION,
            "_scaled_dot_product_flash_attention_for_cpu",
        ),
        (torch.nn.attention.SDPBackend.MATH, "_scaled_dot_product_attention_math"),
    ],
)
def test_the_kernel_of_the_processor_is_named(backend, expected):
    with torch.nn.attention.sdpa_kernel(backend):
        assert profiler.executed_kernels(attention(1, 1, 5, 8), device="cpu") == (expected,)


def test_the_kernel_that_torch_chose_by_layout_is_named():
    query = torch.randn(1, 1, 8, 5).mT  # tokens do not lie in one piece
    call = lambda: functional.scaled_dot_product_attention(query, query, query)
    assert profiler.executed_kernels(call, device="cpu") == ("_scaled_dot_product_attention_math",)


def test_the_way_back_has_a_name_of_its_own():
    query = torch.randn(1, 1, 5, 8, requires_grad=True)
    call = lambda: functional.scaled_dot_product_attention(query, query, query).sum().backward()
    assert profiler.executed_kernels(call, device="cpu")[1].endswith(
        "flash_attention_for_cpu_backward"
    )


def test_own_products_are_no_attention_kernel():
    x = torch.randn(5, 8)
    assert profiler.executed_kernels(lambda: (x @ x.mT).softmax(dim=-1) @ x, device="cpu") == ()


def event(name, device):
    return SimpleNamespace(name=name, device_type=SimpleNamespace(name=device))


def test_kernels_of_a_gpu_stand_beside_the_operator_the_most_frequent_first():
    seen = [
        event("aten::scaled_dot_product_attention", "CPU"),
        event("aten::_scaled_dot_product_efficient_attention", "CPU"),
        event("cudaLaunchKernel", "CPU"),
        event("fmha_cutlassF_f32_aligned_64x128_rf_sm80(PyTorchMemEffAttention)", "CUDA"),
        event("fmha_cutlassF_f32_aligned_64x128_rf_sm80(PyTorchMemEffAttention)", "CUDA"),
        event("ampere_sgemm_128x64_tn", "CUDA"),
    ]
    assert profiler.attention_names(seen) == (
        "fmha_cutlassF_f32_aligned_64x128_rf_sm80(PyTorchMemEffAttention)",
        "_scaled_dot_product_efficient_attention",
    )
