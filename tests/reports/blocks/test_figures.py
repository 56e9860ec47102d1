"""Figures are text, follow from the records alone, and say what they show."""

import xml.etree.ElementTree as ET

import pytest

from reports import report
from reports.model import INK, frame


@pytest.fixture(scope="module")
def built(make):
    times = {"matmul": 0.5, "softmax": 0.25, "convolution": 0.1, "copy": 0.0001}
    operations = [
        make.operations("nb", times),
        make.operations("apnb", {"matmul": 0.1, "pooling": 0.2}),
    ]
    return frame.build_frame([*make.table1(), *operations])


def words(figure):
    return [
        "".join(node.itertext())
        for node in ET.fromstring(figure.svg).iter()
        if node.tag.endswith("}text")
    ]


def named(built, name):
    return next(figure for figure in report.report_figures(built) if figure.name == name)


def test_there_is_a_figure_for_what_the_records_hold(built):
    assert [figure.name for figure in report.report_figures(built)] == ["fig2", "memory", "macs"]


def test_records_of_one_size_give_no_line(make):
    assert report.report_figures(frame.build_frame([make.predicted("nb", "96x96")])) == ()


@pytest.mark.parametrize("name", ["fig2", "memory", "macs"])
def test_the_same_records_draw_the_same_bytes(built, name):
    assert named(built, name).svg == named(built, name).svg


def test_fig_2_ends_with_the_sum_and_leaves_out_the_short(built):
    said = words(named(built, "fig2"))
    groups = [
        word
        for word in said
        if word in ("matmul", "softmax", "convolution", "pooling", "copy", "sum")
    ]
    assert groups == ["matmul", "softmax", "pooling", "convolution", "sum"]


def test_fig_2_has_its_unit_and_both_names(built):
    said = words(named(built, "fig2"))
    assert "time of one call (ms)" in said
    assert {"NB", "APNB"} <= set(said)


def test_the_alternative_gives_the_sums(built):
    assert "NB 850 ms, APNB 300 ms" in named(built, "fig2").alternative


def test_lines_are_labelled_at_their_ends(built):
    assert {"nb", "apnb", "apnb-concat"} <= set(words(named(built, "memory")))


def test_the_data_are_the_predicted_numbers(built):
    data = named(built, "memory").data
    last = dict(zip([column.name for column in data.columns], data.rows[-1], strict=True))
    assert last == {
        "N": 256 * 128,
        "nb": 8288 * 2**20,
        "apnb": 334 * 2**20,
        "apnb-concat": 768 * 2**20,
    }


def test_text_stays_text_and_takes_the_colour_of_the_page(built):
    svg = named(built, "memory").svg
    assert "currentColor" in svg
    assert "var(--series-1, #0072b2)" in svg
    assert INK not in svg


def test_a_name_with_markup_is_shown_as_it_is(make):
    name = "$x$<b>&"
    records = [make.predicted(name, size) for size in ("8x8", "16x16")]
    assert name in words(named(frame.build_frame(records), "macs"))


@pytest.mark.parametrize("size", ["18x18", "24x24", "64x64", "2048x1024"])
def test_ticks_are_plain_numbers_from_less_than_a_decade_on(make, size):
    built = frame.build_frame([make.predicted("nb", each) for each in ("16x16", size)])
    texts = [word for name in ("memory", "macs") for word in words(named(built, name))]
    assert not [text for text in texts if "mathdefault" in text or "$" in text]


def test_other_widths_are_not_mixed_in(make):
    sizes = ("8x8", "16x16")
    narrow = [make.predicted("nb", size, axes={"channels": 64}) for size in sizes]
    assert report.report_figures(frame.build_frame(narrow)) == ()


def test_records_without_a_size_draw_nothing(make):
    records = [
        make.record("table1", {"block": "nb", "size": text}, source="predicted")
        for text in ("", "axb")
    ]
    counted = [
        r.model_copy(update={"measures": make.predicted("nb", "8x8").measures}) for r in records
    ]
    assert report.report_figures(frame.build_frame(counted)) == ()
