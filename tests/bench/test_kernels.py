"""Which attention kernel ran, by the profiler."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from bench.probes import kernels


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
        assert kernels.ran(attention(1, 1, 5, 8), device="cpu") == (expected,)


def test_the_kernel_that_torch_chose_by_layout_is_named():
    query = torch.randn(1, 1, 8, 5).mT  # tokens do not lie in one piece
    call = lambda: functional.scaled_dot_product_attention(query, query, query)
    assert kernels.ran(call, device="cpu") == ("_scaled_dot_product_attention_math",)


def test_the_way_back_has_a_name_of_its_own():
    query = torch.randn(1, 1, 5, 8, requires_grad=True)
    call = lambda: functional.scaled_dot_product_attention(query, query, query).sum().backward()
    assert kernels.ran(call, device="cpu")[1].endswith("flash_attention_for_cpu_backward")


def test_own_products_are_no_attention_kernel():
    x = torch.randn(5, 8)
    assert kernels.ran(lambda: (x @ x.mT).softmax(dim=-1) @ x, device="cpu") == ()


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
    assert kernels.named(seen) == (
        "fmha_cutlassF_f32_aligned_64x128_rf_sm80(PyTorchMemEffAttention)",
        "_scaled_dot_product_efficient_attention",
    )
