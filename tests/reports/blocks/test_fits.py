"""The table of what fits."""

import pytest

from bench.records import Fit, PeakPart
from reports import formatted
from reports.blocks import fit_table
from reports.model import Mark

GIB = 2**30


def fit_of(device="h100", **fields):
    parts = (
        PeakPart(operators=("aten.bmm", "aten._softmax"), shape=(1, 9, 9), count=2, size_bytes=90),
        PeakPart(operators=("input",), count=1, size_bytes=8),
        PeakPart(operators=("parameters",), count=1, size_bytes=2),
    )
    usual = {
        "arm": "nb",
        "size": "256x128",
        "mode": "eval",
        "dtype": "float32",
        "device": device,
        "usable_bytes": 79 * GIB,
        "workspace_bytes": 2**25,
        "torch": "2.15.0",
        "step": 8,
        "largest_size": "448x224",
        "largest_batch": 9,
        "peak_bytes": 100,
        "parts": parts,
    }
    return Fit(**usual | fields)


def table_of(*fits):
    return fit_table(fits)


def headings(table):
    return [column.heading for column in table.columns]


def test_each_device_has_a_map_and_a_batch():
    table = table_of(fit_of(), fit_of("titan-xp", largest_size="272x136", largest_batch=1))
    assert headings(table) == [
        *("block", "mode", "dtype", "H100 SXM, map", "H100 SXM, batch"),
        *("Titan Xp, map", "Titan Xp, batch", "made of"),
    ]
    assert table.rows[0][:7] == ("nb", "eval", "float32", "448x224", 9, "272x136", 1)


def test_the_limit_is_made_of_what_stands_at_the_peak_in_shares():
    (row,) = table_of(fit_of()).rows
    assert row[-1] == "2 of 1x9x9 (bmm, softmax) 90%, input 8%"


def test_several_sizes_have_a_column():
    table = table_of(fit_of(), fit_of(size="97x97"))
    assert headings(table)[:2] == ["block", "at"]
    assert [row[1] for row in table.rows] == ["256x128", "97x97"]


@pytest.mark.parametrize("batch", [None, 0])
def test_where_nothing_fits_stands_why(batch):
    nothing = {"largest_size": None, "largest_batch": batch, "peak_bytes": None, "parts": ()}
    (row,) = table_of(fit_of(reason="a map of 16x8 needs 5 bytes", **nothing)).rows
    mark = Mark("nb in eval, float32: a map of 16x8 needs 5 bytes", text="none")
    assert row[3:] == ((mark, mark) if batch is None else (mark, 0))


@pytest.mark.parametrize(
    ("form", "sign"), [("markdown", "| nb"), ("latex", "&"), ("csv", ",448x224,9,")]
)
def test_it_is_written_in_each_form(form, sign):
    assert sign in formatted([], [table_of(fit_of())], form)


def test_what_a_device_is_taken_to_have_is_told():
    table = table_of(fit_of(), fit_of(mode="train", usable_bytes=78 * GIB, workspace_bytes=2**26))
    notes = " ".join(table.notes)
    assert (
        "less 1.25% that its driver keeps, 600 MiB for CUDA's context (both are assumptions)"
        in table.caption
    )
    assert "H100 SXM: 79.00 GiB with 32.0 MiB of workspaces or 78.00 GiB with 64.0 MiB" in notes
    assert "Those of cuDNN nothing bounds" in notes
