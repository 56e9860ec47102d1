"""How values become text."""

import pytest

from reports.model.layout import HOST_BOUND, decimal, lay_out, text_of
from reports.model.table import Column, Interval, Mark, Number, Table

TIME = Column("time", "ms", 2, 1e-3, "seconds", "measured", best="min")


def table(*values, column=TIME, **fields):
    return Table("t", "T", (column,), tuple((value,) for value in values), **fields)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "12.35"),
        (None, "-"),
        ("", "-"),
        (Mark("why"), "-"),
        (Mark("why", "out of memory"), "out of memory"),
        (Number(63.1, 2), "63.10"),
        (Interval(0.0123, 0.0122, 0.0124), "12.30 [12.20, 12.40]"),
        (Interval(0.0123, inconclusive=True), "12.30?"),
        (Interval(1.2345, 1.2, 1.3), "1234 [1200, 1300]"),
    ],
)
def test_values_as_text(value, text):
    assert text_of(value, TIME) == text


def test_what_is_not_zero_is_never_printed_as_zero():
    assert decimal(0.000123, 2) == "0.00012"
    assert decimal(0.0, 2) == "0.00"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 values for 1 columns"):
        Table("t", "T", (TIME,), ((1, 2),))


def test_equal_notes_share_a_label_and_different_ones_do_not():
    layout = lay_out(table(Mark("one"), Mark("two"), Mark("one"), notes=("plain",)))
    assert [row[0].label for row in layout.rows] == ["a", "b", "a"]
    assert layout.notes == (("", "plain"), ("a", "one"), ("b", "two"))


def test_there_are_labels_after_z():
    layout = lay_out(table(*(Mark(str(number)) for number in range(30))))
    assert layout.rows[26][0].label == "aa"


def best(*values, **fields):
    return [row[0].best for row in lay_out(table(*values, **fields)).rows]


def test_the_smallest_is_best_and_missing_ones_do_not_count():
    assert best(3.0, 1.0, None, Mark("x")) == [False, True, False, False]


def test_nothing_is_best_among_equals():
    assert best(1.0, 1.0) == [False, False]


def test_overlapping_intervals_share_the_place():
    assert best(Interval(1, 0.9, 1.1), Interval(1.05, 1.0, 1.2), Interval(2, 1.9, 2.1)) == [
        True,
        True,
        False,
    ]


def test_where_all_overlap_none_is_best():
    assert best(Interval(1, 0.9, 1.1), Interval(1.05, 1.0, 1.2)) == [False, False]


def test_each_group_has_its_own_best():
    column = Column("n", best="max")
    rows = (("a", 1), ("a", 2), ("b", 9), ("b", 8))
    layout = lay_out(Table("t", "T", (Column("g", align="left"), column), rows, group_by=(0,)))
    assert [row[1].best for row in layout.rows] == [False, True, True, False]
    assert layout.starts == {2}


def test_an_empty_table_lays_out():
    assert lay_out(table()).rows == ()


def test_raw_headings_name_source_and_base_unit():
    assert TIME.raw_heading == "time_measured_seconds"


def notes_of(*notes):
    values = [Interval(1.0, note=note) for note in notes]
    layout = lay_out(table(*values, Mark("absent")))
    return layout.notes, [row[0].label for row in layout.rows]


def test_what_all_numbers_of_a_column_have_in_common_stands_once():
    notes, labels = notes_of("few; warm", "warm", "warm")
    assert notes == (("", "time, all numbers: warm"), ("a", "few"), ("b", "absent"))
    assert labels == ["a", "", "", "b"]


def test_a_number_without_a_note_keeps_it_from_being_on_all():
    layout = lay_out(table(*[Interval(1.0, note="warm")] * 3, 2.0))
    assert layout.notes == (("a", "warm"),)


def test_a_note_on_two_numbers_stays_at_them():
    assert notes_of("warm", "warm")[0][0] == ("a", "warm")


def test_of_most_that_are_host_bound_the_others_are_marked():
    notes, labels = notes_of(*[HOST_BOUND] * 3, "")
    said = f"time, all numbers without a mark that says otherwise: {HOST_BOUND}"
    assert notes == (("", said), ("a", "not host-bound"), ("b", "absent"))
    assert labels == ["", "", "", "a", "b"]


def test_columns_with_the_same_common_note_share_its_line():
    columns = (Column("a", source="measured"), Column("b"), Column("a", source="predicted"))
    row = (Interval(1.0, note="warm"),) * 3
    layout = lay_out(Table("t", "T", columns, (row,) * 3))
    assert layout.notes == (("", "a (measured); b; a (predicted), all numbers: warm"),)
