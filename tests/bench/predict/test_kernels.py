"""Our own kernels for a few anchors: each operator by a hand count, and whole blocks predicted on them."""

from dataclasses import replace

import pytest
import torch

from ann.catalogue import BLOCKS
from ann.kernels import operators
from ann.spec import Size, UnavailableError
from bench.predict import cross_check
from bench.predict.ledger import Ledger
from bench.predict.predict import predict_cell
from experiments.spec import Cell

# Images, channels, channels that come out, width of query and key, anchors and those with what fills them up.
IMAGES, CHANNELS, OUT, DEPTH, ANCHORS, ROWS = 2, 12, 20, 16, 10, 16
HEIGHT, WIDTH = 6, 8
PIXELS, TILES, SLOTS = HEIGHT * WIDTH, 1, 16
EACH = IMAGES * PIXELS
SIZE = Size(width=256, height=128)
FORMS = ("apnb", "apnb-residual", "apnb-concat", "apnb-bottleneck", "afnb", "afnb-bottleneck")


def meta(*shape, dtype=torch.float32):
    return torch.empty(*shape, dtype=dtype, device="meta")


def entered(operator, *given):
    with Ledger() as ledger:
        operator(*given)
    (row,) = ledger.operators
    assert row.status == "counted"
    (alike,) = row.alike
    return row, alike


def count(operator, *given):
    """MACs, and FLOPs beside them."""
    row, _ = entered(operator, *given)
    return row.macs, row.flops - 2 * row.macs


def projected(*, bias=None, projected=None, sums=None, out_sums=None, rectifies=False, **formats):
    tables = [meta(TILES, SLOTS, dtype=torch.int32), meta(ANCHORS, 4, dtype=torch.int32)]
    return (
        meta(IMAGES, CHANNELS, HEIGHT, WIDTH),
        meta(OUT, CHANNELS, **formats),
        bias,
        *(tables if sums is not None else (None, None)),
        projected,
        sums,
        out_sums,
        rectifies,
    )


MAP, OUTPUT = meta(IMAGES, CHANNELS, HEIGHT, WIDTH), meta(IMAGES, OUT, PIXELS)
SUMS, OUT_SUMS = meta(IMAGES, TILES * SLOTS, CHANNELS), meta(IMAGES, TILES * SLOTS, OUT)
QUERY, KEY = meta(IMAGES, DEPTH, PIXELS), meta(IMAGES, ROWS, DEPTH)
VALUE, WEIGHTS = meta(IMAGES, OUT, ROWS), meta(IMAGES, ROWS, PIXELS)


@pytest.mark.parametrize(
    ("given", "macs", "extra"),
    [
        ({"projected": OUTPUT}, EACH * OUT * CHANNELS, 0),
        ({"projected": OUTPUT, "bias": meta(OUT)}, EACH * OUT * CHANNELS, EACH * OUT),
        ({"projected": OUTPUT, "rectifies": True}, EACH * OUT * CHANNELS, EACH * OUT),
        ({"projected": OUTPUT, "sums": SUMS}, EACH * OUT * CHANNELS, EACH * CHANNELS),
        (
            {"sums": SUMS, "out_sums": OUT_SUMS},
            EACH * OUT * CHANNELS,
            EACH * CHANNELS + EACH * OUT,
        ),
        ({"sums": SUMS}, 0, EACH * CHANNELS),
    ],
)
def test_pass_1_is_a_product_and_an_addition_for_each_number_that_is_pooled(given, macs, extra):
    assert count(operators.project_tiles, *projected(**given)) == (macs, extra)


def test_of_sums_those_are_added_that_a_cell_has():
    places, starts, bounds = (
        meta(*shape, dtype=torch.int32) for shape in ((13,), (ANCHORS + 1,), (ANCHORS, 4))
    )
    given = (SUMS, places, starts, bounds, meta(IMAGES, ROWS, CHANNELS))
    assert count(operators.collect_sums, *given) == (0, IMAGES * 13 * CHANNELS)


def attended(output="context", *, bias=None, x=None, rectifies=False):
    channels = OUT + CHANNELS if output == "concat" else OUT
    result = meta(IMAGES, channels, PIXELS)
    return QUERY, KEY, VALUE, bias, x, result, ANCHORS, 0.25, output, rectifies


ATTENTION = EACH * ANCHORS * (DEPTH + OUT)
SOFTMAX = 6 * EACH * ANCHORS  # with the scale


@pytest.mark.parametrize(
    ("given", "macs", "extra"),
    [
        ({}, ATTENTION, SOFTMAX),
        ({"bias": meta(OUT)}, ATTENTION, SOFTMAX + EACH * OUT),
        ({"output": "residual", "x": OUTPUT[..., None]}, ATTENTION, SOFTMAX + EACH * OUT),
        ({"output": "concat", "x": MAP}, ATTENTION, SOFTMAX),
        (
            {"output": "bottleneck", "rectifies": True},
            ATTENTION,
            SOFTMAX + 2 * EACH * OUT,
        ),
    ],
    ids=["context", "bias", "residual", "concat", "bottleneck"],
)
def test_pass_2_is_both_products_with_the_anchors_that_count(given, macs, extra):
    assert count(operators.attend_tiles, *attended(**given)) == (macs, extra)


