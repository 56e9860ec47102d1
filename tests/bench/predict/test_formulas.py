"""Each formula against a hand count, and matrix work against loops over random shapes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.predict import ledger as flops
from bench.predict.formulas import Call, Work, plain_name, work_of

small = st.integers(1, 4)
few = settings(deadline=None, max_examples=25)


def extra(function, *inputs, grad=False):
    """FLOPs besides matrix work."""
    ledger = flops.Ledger()
    if not grad:
        with ledger, torch.no_grad():
            function(*inputs)
    else:
        leaves = [x.clone().requires_grad_() for x in inputs]
        made = function(*leaves)
        start = torch.ones_like(made)
        with ledger:
            made.backward(start)
    assert [row.name for row in ledger.operators if row.status == "uncounted"] == []
    return sum(row.flops - 2 * row.macs for row in ledger.operators)


def macs(function, *inputs):
    ledger = flops.Ledger()
    with ledger, torch.no_grad():
        function(*inputs)
    return sum(row.macs for row in ledger.operators)


X = torch.ones(2, 3, 8, 6)
ELEMENTS = X.numel()


@pytest.mark.parametrize(
    ("function", "flops_per_element"),
    [
        (lambda x: x + x, 1),
        (lambda x: x * 2.0, 1),
        (lambda x: x / 3, 1),
        (torch.relu, 1),
        (torch.relu_, 1),
        (torch.exp, 1),
        (torch.sqrt, 1),
        (torch.sigmoid, 4),
        (F.silu, 5),
        (lambda x: x.softmax(-1), 5),
        (lambda x: x.log_softmax(1), 5),
        (lambda x: x.sum(), 1),
        (lambda x: x.mean(dim=-1), 1),
        (lambda x: x.amax(1), 1),
        (lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3)), 2),
        (lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3), training=True), 6),
        (lambda x: F.group_norm(x, 3), 6),
        (lambda x: F.layer_norm(x, (6,)), 6),
        (lambda x: F.layer_norm(x, (6,), torch.ones(6), torch.ones(6)), 8),
        (lambda x: F.avg_pool2d(x, 2), 1),
        (lambda x: F.max_pool2d(x, 2), 1),
        (lambda x: F.max_pool2d(x, (4, 2)), 1),
        (lambda x: F.adaptive_avg_pool2d(x, 2), 1),
        (lambda x: F.adaptive_avg_pool2d(x, 1), 1),
        (lambda x: F.adaptive_max_pool2d(x, 2), 1),
        (lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), 0),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 4 * 7),
        (lambda x: x.clone(), 0),
        (lambda x: torch.cat([x, x]), 0),
        (lambda x: F.pad(x, (1, 1)), 0),
        (lambda x: x.permute(0, 2, 3, 1).reshape(-1), 0),
    ],
)
def test_flops_of_an_element(function, flops_per_element):
    assert extra(function, X.clone()) == flops_per_element * ELEMENTS


@pytest.mark.parametrize(
    ("function", "flops_per_element"),
    [
        (torch.relu, 1),
        (lambda x: x.softmax(-1), 4),
        (lambda x: x.log_softmax(-1), 4),
        (lambda x: F.batch_norm(x, None, None, training=True), 9),
        (lambda x: F.adaptive_avg_pool2d(x, 2), 1),
        (lambda x: F.avg_pool2d(x, 2), 1),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), 4 * 8),
    ],
)
def test_flops_of_an_element_going_back(function, flops_per_element):
    assert extra(function, X, grad=True) == flops_per_element * ELEMENTS


def test_adaptive_pooling_counts_overlapping_windows_as_often_as_they_are_read():
    # 5 positions to 3 cells: [0, 2), [1, 4), [3, 5), so 7 are read.
    assert extra(lambda x: F.adaptive_avg_pool2d(x, (3, 1)), torch.ones(1, 2, 5, 4)) == 2 * 7 * 4


def test_max_pooling_back_touches_one_place_an_output():
    assert extra(lambda x: F.max_pool2d(x, 2), torch.rand(1, 2, 4, 4), grad=True) == 2 * 2 * 2


def test_a_bias_is_one_sum_an_output():
    assert extra(nn.Conv2d(3, 5, 1), torch.ones(1, 3, 4, 4)) == 5 * 16
    assert extra(nn.Linear(3, 5), torch.ones(7, 3)) == 5 * 7


@pytest.mark.parametrize(
    ("kwargs", "operations"),
    [({}, 1), ({"beta": 0}, 0), ({"alpha": 2}, 2), ({"alpha": 2, "beta": 3}, 3)],
)
def test_baddbmm_counts_its_sum_and_its_factors(kwargs, operations):
    given = torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)
    assert macs(lambda *x: torch.baddbmm(*x, **kwargs), *given) == 2 * 3 * 4 * 5
    assert extra(lambda *x: torch.baddbmm(*x, **kwargs), *given) == 2 * 3 * 5 * operations


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.mm, ((3, 4), (4, 5)), 60),
        (torch.mv, ((3, 4), (4,)), 12),
        (torch.dot, ((4,), (4,)), 4),
        (torch.addmv, ((3,), (3, 4), (4,)), 12),
        (torch.addmm, ((3, 5), (3, 4), (4, 5)), 60),
        (torch.addbmm, ((3, 5), (2, 3, 4), (2, 4, 5)), 120),
    ],
)
def test_matrix_operators(function, shapes, expected):
    assert macs(function, *map(torch.ones, shapes)) == expected


@few
@given(
    batch=small,
    groups=st.integers(1, 3),
    width=small,
    out=small,
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
)
def test_convolution_is_one_filter_at_each_output(
    batch, groups, width, out, kernel, stride, dilation, padding
):
    conv = nn.Conv2d(
        groups * width,
        groups * out,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        bias=False,
        device="meta",
    )
    x = torch.empty(batch, groups * width, 9, 11, device="meta")
    made = conv(x)
    assert macs(conv, x) == batch * made.shape[2] * made.shape[3] * groups * out * width * kernel**2


@few
@given(
    groups=st.integers(1, 3),
    width=small,
    out=small,
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
)
def test_transposed_convolution_is_one_filter_at_each_input(groups, width, out, kernel, stride):
    conv = nn.ConvTranspose2d(
        groups * width, groups * out, kernel, stride, groups=groups, bias=False, device="meta"
    )
    x = torch.empty(2, groups * width, 5, 7, device="meta")
    assert macs(conv, x) == 2 * 5 * 7 * groups * width * out * kernel**2


@few
@given(transposed=st.booleans(), groups=st.integers(1, 4), stride=st.integers(1, 2))
def test_convolution_goes_back_at_twice_the_cost(transposed, groups, stride):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = kind(groups * 2, groups * 3, 3, stride, groups=groups, bias=False, device="meta")
    x = torch.empty(2, groups * 2, 6, 7, device="meta", requires_grad=True)
    forward = macs(conv, x)
    made = conv(x)
    ledger = flops.Ledger()
    with ledger:
        made.backward(torch.empty_like(made))
    assert sum(row.macs for row in ledger.operators) == 2 * forward


@few
@given(
    left=st.lists(small, max_size=2),
    rows=small,
    contracted=small,
    columns=small,
    data=st.data(),
)
def test_matmul_is_one_mac_for_each_output_and_contracted_place(
    left, rows, contracted, columns, data
):
    right = [data.draw(st.sampled_from([1, size])) for size in left]
    a = torch.empty(*left, rows, contracted, device="meta")
    b = torch.empty(*right, contracted, columns, device="meta")
    assert macs(torch.matmul, a, b) == (a @ b).numel() * contracted


@few
@given(
    batch=small,
    heads=small,
    queries=small,
    keys=small,
    width=small,
    is_causal=st.booleans(),
    device=st.sampled_from(["cpu", "meta"]),
)
def test_attention_is_two_products_of_all_pairs(
    batch, heads, queries, keys, width, is_causal, device
):
    query = torch.ones(batch, heads, queries, width, device=device)
    key = value = torch.ones(batch, heads, keys, width, device=device)
    attend = lambda *x: F.scaled_dot_product_attention(*x, is_causal=is_causal)
    assert macs(attend, query, key, value) == batch * heads * queries * keys * 2 * width


FUSED = (
    "flash_attention",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
    "flash_attention_for_cpu",
)


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("backward", [False, True])
def test_fused_attentions_that_only_a_gpu_runs_count_by_their_shapes(name, backward):
    query, key = torch.empty(2, 3, 10, 8, device="meta"), torch.empty(2, 3, 7, 8, device="meta")
    value = torch.empty(2, 3, 7, 4, device="meta")
    full = f"aten._scaled_dot_product_{name}{'_backward' if backward else ''}"
    work = work_of(Call(full, {"query": query, "key": key, "value": value}, (query,)))
    pairs = 2 * 3 * 10 * 7
    assert work.macs == pairs * ((3 * 8 + 2 * 4) if backward else (8 + 4))


@pytest.mark.parametrize("name", FUSED)
def test_the_fused_attentions_bear_names_that_torch_has(name):
    assert hasattr(torch.ops.aten, f"_scaled_dot_product_{name}")


def test_lower_level_attention_has_its_heads_behind_its_tokens():
    query = torch.empty(2, 10, 3, 8, device="meta")
    key = torch.empty(2, 7, 3, 8, device="meta")
    arguments = {"query": query, "key": key, "value": key, "cum_seq_q": None}
    work = work_of(Call("aten._flash_attention_forward", arguments, (query,)))
    assert work.macs == 2 * 3 * 10 * 7 * 16


def packed(starts, **more):
    query, key = torch.empty(20, 3, 8, device="meta"), torch.empty(20, 3, 8, device="meta")
    arguments = {"query": query, "key": key, "value": key, "cum_seq_q": starts, "cum_seq_k": starts}
    return work_of(Call("aten._flash_attention_forward", arguments | more, (query,)))


def test_a_packed_attention_is_that_of_each_of_its_sequences():
    work = packed(torch.tensor([0, 5, 20]))
    pairs = 3 * (5 * 5 + 15 * 15)
    assert (work.macs, work.extra_flops) == (pairs * 16, pairs * 6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"starts": torch.empty(3, device="meta")},
        {"starts": torch.tensor([0, 20]), "seqused_k": torch.tensor([7])},
    ],
)
def test_a_packed_attention_whose_lengths_are_not_at_hand_has_no_count(arguments):
    assert packed(**arguments) is None


def test_attention_on_the_cpu_goes_back_with_five_products():
    x = [torch.ones(1, 2, 16, 8).requires_grad_() for _ in range(3)]
    made = F.scaled_dot_product_attention(*x)
    ledger = flops.Ledger()
    with ledger:
        made.backward(torch.ones_like(made))
    fused = [row for row in ledger.operators if "attention" in row.name]
    assert sum(row.macs for row in fused) == 2 * 16 * 16 * 8 * 5


def test_an_in_place_operator_has_the_name_of_its_kind():
    assert [plain_name(name) for name in ("aten.relu_", "aten.add", "aten.__and__")] == [
        "aten.relu",
        "aten.add",
        "aten.__and__",
    ]


def test_flops_are_two_a_mac_and_the_rest():
    assert Work(macs=3, extra_flops=4).flops == 10
