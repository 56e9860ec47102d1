"""Bytes of single operators, counted by hand; nothing is executed."""

import pytest
import torch

from bench.predict import ledger as flops
from bench.predict.ledger import Ledger

KIBI = 2**10


def moved(work):
    with Ledger() as ledger:
        work()
    return {row.name.removeprefix("aten."): row.moved_bytes for row in ledger.operators}


def meta(*shape, **options):
    return torch.empty(*shape, device="meta", **options)


@pytest.fixture
def square():
    return meta(32, 32)  # 4 KiB


def test_a_product_reads_both_and_writes_one(square):
    other = meta(32, 32)
    assert moved(lambda: square @ other)["mm"] == 12 * KIBI


def test_a_matrix_times_itself_is_read_once(square):
    assert moved(lambda: square @ square)["mm"] == 8 * KIBI


def test_a_view_moves_nothing(square):
    assert set(moved(lambda: square.T.unsqueeze(0)).values()) == {0}


def test_of_a_sparse_tensor_the_elements_count_that_it_holds():
    sparse = torch.eye(32).to_sparse()
    assert flops._bytes(sparse) == 4 * 32


def test_making_room_moves_nothing():
    assert moved(lambda: torch.empty(32, 32, device="meta"))["empty"] == 0


def test_what_is_changed_in_place_is_read_and_written(square):
    assert moved(square.relu_)["relu_"] == 8 * KIBI


def test_a_copy_does_not_read_its_target(square):
    target = meta(32, 32)
    assert moved(lambda: target.copy_(square))["copy_"] == 8 * KIBI


def test_filling_writes_alone(square):
    assert moved(square.zero_)["zero_"] == 4 * KIBI


def test_an_expanded_operand_counts_what_lies_under_it(square):
    row = meta(32).expand(32, 32)
    assert moved(lambda: torch.bmm(square[None], row[None]))["bmm"] == 8 * KIBI + 128


def test_picked_rows_are_read_not_the_whole(square):
    places = meta(2, dtype=torch.int64)
    # The index 16, the rows read and written 256 each.
    assert moved(lambda: square.index_select(0, places))["index_select"] == 16 + 2 * 256


def test_put_rows_are_read_and_added_where_they_go(square):
    places, rows = meta(2, dtype=torch.int64), meta(2, 32)
    assert moved(lambda: square.index_add_(0, places, rows))["index_add_"] == 16 + 256 + 2 * 256


def test_half_precision_halves_the_bytes():
    half = meta(32, 32, dtype=torch.float16)
    assert moved(half.relu)["relu"] == 4 * KIBI


def test_calls_that_do_the_same_stand_together(square):
    other = meta(64, 64, dtype=torch.bfloat16)
    with Ledger() as ledger:
        square.relu(), square.relu(), other.relu()
    (row,) = [row for row in ledger.operators if row.name == "aten.relu"]
    assert {(one.calls, one.moved_bytes, one.dtype) for one in row.alike} == {
        (2, 8 * KIBI, "float32"),
        (1, 16 * KIBI, "bfloat16"),
    }