@pytest.mark.parametrize(
    ("gradient", "means", "macs", "extra"),
    [
        (OUTPUT, None, EACH * CHANNELS * OUT, 0),
        (None, meta(IMAGES, ROWS, CHANNELS), 0, EACH * CHANNELS),
        (OUTPUT, meta(IMAGES, ROWS, CHANNELS), EACH * CHANNELS * OUT, 2 * EACH * CHANNELS),
    ],
)
def test_pass_1_back_is_a_product_and_the_means_of_a_position(gradient, means, macs, extra):
    tables = (meta(TILES, SLOTS, dtype=torch.int32), meta(ANCHORS, 4, dtype=torch.int32))
    given = (
        meta(OUT, CHANNELS) if gradient is not None else None,
        gradient,
        means,
        *(tables if means is not None else (None, None)),
        meta(IMAGES, CHANNELS, PIXELS),
        WIDTH,
    )
    assert count(operators.spread_tiles, *given) == (macs, extra)


def test_pass_2_back_computes_the_weights_again():
    given = (QUERY, KEY, VALUE, OUTPUT, WEIGHTS, meta(*WEIGHTS.shape), ANCHORS, 0.25)
    # Softmax and scale, back through both.
    assert count(operators.score_tiles, *given) == (ATTENTION, (6 + 5) * EACH * ANCHORS)


def test_shapes_of_the_products_are_told():
    _, alike = entered(operators.attend_tiles, *attended())
    assert set(alike.products) == {
        (IMAGES, PIXELS, ANCHORS, DEPTH),
        (IMAGES, PIXELS, OUT, ANCHORS),
    }


def test_what_is_written_counts_once_as_what_is_read_and_what_is_left_out_not_at_all():
    row, _ = entered(operators.attend_tiles, *attended())
    elements = sum(x.numel() for x in (QUERY, KEY, VALUE, OUTPUT))
    assert row.moved_bytes == 4 * elements


def test_under_autocast_products_are_in_the_weights_format():
    _, alike = entered(operators.project_tiles, *projected(projected=OUTPUT, dtype=torch.bfloat16))
    assert alike.dtype == "bfloat16"


def cell(name, **changes):
    return Cell(
        experiment="test",
        axes={},
        subject=BLOCKS[name],
        **{"size": SIZE, "implementation": "triton"} | changes,
    )


def hand_count(spec):
    """MACs in inference: projections, attention with folded values, the reduction of the map; values of all rows."""
    low, rows = spec.low_channels or spec.channels, 128
    projections = spec.channels + (low if spec.projection == "separate" else 0)
    each = projections * spec.key_channels + 110 * (spec.key_channels + spec.channels)
    each += spec.channels**2 if spec.output == "bottleneck" else 0
    return SIZE.pixels * each + rows * spec.value_width * (low + spec.channels)


@pytest.mark.parametrize("name", FORMS)
def test_a_block_is_two_passes_of_products_and_all_of_it_is_counted(name):
    counts = predict_cell(cell(name)).counts
    assert counts.macs == hand_count(BLOCKS[name])
    assert counts.uncounted == ""


def test_the_fast_form_has_the_same_products_and_those_by_which_it_pools():
    """Its 18 rows of cells are a product with each map, their 18 columns one with what comes out."""
    spec = BLOCKS["apnb"]
    pooled = (spec.channels + spec.key_channels) * (18 * SIZE.pixels + 18 * 18 * SIZE.width)
    empty_rows = (128 - 110) * spec.value_width * 2 * spec.channels
    fast = predict_cell(cell("apnb", implementation="fast")).counts
    assert fast.macs == hand_count(spec) + pooled - empty_rows


@pytest.mark.parametrize("aim", ["cpu", "cuda"])
def test_training_is_predicted_and_all_of_it_counted(aim):
    measures = predict_cell(cell("afnb-bottleneck", mode="train"), aim)
    assert measures.counts.uncounted == ""
    names = {row.name for row in measures.counts.ledger}
    assert names >= {"ann.project_tiles", "ann.attend_tiles", "ann.spread_tiles", "ann.score_tiles"}
    assert measures.predicted.increment_bytes > 0


def test_a_call_holds_queries_output_and_the_rows_of_the_anchors():
    spec = BLOCKS["apnb"]
    rows = 128 * (2 * spec.channels + 2 * spec.key_channels)  # anchors, W_o V; keys, values
    elements = SIZE.pixels * (spec.channels + spec.key_channels) + rows
    predicted = predict_cell(cell("apnb")).predicted
    assert predicted.increment_bytes == 4 * elements
    assert predicted.peak_operator == "aten.new_empty"


def test_kernels_are_not_traced_by_another_counter(monkeypatch):
    def fail(*_):
        pytest.fail("kernels would run")

    monkeypatch.setattr(cross_check, "_verified", {})
    monkeypatch.setattr(cross_check, "fvcore_macs", fail)
    counts = predict_cell(cell("apnb", size=Size(width=24, height=16))).counts
    assert (counts.fvcore_macs, counts.disputed) == (None, "")


@pytest.mark.parametrize("name", ["nb", "dnl"])
def test_a_block_without_kernels_is_predicted_as_unavailable(name):
    with pytest.raises(UnavailableError, match="triton: .*use implementation 'fast'"):
        predict_cell(cell(name))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_channels": 24}, "key_channels=24 is not a multiple of 16"),
        ({"grids": (1, 6, 12, 18)}, "505 anchors, a tile of queries holds at most 256"),
    ],
)
def test_what_does_not_fit_into_tiles_is_unavailable(changes, reason):
    subject = replace(BLOCKS["apnb"], **changes)
    with pytest.raises(UnavailableError, match=reason):
        predict_cell(replace(cell("apnb"), subject=subject))


def test_float64_is_unavailable():
    with pytest.raises(UnavailableError, match="float64 has no kernel; pass one of float32"):
        predict_cell(cell("apnb", dtype="float64"))
