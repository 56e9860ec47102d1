"""Numbers of operations that lack some: marked in every form, never the best, never behind an exact ratio."""

import json

import pytest

from bench.analysis import find_device
from bench.records import Alike, ArmRecord, Comparison, Counts, Measures, Operator, Record
from reports import console, model
from reports.blocks import counters, efficiency, floors, predictions
from reports.gate import comparison_tables
from reports.model import Column, Incomplete, Interval, Table, build_frame, lay_out
from reports.render import FILE_FORMATS, report_page

NOTE = "not counted: torchvision.deform_conv2d (2 calls)"
DEFORMED = Operator(name="torchvision.deform_conv2d", status="uncounted", calls=2, moved_bytes=8)
PRODUCT = Operator(name="aten.mm", status="counted", calls=1, macs=10**9, flops=2 * 10**9)


def record(block, macs, *operators):
    counts = Counts(parameters=8, buffers=0, macs=macs, flops=2 * macs, ledger=operators)
    axes = {"block": block, "size": "8x8"}
    about = {"experiment": "efficiency", "axes": axes, "cell": block, "subject": block}
    return Record(**about, size="8x8", source="predicted", measures=Measures(counts=counts))


LACKING, WHOLE = record("a", 10**9, PRODUCT, DEFORMED), record("b", 3 * 10**9, PRODUCT)


def row_of(one):
    return next(row for row in model.rows_of(build_frame([one])) if row["subject"] == one.subject)


@pytest.fixture
def table():
    return efficiency.efficiency_tables(build_frame([LACKING, WHOLE]))[0]


@pytest.fixture
def rows():
    return {row["subject"]: row for row in model.rows_of(build_frame([LACKING, WHOLE]))}


def column(table, name):
    return [heading.name for heading in table.columns].index(name)


@pytest.mark.parametrize(("name", "least"), [("MACs", 10**9), ("FLOPs", 2 * 10**9)])
def test_a_count_that_lacks_something_is_the_least(name, least, table):
    assert table.rows[0][column(table, name)] == Incomplete(least, NOTE)
    assert table.rows[1][column(table, name)] == 3 * least


def test_what_is_counted_whole_has_no_mark(rows):
    assert model.counted_value(rows["b"], "macs") == 3 * 10**9


@pytest.mark.parametrize(
    ("form", "shown"), [("markdown", r"\>= 1.00"), ("latex", r"\textgreater{}= 1.00")]
)
def test_texts_mark_the_number_and_name_the_operators(form, shown, table):
    text = FILE_FORMATS[form][1](table)
    assert shown in text
    assert "2 calls" in text
    assert "not counted" in text


def test_comma_separated_values_say_it_in_a_column_of_their_own(table):
    *_, last = FILE_FORMATS["csv"][1](table).splitlines()[1].partition('"')
    assert f"macs: at the least, {NOTE}" in last


def test_the_terminal_marks_the_number_and_names_the_operators(table, capsys):
    console.show([table])
    shown = capsys.readouterr().out
    assert ">= 1.00" in shown
    assert NOTE in shown


def test_the_page_marks_the_number_and_names_the_operators(table):
    page = report_page([table])
    assert "&gt;= 1.00" in page
    assert NOTE in page


def test_json_has_the_operators_beside_the_counts():
    lacking, whole = json.loads(console.formatted([LACKING, WHOLE], [], "json"))
    assert lacking["measures"]["counts"]["uncounted"] == {"torchvision.deform_conv2d": 2}
    assert "uncounted" not in whole["measures"]["counts"]


def bold(*values, best="min"):
    heading = Column("MACs", best=best)
    layout = lay_out(Table("t", "T", (heading,), tuple((value,) for value in values)))
    return [index for index, (cell,) in enumerate(layout.rows) if cell.best]


