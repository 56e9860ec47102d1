"""The claims as forest plots, drawn from the tables that hold their numbers."""

import xml.etree.ElementTree as ET

from reports.audit import claim_figures
from reports.audit.audit import audit_table, audit_tables
from reports.model import Column, Interval, Table, build_frame

COLUMNS = tuple(map(Column, ("comparison", "gain", "difference", "verdict")))


def compared(name, *rows):
    return Table(name, f"Comparisons in the paper's text, {name}", COLUMNS, rows)


def texts(figure, tag="text"):
    return [
        "".join(node.itertext())
        for node in ET.fromstring(figure.svg).iter()
        if node.tag.endswith(f"}}{tag}")
    ]


ABOVE = ("a over b", 0.7, Interval(1.5, 1.0, 2.0), "supported")
UNTOLD = ("b over c", 0.2, Interval(0.1, -0.4, 0.6), "undecided")
ALONE = ("c over d", 0.2, Interval(0.3), "undecided")


def test_the_audit_is_a_mark_for_each_number_that_was_checked(make):
    table = audit_table(build_frame(make.table1()))
    (figure,) = claim_figures([table])
    checked = sum(row[6] is not None for row in table.rows)
    assert len(texts(figure, "title")) == checked > 0
    assert texts(figure).count("not checked") == len(table.rows) - checked
    assert f"{checked} published numbers" in figure.alternative


def test_an_audit_of_nothing_is_neither_table_nor_figure():
    built = build_frame(())
    assert audit_tables(built) == ()
    assert claim_figures([audit_table(built)]) == ()


def test_trainings_show_difference_interval_verdict_and_the_published_gain():
    (figure,) = claim_figures([compared("x", ABOVE, UNTOLD)])
    assert {"a over b", "+1.50", "b over c", "+0.10", "supported", "undecided"} <= set(
        texts(figure)
    )
    assert (
        texts(figure, "title")[0]
        == "a over b: +1.50 [1.00, 2.00] points, supported; published +0.7"
    )
    assert "1 supported, 0 not supported, 1 undecided" in figure.alternative


def test_a_difference_without_an_interval_is_not_drawn():
    assert claim_figures([compared("x", ALONE)]) == ()


def test_the_setting_with_most_intervals_leads_alone():
    few, many = compared("few", ABOVE), compared("many", ABOVE, UNTOLD)
    figures = claim_figures([few, many])
    assert [figure.name for figure in figures] == ["many-figure", "few-figure"]
    assert [figure.lead > 0 for figure in figures] == [True, False]


def test_the_numbers_of_a_figure_are_the_table(make):
    table = compared("x", ABOVE)
    (figure,) = claim_figures([table])
    assert figure.data is table
