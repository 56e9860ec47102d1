"""Tables of other counters: shares of our ledger, and what is missing by name."""

from pathlib import Path

import pytest

from bench.records import record
from bench.records.record import Measures, ToolCount
from reports.blocks import counters
from reports.model import frame
from reports.model.table import Interval, Mark
from reports.render import markdown

CONVOLUTIONS = 4 * 2048 * 256 * 96 * 96
PRODUCTS = 2 * 256 * (96 * 96) ** 2
TOLD = (
    ToolCount(tool="all", version="1.0", unit="FLOP", reported=2 * (CONVOLUTIONS + PRODUCTS)),
    ToolCount(tool="layers", version="0.1", reported=CONVOLUTIONS + 10**6),
    ToolCount(tool="absent", reason="absent is not installed"),
    ToolCount(tool="odd", version="2.0", reported=CONVOLUTIONS // 2),
)


@pytest.fixture(scope="module")
def joined(make):
    told = make.measured("nb", "96x96", experiment="counters", measures=Measures(counters=TOLD))
    return frame.build_frame([make.predicted("nb", "96x96", experiment="counters"), told])


def shares(joined):
    (row,) = counters.counter_tables(joined)[1].rows
    return dict(zip(("all", "layers", "absent", "odd"), row[2:], strict=True))


def test_flops_are_halved_and_macs_are_not(joined):
    (row,) = counters.counter_tables(joined)[0].rows
    assert row[2:5] == (CONVOLUTIONS + PRODUCTS, CONVOLUTIONS + PRODUCTS, CONVOLUTIONS + 10**6)


def test_what_a_count_lacks_is_named(joined):
    share = shares(joined)["layers"]
    assert share.note == "not counted: bmm"
    assert share.median == pytest.approx(CONVOLUTIONS / (CONVOLUTIONS + PRODUCTS), rel=1e-3)


def test_a_whole_count_has_no_note(joined):
    assert shares(joined)["all"] == Interval(1.0)


def test_a_count_that_no_operators_explain_says_so(joined):
    assert shares(joined)["odd"].note == "no set of operators makes up the difference"


def test_a_tool_that_is_absent_is_a_dash_with_the_reason(joined):
    assert shares(joined)["absent"] == Mark("absent: absent is not installed")


def test_a_tool_has_a_row_with_its_version_and_what_it_misses(joined):
    rows = {row[0]: row[1:] for row in counters.counter_tables(joined)[2].rows}
    assert rows["all"] == ("1.0", "FLOPs", 1.0, "nb", "nothing of these")
    assert rows["layers"][4] == "bmm"
    assert rows["absent"][2] == Mark("absent is not installed")


def test_fused_attention_goes_by_the_name_that_one_writes(make):
    ledger = [row.model_copy() for row in make.counts("nb", "96x96").ledger]
    fused = ledger[1].model_copy(
        update={"name": "aten._scaled_dot_product_flash_attention_for_cpu"}
    )
    assert counters.missed_operators([ledger[0], fused], CONVOLUTIONS) == (
        "scaled_dot_product_attention",
    )


def test_without_such_records_there_is_no_table(make):
    assert counters.counter_tables(frame.build_frame(make.table1())) == ()


def test_the_tables_read_as_they_did(joined, golden):
    text = "\n".join(markdown.to_markdown(table) for table in counters.counter_tables(joined))
    golden("counters.md", text)


def test_the_kept_records_say_what_was_found(golden):
    folder = Path(counters.__file__).parents[1] / "reference" / "intel-xeon-2-cores"
    kept = frame.build_frame(record.read_records(folder / "counters.jsonl"))
    golden(
        "counters-kept.md",
        "\n".join(markdown.to_markdown(t) for t in counters.counter_tables(kept)),
    )
