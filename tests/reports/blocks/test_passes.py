"""Floors of kernels by pass: by hand from made-up operators, and the table of the page on kernels."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench import efficiency
from bench.analysis import find_device
from bench.records.record import Alike, Counts, Measures, Operator
from bench.run import environment_of, predicted_record
from reports.blocks import floors, pass_tables
from reports.model import frame
from reports.render import markdown

PAGE = Path(__file__).parents[3].joinpath("docs", "kernels.md").read_text(encoding="utf-8")
ARMS = ("apnb:fast", "apnb:triton", "afnb-bottleneck:fast", "afnb-bottleneck:triton")
FORMATS = ("float32", "tf32", "bfloat16")
H100, H200 = find_device("h100"), find_device("h200")
MIB = 2**20


def operator(name, macs, moved_bytes):
    does = {"macs": macs, "flops": 2 * macs, "moved_bytes": moved_bytes}
    alike = (Alike(calls=1, dtype="bfloat16", **does),)
    return Operator(name=name, status="counted", calls=1, alike=alike, **does)


LEDGER = (
    # An H100 multiplies 989.5e12 numbers a second and adds as many, moves 3350e9 bytes, and holds 50 MiB.
    operator("ann.project_tiles", 989_500_000, 50 * MIB + 3_350_000),
    operator("aten.bmm", 0, 3_350_000),
    operator("ann.attend_tiles", 0, 50 * MIB + 6_700_000),
)


def arm(make, name, ledger):
    counts = Counts(parameters=1, buffers=0, macs=1, flops=2, ledger=ledger)
    axes = {"block": name, "size": "256x128", "dtype": "bfloat16"}
    return make.record(
        "efficiency",
        axes,
        source="predicted",
        measures=Measures(counts=counts),
        dtype="bfloat16",
    )


@pytest.fixture
def rows(make):
    """Rows of a table by arm and part."""
    records = [
        arm(make, "apnb:triton", LEDGER),
        arm(make, "apnb:fast", LEDGER[1:2]),
        arm(make, "nb", LEDGER[1:2]),
    ]
    (table,) = pass_tables(frame.build_frame(records, []), [H100])
    return {(row[0], row[3]): row for row in table.rows}


def test_a_call_is_parted_and_other_forms_of_the_block_stand_beside_it_as_a_whole(rows):
    parts = [("apnb:triton", part) for part in ("pass 1", "the rest", "pass 2", "all")]
    assert list(rows) == [*parts, ("apnb:fast", "all")]


def test_floors_are_those_of_the_operators_with_the_second_cache_and_without(rows):
    cached = [rows["apnb:triton", part][6] for part in floors.PARTS]
    assert cached == pytest.approx([2e-6, 0, 2e-6, 4e-6])
    held_s = 50 * MIB / 3350e9
    uncached = [rows["apnb:triton", part][7] for part in floors.PARTS]
    assert uncached == pytest.approx([1e-6 + held_s, 1e-6, 2e-6 + held_s, 4e-6 + 2 * held_s])


def test_a_pass_that_a_block_has_not_is_left_out(make):
    built = frame.build_frame([arm(make, "linformer:triton", LEDGER[1:])], [])
    (table,) = pass_tables(built, [H100])
    assert [row[3] for row in table.rows] == ["the rest", "pass 2", "all"]


def test_without_kernels_there_is_no_such_table(make):
    built = frame.build_frame([arm(make, "apnb:fast", LEDGER[1:2])], [])
    assert pass_tables(built, [H100]) == ()


def lines(arms, formats):
    """What stands under the heading of the table, predicted anew."""
    options = (f"--block {' '.join(arms)} --dtype {dtype}" for dtype in formats)
    asked = (efficiency.parser().parse_args(option.split()) for option in options)
    cells = [replace(cell, device="cuda") for each in asked for cell in efficiency.cells(each)]
    records = [predicted_record(cell, environment_of("meta", cell)) for cell in cells]
    (table,) = pass_tables(frame.build_frame(records, []), [H100, H200])
    return markdown.to_markdown(table).split("\n", 2)[2].strip()


def test_the_page_has_what_is_predicted():
    """Its widest entries are those of other arms."""
    seen = [" ".join(line.split()) for line in PAGE.splitlines()]
    rows = [
        line for line in lines(("apnb:triton",), ("bfloat16",)).splitlines() if "| apnb" in line
    ]
    assert len(rows) == 4
    assert {" ".join(line.split()) for line in rows} <= set(seen)


@pytest.mark.slow
def test_the_page_has_all_that_is_predicted():
    assert lines(ARMS, FORMATS) in PAGE
