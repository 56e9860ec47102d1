"""Matrix work that is no plain product or convolution: each against a count by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.predict import fake
from bench.predict.formulas import Call, work_of
from tests.bench.predict.counting import entered


def work(function, *inputs, grad=False):
    """MACs and further FLOPs of a call, of which nothing is uncounted."""
    rows = entered(function, *inputs, grad=grad)
    assert [row.name for row in rows if row.status == "uncounted"] == []
    return sum(row.macs for row in rows), sum(row.flops - 2 * row.macs for row in rows)


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="meta")


def work_by_name(name, result, **arguments):
    return work_of(Call(name, arguments, result))


def test_bilinear_is_two_products_one_after_the_other():
    layer = nn.Bilinear(5, 6, 7, bias=False)
    macs, extra = work(layer, torch.ones(4, 5), torch.ones(4, 6))
    assert macs == 4 * 7 * 5 * 6 + 4 * 7 * 6
    assert extra == 4 * 7  # each step is added to what is there


def test_bilinear_goes_back_by_three_of_its_kind():
    macs, _ = work(nn.Bilinear(5, 6, 7, bias=False), torch.ones(4, 5), torch.ones(4, 6), grad=True)
    # Of the first input, of the weights, of the second: as torch's own products inside are.
    assert macs == 7 * (4 * 6 * 5) + 7 * (5 * 4 * 6) + 7 * (4 * 5 * 6)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_euclidean_distances_are_one_product(batch):
    macs, extra = work(torch.cdist, torch.ones(*batch, 30, 5), torch.ones(*batch, 40, 5))
    maps = torch.Size(batch).numel()
    assert macs == maps * 30 * 40 * 5
    assert extra == maps * (2 * 30 * 5 + 2 * 40 * 5 + 30 * 5 + 4 * 30 * 40)


@pytest.mark.parametrize(("power", "each", "root"), [(1.0, 3, 0), (2.0, 3, 1), (3.0, 4, 1)])
def test_distances_one_by_one_are_no_product(power, each, root):
    x, y = torch.ones(10, 5), torch.ones(8, 5)
    assert work(lambda x, y: torch.cdist(x, y, p=power), x, y) == (0, 80 * (5 * each + root))


def test_distances_within_a_set_are_of_half_the_pairs():
    assert work(F.pdist, torch.ones(6, 5)) == (0, 15 * (5 * 3 + 1))


def test_a_product_of_integers_is_a_product():
    x, y = (torch.ones(32, 32, dtype=torch.int8) for _ in range(2))
    assert work(torch._int_mm, x, y) == (32**3, 0)


@pytest.mark.parametrize(
    ("left", "right", "macs"),
    [
        ((24, 8), (3, 8, 16), 24 * 8 * 16),  # groups of rows
        ((3, 24, 8), (3, 8, 16), 3 * 24 * 8 * 16),
        ((16, 24), (24, 8), 16 * 24 * 8),  # groups of depth
        ((3, 16, 8), (8, 24), 16 * 8 * 24),  # groups of columns
    ],
)
@pytest.mark.parametrize("name", ["_grouped_mm", "_scaled_grouped_mm"])
def test_a_grouped_product_has_each_row_in_one_group(name, left, right, macs):
    found = work_by_name(f"aten.{name}", meta(1), self=meta(*left), mat2=meta(*right))
    assert found.macs == macs == sum(a * b * c * d for a, b, c, d in found.products)


@pytest.mark.parametrize("name", ["_scaled_mm", "_scaled_mm_v2"])
def test_a_product_in_eight_bits_adds_its_bias(name):
    kind = torch.float8_e4m3fn
    x, y = meta(16, 32, dtype=kind), meta(32, 48, dtype=kind)
    found = work_by_name(f"aten.{name}", meta(16, 48), self=x, mat2=y, bias=meta(48))
    assert (found.macs, found.extra_flops) == (16 * 32 * 48, 16 * 48)


@pytest.mark.parametrize("name", ["_weight_int8pack_mm", "_weight_int4pack_mm"])
def test_packed_weights_are_as_deep_as_what_they_meet(name):
    found = work_by_name(f"aten.{name}", meta(16, 48), self=meta(16, 32), mat2=meta(6, 2, 32, 4))
    assert found.macs == 16 * 32 * 48


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_of_a_sparse_matrix_each_element_meets_a_row(layout):
    matrix = torch.eye(6).to_sparse(layout=layout)
    assert work(lambda: torch.sparse.mm(matrix, torch.ones(6, 5))) == (6 * 5, 0)
    assert work(lambda: matrix @ torch.ones(6, 5))[0] == 6 * 5
    assert work(lambda: torch.addmm(torch.ones(6, 5), matrix, torch.ones(6, 5))) == (30, 30)


def test_a_grid_of_places_is_a_product_with_each_images_matrix():
    macs, _ = work(
        lambda x: F.affine_grid(x, (2, 3, 5, 4), align_corners=False), torch.ones(2, 2, 3)
    )
    assert macs == 2 * 5 * 4 * 2 * 3


def test_a_convolution_over_time_is_one_of_all_its_taps():
    macs, extra = work(
        lambda x: torch.conv_tbc(x, torch.ones(3, 4, 5), torch.ones(5)), torch.ones(9, 2, 4)
    )
    assert (macs, extra) == (7 * 2 * 5 * 3 * 4, 7 * 2 * 5)


def test_a_transposed_convolution_by_its_own_kernel_is_one_filter_at_each_input():
    arguments = {"self": meta(1, 4, 5, 5), "weight": meta(4, 6, 3, 3), "bias": None}
    assert (
        work_by_name("aten.slow_conv_transpose2d", meta(1, 6, 7, 7), **arguments).macs
        == 25 * 4 * 54
    )


DEFORMED = {
    "weight": meta(8, 2, 3, 3),
    "groups": 2,
    "use_mask": True,
}


def test_a_deformable_convolution_is_one_of_samples():
    found = work_by_name(
        "torchvision.deform_conv2d", meta(2, 8, 5, 6), input=meta(2, 4, 5, 6), **DEFORMED
    )
    positions = 2 * 5 * 6
    assert found.macs == positions * 8 * 2 * 9
    # 7 a sample and its mask; a bias.
    assert found.extra_flops == positions * 4 * 9 * 8 + positions * 8
    assert sum(a * b * c * d for a, b, c, d in found.products) == found.macs


def test_a_deformable_convolution_goes_back_by_two_products():
    grad = meta(2, 8, 5, 6)
    found = work_by_name(
        "torchvision._deform_conv2d_backward",
        (grad,),
        grad=grad,
        input=meta(2, 4, 5, 6),
        **DEFORMED,
    )
    assert found.macs == 2 * (2 * 5 * 6 * 8 * 2 * 9)
    assert found.extra_flops == 60 * 4 * 9 * (7 + 8 + 2 * (7 + 2) + 4) + 60 * 8


def test_regions_are_means_of_as_many_samples_as_are_asked_for():
    name, out = "torchvision.roi_align", meta(3, 4, 7, 7)
    assert work_by_name(name, out, sampling_ratio=2).extra_flops == 3 * 4 * 49 * 4 * (7 + 1)
    assert work_by_name(name, out, sampling_ratio=-1) is None


def test_the_deformable_convolution_of_torchvision_is_counted():
    ops = pytest.importorskip("torchvision.ops")
    layer = ops.DeformConv2d(4, 8, 3, padding=1, groups=2)
    macs, _ = work(layer, torch.ones(2, 4, 5, 6), torch.zeros(2, 18, 5, 6))
    assert macs == 2 * 5 * 6 * 8 * 2 * 9


@pytest.mark.parametrize(
    "function",
    [
        lambda: torch.ones(3, 4) @ torch.ones(4, 5),
        lambda: F.conv2d(torch.ones(1, 4, 5, 5), torch.ones(6, 4, 3, 3)),
        lambda: torch.baddbmm(torch.ones(2, 3, 5), torch.ones(2, 3, 4), torch.ones(2, 4, 5)),
    ],
)
def test_what_torchs_counter_knows_it_counts_alike(function):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    assert 2 * work(function)[0] == counter.get_total_flops()


@pytest.mark.parametrize("function", [torch.sparse.mm, torch.matmul])
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_a_fake_of_a_sparse_matrix_knows_how_much_that_holds(function):
    with fake.on("cpu"):
        matrices = [fake.as_fake(torch.eye(6)[:rows].to_sparse(), "cpu") for rows in (6, 3)]
        assert work(lambda: function(matrices[0], torch.ones(6, 5)))[0] == 6 * 5
        assert work(lambda: function(matrices[1], torch.ones(6, 5)))[0] == 3 * 5


def test_a_product_of_two_sparse_matrices_has_no_count():
    matrix = torch.eye(6).to_sparse()
    rows = entered(lambda: torch.sparse.mm(matrix, matrix))
    assert "aten._sparse_sparse_matmul" in {row.name for row in rows if row.status == "uncounted"}
