"""Products of calls: each has the MACs that the ledger counts, and the shapes that estimates of time need."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.predict.ledger import Ledger
from bench.predict.predict import predict_cell
from experiments.select import block_cell

MAP = (2, 6, 9, 7)


def rows_of(call, *inputs):
    with Ledger() as ledger:
        call(*inputs)
    return {row.name.removeprefix("aten."): row.alike for row in ledger.operators}


def meta(*shape, **options):
    return torch.empty(shape, device="meta", **options)


def macs_of(products):
    return sum(batch * rows * columns * depth for batch, rows, columns, depth in products)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", BLOCKS)
def test_products_have_the_macs_that_are_counted(name, mode):
    settings = {"channels": 64, "key_channels": 32, "batch": 2, "mode": mode, "dtype": "float32"}
    cell = block_cell(name, Size(width=14, height=12), protocol="strict", **settings)
    for row in predict_cell(cell).counts.ledger:
        for alike in row.alike:
            assert macs_of(alike.products) == alike.macs, row.name


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2, "padding": 1},
        {"dilation": 2},
        {"groups": 3},
        {"groups": 6},
    ],
    ids=str,
)
def test_a_convolution_is_one_product_a_group(settings):
    convolution = nn.Conv2d(6, 12, 3, device="meta", **settings)
    (alike,) = rows_of(convolution, meta(*MAP))["convolution"]
    ((groups, rows, columns, depth),) = alike.products
    assert (groups, columns, depth) == (convolution.groups, 12 // groups, 54 // groups)
    assert groups * rows * columns * depth == alike.macs


def test_a_transposed_convolution_is_one_product_with_every_tap():
    (alike,) = rows_of(nn.ConvTranspose2d(6, 8, 2, stride=2, device="meta"), meta(*MAP))[
        "convolution"
    ]
    assert alike.products == ((1, 2 * 63, 32, 6),)


@pytest.mark.parametrize("wanted", ["maps", "weights", "both"])
def test_the_way_back_has_a_product_for_each_gradient(wanted):
    convolution = nn.Conv2d(6, 12, 3, groups=2, device="meta")
    convolution.requires_grad_(wanted != "maps")
    maps = meta(*MAP, requires_grad=wanted != "weights")
    (alike,) = rows_of(lambda: convolution(maps).sum().backward())["convolution_backward"]
    assert len(alike.products) == (2 if wanted == "both" else 1)
    assert macs_of(alike.products) == alike.macs


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        ({}, (7, 5, 3, 3)),
        ({"padding": 1}, (9, 7, 3, 3)),
        ({"stride": 2}, None),
        ({"dilation": 2}, None),
        ({"groups": 2}, None),
    ],
    ids=str,
)
def test_only_plain_windows_can_be_computed_by_quicker_ways(settings, window):
    (alike,) = rows_of(nn.Conv2d(6, 12, 3, device="meta", **settings), meta(*MAP))["convolution"]
    assert alike.window == window


def test_products_of_matrices_have_batch_rows_columns_and_depth():
    rows = rows_of(
        lambda: (
            meta(4, 5) @ meta(5, 6),
            torch.bmm(meta(3, 4, 5), meta(3, 5, 6)),
            torch.mv(meta(4, 5), meta(5)),
            torch.addbmm(meta(4, 6), meta(3, 4, 5), meta(3, 5, 6)),
        )
    )
    shapes = {name: rows[name][0].products for name in ("mm", "bmm", "mv", "addbmm")}
    assert shapes == {
        "mm": ((1, 4, 6, 5),),
        "bmm": ((3, 4, 6, 5),),
        "mv": ((1, 4, 1, 5),),
        "addbmm": ((1, 4, 6, 15),),
    }


def test_fused_attention_is_two_products():
    query, key = torch.empty(2, 3, 10, 8), torch.empty(2, 3, 4, 8)
    rows = rows_of(F.scaled_dot_product_attention, query, key, key)
    (alike,) = next(entry for name, entry in rows.items() if "attention" in name)
    assert sorted(alike.products) == [(6, 10, 4, 8), (6, 10, 8, 4)]
    assert macs_of(alike.products) == alike.macs


def test_rows_of_a_softmax_and_of_a_norm_have_their_length():
    rows = rows_of(lambda: (meta(3, 4, 5).softmax(1), F.layer_norm(meta(3, 4, 5), (4, 5))))
    assert rows["_softmax"][0].row_length == 4
    assert rows["native_layer_norm"][0].row_length == 20
