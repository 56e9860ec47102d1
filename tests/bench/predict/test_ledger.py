"""The ledger: what it counts, what it leaves alone, and that it leaves the module as it was."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from ann import build
from bench.predict import ledger as flops
from tests.bench.predict.naive import naive


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def meta(*shape):
    return torch.empty(shape, device="meta")


def counted(function, *inputs, mode="eval"):
    return flops.count(Call(function), inputs, mode=mode)


@pytest.mark.parametrize(
    ("grids", "mode", "macs"),
    [
        ((), "eval", 618_475_290_624),
        ((1, 3, 6, 8), "eval", 70_564_970_496),
        ((), "train", 3_607_772_528_640 // 2),
        ((1, 3, 6, 8), "train", 320_310_607_872 // 2),
    ],
)
def test_matrix_work_of_the_naive_blocks_at_the_papers_size(grids, mode, macs):
    assert flops.count(naive(grids), (meta(1, 2048, 128, 256),), mode=mode).macs == macs


def test_flops_are_two_per_mac_and_the_element_wise_work():
    pixels = 128 * 256
    found = flops.count(naive(), (meta(1, 2048, 128, 256),), mode="eval")
    bias, scale, softmax = (3 * 256 + 2048) * pixels, pixels**2, 5 * pixels**2
    assert found.flops == 2 * found.macs + bias + scale + softmax


@pytest.mark.parametrize("name", build.block_names())
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_nothing_of_a_named_block_is_uncounted(name, mode):
    with torch.device("meta"):
        block = build.block(name)
    low = block.spec.low_channels
    inputs = [meta(1, block.spec.channels, 9, 12)] + ([meta(1, low, 9, 12)] if low else [])
    ledger = flops.count(block, tuple(inputs), mode=mode).ledger
    assert [row.name for row in ledger if row.status == "uncounted"] == []


def test_a_shared_query_and_key_is_counted_as_often_as_it_runs():
    with torch.device("meta"):
        shared, separate = (
            build.block("nb", projection=kind, channels=64, key_channels=8)
            for kind in ("shared", "separate")
        )
    x = (meta(1, 64, 8, 8),)
    assert flops.count(shared, x, mode="eval").macs == flops.count(separate, x, mode="eval").macs


def test_an_operator_without_formula_is_uncounted_with_its_bytes():
    ledger = counted(torch.linalg.matrix_exp, torch.ones(10, 10)).ledger
    assert [(row.name, row.status, row.moved_bytes) for row in ledger] == [
        ("aten.linalg_matrix_exp", "uncounted", 800)
    ]


def test_views_move_no_bytes_and_copies_do():
    ledger = counted(lambda x: x.mT.contiguous(), torch.ones(4, 8)).ledger
    moved = {row.name: (row.status, row.moved_bytes) for row in ledger}
    assert moved == {"aten.transpose": ("free", 0), "aten.clone": ("free", 256)}


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5)), 2 * 3 * 4 * 5),
        ("bchw,kc->bkhw", ((2, 3, 4, 5), (7, 3)), 2 * 3 * 4 * 5 * 7),
        ("nqk,nsk->nqs", ((1, 6, 4), (1, 5, 4)), 6 * 4 * 5),
    ],
)
def test_einsum_counts_as_its_product(equation, shapes, macs):
    inputs = [torch.ones(shape) for shape in shapes]
    assert counted(lambda a, b: torch.einsum(equation, a, b), *inputs).macs == macs


@pytest.mark.parametrize(
    ("left", "right", "macs"),
    [
        ((6, 4), (3, 4, 5), 3 * 6 * 4 * 5),
        ((3, 6, 4), (4, 5), 3 * 6 * 4 * 5),
        ((3, 6, 4), (4,), 3 * 6 * 4),
        ((6, 4), (4,), 6 * 4),
        ((4,), (4,), 4),
        ((2, 1, 6, 4), (3, 4, 5), 2 * 3 * 6 * 4 * 5),
    ],
)
def test_matmul_broadcasts_and_takes_vectors(left, right, macs):
    assert counted(torch.matmul, torch.ones(left), torch.ones(right)).macs == macs
    assert counted(torch.matmul, meta(*left), meta(*right)).macs == macs


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
def test_attention_counts_once_whatever_carries_it_out(device, layout):
    query, key, value = (torch.ones(2, 3, n, 8, device=device) for n in (16, 12, 12))
    if layout == "transposed":
        query, key, value = (x.mT.contiguous().mT for x in (query, key, value))
    found = counted(F.scaled_dot_product_attention, query, key, value)
    assert found.macs == 2 * 3 * 16 * 12 * (8 + 8)


@pytest.mark.parametrize("fused", [True, False])
def test_multi_head_attention_counts_alike_with_and_without_its_fast_path(fused):
    torch.backends.mha.set_fastpath_enabled(fused)
    try:
        module = nn.MultiheadAttention(16, 4, batch_first=True)
        x = torch.ones(2, 10, 16)
        found = flops.count(module, (x, x, x), mode="eval")
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert found.macs == 4 * 2 * 10 * 16 * 16 + 2 * 2 * 10 * 10 * 16
    assert [row for row in found.ledger if row.status == "uncounted"] == []


@pytest.mark.parametrize("fused", [True, False])
def test_the_fast_path_of_attention_is_as_before_afterwards(fused):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fused)
    try:
        counted(torch.relu, torch.ones(2))
        assert torch.backends.mha.get_fastpath_enabled() == fused
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def test_inference_mode_hides_nothing():
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 5))
    with torch.inference_mode():
        found = flops.count(module, (torch.ones(1, 4, 4, 4),), mode="eval")
    assert found.macs == 4 * 8 * 9 * 4 + 32 * 5
    assert {row.name for row in found.ledger} >= {"aten.convolution", "aten.addmm"}
    assert [row.name for row in found.ledger if row.status == "uncounted"] == []


def test_checkpointing_counts_the_recomputation():
    layer = nn.Linear(8, 8)
    twice = nn.Sequential(layer, nn.Linear(8, 8))

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = twice

        def forward(self, x):
            return checkpoint(self.part, x, use_reentrant=False)

    x = (torch.ones(4, 8),)
    plain = flops.count(twice, x, mode="train").macs
    recomputed = flops.count(Checkpointed(), x, mode="train").macs
    # The first layer's output alone is needed again, so that the second need not run twice.
    assert plain < recomputed <= plain + 2 * 4 * 8 * 8


def test_grouped_backward_is_twice_the_forward():
    for groups in (1, 4, 16):
        module = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 32, 3, groups=groups))
        x = (torch.ones(1, 16, 6, 6),)
        forward = 16 * 32 // groups * 9 * 16
        first = 16 * 16 * 36
        # The first convolution has no gradient for its input, which asks for none.
        assert flops.count(module, x, mode="train").macs == 3 * forward + 2 * first


def test_a_depthwise_convolution_goes_back_at_twice_the_cost():
    """Of its weights' gradient torch's own counter has as many times too much as there are channels."""
    module = nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False)
    x = torch.ones(1, 64, 8, 8, requires_grad=True)
    assert flops.count(module, (x,), mode="train").macs == 3 * 64 * 9 * 64


@pytest.mark.parametrize("name", build.block_names())
def test_no_named_block_leaves_the_order_of_its_products_to_einsum(name):
    """Of three operands MACs would depend on whether opt_einsum is installed."""

    class Einsums(TorchFunctionMode):
        operands = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.einsum:
                self.operands = max(self.operands, len(args) - 1)
            return func(*args, **(kwargs or {}))

    with torch.device("meta"):
        block = build.block(name, channels=64, key_channels=8)
        low = block.spec.low_channels
        inputs = [meta(1, channels, 9, 12) for channels in (64, low) if channels]
    with Einsums() as seen, torch.no_grad():
        block(*inputs)
    assert seen.operands <= 2


@pytest.mark.parametrize("before", [True, False])
def test_the_mode_asked_for_is_counted_whatever_the_modules_own(before):
    module = nn.BatchNorm2d(4, affine=False).train(before)
    x = torch.ones(2, 4, 3, 3, requires_grad=True)
    taken = {
        mode: {row.name: row.flops for row in flops.count(module, (x,), mode=mode).ledger}
        for mode in ("eval", "train")
    }
    assert taken["eval"]["aten.native_batch_norm"] == 2 * x.numel()
    assert taken["train"]["aten.native_batch_norm"] == 6 * x.numel()


def test_the_ledger_begins_with_most_flops_then_most_bytes_then_the_first_name():
    def function(few, wide, many):
        return few.clone(), few.cos(), few.abs(), wide.exp(), many.tan()

    inputs = torch.ones(10), torch.ones(10, dtype=torch.float64), torch.ones(20, dtype=torch.half)
    names = [row.name.removeprefix("aten.") for row in counted(function, *inputs).ledger]
    assert names == ["tan", "exp", "abs", "cos", "clone"]


def test_counting_leaves_a_real_module_as_it_was():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).eval()
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(2, 3, 5, 5)
    drawn = torch.get_rng_state()
    flops.count(module, (x,), mode="train")
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    assert not any(part.training for part in module.modules())
    assert module[0].weight.grad.eq(1).all()
    assert module[0].bias.grad is None
    assert torch.equal(drawn, torch.get_rng_state())


def test_parameters_and_buffers_are_counted_once():
    module = nn.BatchNorm2d(4)
    both = nn.Sequential(module, module)
    found = flops.count(both, (torch.ones(1, 4, 2, 2),), mode="eval")
    assert (found.parameters, found.buffers) == (8, 9)


def test_a_view_stands_in_the_ledger_without_work():
    (row,) = counted(torch.t, torch.ones(2, 3)).ledger
    assert (row.name, row.calls, row.alike) == ("aten.t", 1, ())


def test_training_goes_back_from_the_tensors_of_what_is_returned():
    x = torch.ones(4, requires_grad=True)
    found = counted(lambda x: (x.exp(), 3, {"scale": None}), x, mode="train")
    assert {row.name: row.flops for row in found.ledger if row.flops} == {
        "aten.exp": 4,
        "aten.mul": 4,
    }


def test_half_precision_goes_back_without_a_conversion():
    found = counted(torch.exp, torch.ones(4, dtype=torch.half, requires_grad=True), mode="train")
    assert [row.name for row in found.ledger if "copy" in row.name] == []


def test_training_what_has_no_parameter_says_so():
    with pytest.raises(ValueError, match="no output depends on a parameter.*--mode eval"):
        counted(torch.relu, torch.ones(3), mode="train")


def test_counting_does_not_import_the_compiler():
    code = (
        "import sys, torch; from bench.predict import ledger;"
        "m = torch.nn.Conv2d(2, 2, 1, device='meta');"
        "ledger.count(m, (torch.empty(1, 2, 4, 4, device='meta'),), mode='eval');"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_calls_that_are_alike_are_reckoned_once(monkeypatch):
    reckoned = []
    work_of = flops.formulas.work_of
    monkeypatch.setattr(
        flops.formulas, "work_of", lambda call: reckoned.append(call.name) or work_of(call)
    )
    with flops.Ledger() as ledger:
        for size in (3, 3, 3, 5):
            torch.relu(torch.ones(size))
    assert reckoned.count("aten.relu") == 2
    (row,) = [row for row in ledger.operators if row.name == "aten.relu"]
    assert [(each.calls, each.flops) for each in row.alike] == [(3, 3), (1, 5)]


def test_a_square_is_no_product_of_two_tensors_that_are_alike():
    x = torch.ones(3)
    with flops.Ledger() as ledger:
        _ = x * torch.ones(3), x * x
    (row,) = [row for row in ledger.operators if row.name == "aten.mul"]
    assert [each.moved_bytes for each in row.alike] == [36, 24]


def test_of_buffers_without_values_none_is_kept_and_put_back():
    with torch.device("meta"):
        norm = nn.BatchNorm2d(3)
    with flops.Ledger() as ledger, flops.unchanged(norm, mode="train"):
        pass
    assert ledger.operators == ()
