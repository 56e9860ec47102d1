"""Operators by group, their sums over simulated events, and torch's profiler on the CPU."""

from types import SimpleNamespace

import pytest

from bench.measure.profiler import (
    UNATTRIBUTED,
    attention_names,
    collate,
    group_of,
    profile,
    tally,
)

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("aten::mkldnn_convolution", "conv"),
        ("aten::cudnn_convolution", "conv"),
        ("aten::convolution_backward", "conv"),
        ("aten::_slow_conv2d_forward", "conv"),
        ("aten::_conv_depthwise2d", "conv"),
        ("aten::bmm", "matmul"),
        ("aten::mm", "matmul"),
        ("aten::addmm", "matmul"),
        ("aten::baddbmm", "matmul"),
        ("aten::matmul", "matmul"),
        ("aten::mv", "matmul"),
        ("aten::_scaled_dot_product_flash_attention", "matmul"),
        ("ann::attend_tiles", "matmul"),
        ("aten::_softmax", "softmax"),
        ("aten::_softmax_backward_data", "softmax"),
        ("aten::_adaptive_avg_pool2d", "pooling"),
        ("aten::max_pool2d_with_indices", "pooling"),
        ("aten::native_batch_norm", "batch norm"),
        ("aten::cudnn_batch_norm_backward", "batch norm"),
        ("aten::cat", "concat/copy"),
        ("aten::copy_", "concat/copy"),
        ("aten::_to_copy", "concat/copy"),
        ("aten::clone", "concat/copy"),
        ("aten::clamp_min", "element-wise"),
        ("aten::mul", "element-wise"),
        ("aten::native_layer_norm", "other"),
        ("aten::_convert_indices_from_coo_to_csr", "other"),
        ("aten::topk", "other"),
        ("aten::mean", "element-wise"),
    ],
)
def test_operator_belongs_to_the_figures_group(name, group):
    assert group_of(name) == group


def event(name, *, cpu_us=0.0, device_us=0.0, on="CPU", annotation=False):
    return SimpleNamespace(
        name=name,
        device_type=SimpleNamespace(name=on),
        self_cpu_time_total=cpu_us,
        self_device_time_total=device_us,
        is_user_annotation=annotation,
    )


def test_calls_of_one_operator_are_summed_in_seconds():
    events = [
        event("aten::mm", cpu_us=3),
        event("aten::mm", cpu_us=4),
        event("aten::cat", cpu_us=2),
    ]
    assert tally(events, device="cpu") == pytest.approx({"aten::mm": 7e-6, "aten::cat": 2e-6})


def test_kernels_count_for_the_operator_that_launched_them():
    events = [
        event("aten::mm", cpu_us=90, device_us=5),
        event("sm90_gemm", device_us=5, on="CUDA"),
        event("cudaLaunchKernel", cpu_us=8),
    ]
    assert tally(events, device="cuda") == pytest.approx({"aten::mm": 5e-6})


def test_kernels_that_no_operator_launched_are_not_lost():
    events = [
        event("aten::mm", device_us=5),
        event("sm90_gemm", device_us=5, on="CUDA"),
        event("own_kernel", device_us=7, on="CUDA"),
    ]
    assert tally(events, device="cuda")[UNATTRIBUTED] == pytest.approx(7e-6)


@pytest.mark.parametrize("name", ["Activity Buffer Request", "cudaMalloc", "cuLaunchKernelEx"])
def test_what_bears_an_operators_number_does_not_count_its_kernels_again(name):
    # As torch 2.11 reports one product on an H200: the buffer has the number of `aten::mm`, and its kernel with it.
    events = [
        event("aten::mm", device_us=2681),
        event(name, cpu_us=3029, device_us=2681),
        event("sm80_xmma_gemm", device_us=2681, on="CUDA"),
    ]
    assert tally(events, device="cuda") == pytest.approx({"aten::mm": 2681e-6})


def test_an_annotation_over_kernels_is_no_kernel():
    events = [
        event("aten::mm", device_us=5),
        event("sm90_gemm", device_us=5, on="CUDA"),
        event("Optimizer.step", device_us=9, on="CUDA", annotation=True),
    ]
    assert tally(events, device="cuda") == pytest.approx({"aten::mm": 5e-6})


def test_runs_stand_side_by_side_with_the_longest_operator_first():
    found = collate([{"aten::mm": 2.0, "aten::cat": 3.0}, {"aten::mm": 6.0}, {"aten::mm": 4.0}])
    assert [(one.name, one.samples_s) for one in found] == [
        ("aten::mm", (2.0, 6.0, 4.0)),
        ("aten::cat", (3.0, 0.0, 0.0)),
    ]


def test_the_profiler_sees_the_operators_of_a_non_local_block():
    features = torch.randn(1, 8, 6, 6)
    conv, norm = torch.nn.Conv2d(8, 8, 1), torch.nn.BatchNorm2d(8)

    def work():
        query = norm(conv(features)).flatten(2)
        pooled = torch.nn.functional.adaptive_avg_pool2d(features, 3).flatten(2)
        anchors = torch.cat([pooled, pooled], dim=2)
        return (query.mT @ anchors).softmax(dim=-1)

    found = profile(work, device="cpu", repeats=3)
    groups = {one.group for one in found}
    assert {"conv", "batch norm", "pooling", "concat/copy", "matmul", "softmax"} <= groups
    assert {len(one.samples_s) for one in found} == {3}


def test_the_work_is_run_once_more_than_kept():
    calls = []
    profile(lambda: calls.append(torch.zeros(1) + 1), device="cpu", repeats=2)
    assert len(calls) == 3


def test_the_profiler_leaves_standard_error_quiet(capfd):
    profile(lambda: torch.zeros(2) + 1, device="cpu", repeats=1)
    assert capfd.readouterr().err == ""


def test_meta_has_nothing_to_time():
    with pytest.raises(ValueError, match="device 'meta' runs nothing.*pass cpu or cuda"):
        profile(lambda: None, device="meta")


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats=0"):
        profile(lambda: None, device="cpu", repeats=0)


def test_attention_is_named_by_its_operators_and_its_kernels():
    launched = [
        event("aten::scaled_dot_product_attention"),
        event("aten::_scaled_dot_product_flash_attention"),
        event("ann::project_tiles"),
        event("ann::attend_tiles"),
        event("attend_tile", on="CUDA"),
        event("flash_fwd_kernel", on="CUDA"),
    ]
    assert attention_names(launched) == (
        "_scaled_dot_product_flash_attention",
        "ann::attend_tiles",
        "flash_fwd_kernel",
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
def test_the_product_of_large_matrices_is_nearly_all_of_its_device_time():
    matrix = torch.randn(4096, 4096, device="cuda")
    found = profile(lambda: (matrix @ matrix).add_(1), device="cuda", repeats=3)
    assert found[0].group == "matmul"
    assert sum(one.samples_s[0] for one in found[1:]) < found[0].samples_s[0]


def test_of_a_call_that_takes_ten_seconds_three_runs_are_kept_and_no_other_made():
    calls, moments = [], iter([0.0, 10.0])
    rows = profile(
        lambda: calls.append(torch.ones(3) + 1), device="cpu", clock=lambda: next(moments)
    )
    assert len(calls) == 3
    assert {len(row.samples_s) for row in rows} == {3}