@pytest.mark.parametrize(
    ("values", "leading"),
    [
        ((Incomplete(1, NOTE), 2, 3), []),  # the first may be less than 2, or more
        ((Incomplete(4, NOTE), 2, 3), [1]),  # it is not
        ((Incomplete(1, NOTE), Incomplete(2, NOTE)), []),
        ((Incomplete(4, NOTE), 2), [1]),
        ((2, 3), [0]),
    ],
)
def test_a_number_that_lacks_something_is_never_the_best(values, leading):
    assert bold(*values) == leading


@pytest.mark.parametrize("sides", [(Incomplete(6, NOTE), 3), (6, Incomplete(3, NOTE))])
def test_no_ratio_to_it_is_told_as_exact(sides):
    ratio = model.ratio_of(*sides)
    assert ratio == Incomplete(2, NOTE, is_least=False)
    assert lay_out(Table("t", "T", (Column("r", digits=1),), ((ratio,),))).rows[0][0].text == "2.0?"


def test_a_floor_and_an_estimate_lack_what_is_not_counted(rows):
    device = find_device("h200")
    assert predictions.floor_time(rows["a"], device).note == NOTE
    assert isinstance(predictions.floor_time(rows["b"], device), float)


def test_a_comparison_says_that_its_ratio_of_macs_lacks_something():
    first = ArmRecord(arm="a", cell="a", macs=10, uncounted=NOTE)
    second = ArmRecord(arm="b", cell="b", macs=20)
    rules = {"axes": {}, "margin": 0.02, "level": 0.001}
    comparison = Comparison(first=first, second=second, size="8x8", **rules)
    _, memory = comparison_tables([comparison])
    assert memory.rows[0][column(memory, "MACs, ratio")] == Incomplete(2, NOTE, is_least=False)


def test_an_operator_that_is_not_counted_has_no_flops(rows):
    assert floors.operator_flops(DEFORMED).text == "?"
    assert floors.operator_flops(PRODUCT) == 2 * 10**9


def test_a_share_of_an_incomplete_count_is_none(rows):
    assert counters._ledger_share(rows["a"], 2e9) == Incomplete(2, NOTE, is_least=False)


def test_a_note_says_what_torchs_counter_has_in_place_of_ours():
    groups = Alike(calls=1, macs=10, products=((4, 1, 1, 1),))
    back = {"name": "aten.convolution_backward", "status": "counted", "calls": 1, "macs": 10}
    ledger = (
        Operator(**back, alike=(groups,), torch_macs=40),
        Operator(name="aten._trilinear", status="counted", calls=1, macs=5),
        Operator(name="aten.mm", status="counted", calls=1, macs=5, torch_macs=5),
    )
    value = model.counted_value(row_of(record("a", 20, *ledger)), "macs")
    assert (value.median, value.low) == (20, None)
    assert value.note == (
        "torch's own counter has 40 for 10 of aten.convolution_backward, which it takes for one without "
        "groups; nothing for aten._trilinear"
    )


def test_where_torchs_counter_agrees_or_was_not_asked_there_is_no_note(rows):
    agreeing = PRODUCT.model_copy(update={"torch_macs": PRODUCT.macs})
    row = row_of(record("a", PRODUCT.macs, agreeing))
    assert model.counted_value(row, "macs") == PRODUCT.macs
    assert model.counted_value(rows["b"], "macs") == 3 * 10**9


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (1000, 2000),
        (
            1200,
            Interval(
                2000,
                note="of a map of 24x16 fvcore counts 1,200 MACs where this suite counts 1,000",
            ),
        ),
    ],
)
def test_a_note_says_what_fvcore_counts_of_a_small_map(theirs, told):
    work = Operator(name="aten.mm", status="counted", calls=1, macs=2000, torch_macs=2000)
    readings = {"small_macs": (1000.0,), "small_fvcore_macs": (float(theirs),)}
    row = {**row_of(record("a", 2000, work)), "readings": readings}
    assert model.counted_value(row, "macs") == told
