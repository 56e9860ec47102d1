"""The documents' numbers, checked by what the documents say twice."""

from collections import Counter

import pytest

from reports.model import frame
from reports.model.frame import published_records

RECORDS = published_records()


def of(experiment):
    return [record for record in RECORDS if record.experiment == experiment]


def test_every_row_of_every_table_is_there():
    counted = Counter(record.experiment for record in RECORDS)
    assert counted == {
        "table1": 4,
        "table2": 3,
        "table3": 13,
        "table4": 9,
        "table5": 8,
        "table6": 9,
        "table7": 8,
        "zoo_ann": 16,
        "zoo_dnl": 12,
        "claims": 4,
    }


def test_every_row_has_its_document_and_its_own_cell():
    assert all(record.source == "published" and record.document for record in RECORDS)
    assert len({record.cell for record in RECORDS}) == len(RECORDS)


def test_every_printed_number_stands_in_the_row_that_is_quoted():
    for record in RECORDS:
        if record.experiment == "claims":
            continue
        words = record.document.row.replace("(", " ").replace(")", " ").split()
        numbers = {float(word) for word in words if word.replace(".", "", 1).isdigit()}
        assert set(record.measures.printed.values()) <= numbers, record.cell


@pytest.mark.parametrize("size", ["96x96", "256x128"])
@pytest.mark.parametrize(
    ("key", "less"),
    [("gflops", "gflops_less"), ("memory_mb", "memory_less_mb"), ("time_ms", "time_less_ms")],
)
def test_table_1_prints_the_differences_of_its_numbers(size, key, less):
    nb, apnb = (
        next(r for r in of("table1") if r.axes == {"block": block, "size": size}).measures.printed
        for block in ("nb", "apnb")
    )
    assert nb[key] - apnb[key] == pytest.approx(apnb[less])


def test_table_7_prints_the_sums_of_squares_of_its_grids():
    for record in of("table7"):
        grids = map(int, record.axes["grids"].split(","))
        assert record.measures.printed["anchors"] == sum(grid**2 for grid in grids)


def test_the_text_quotes_table_6():
    miou = {record.axes["network"]: record.measures.printed["miou"] for record in of("table6")}
    assert (miou["paper/baseline"], miou["paper/nb"], miou["paper/afnb+apnb"]) == (75.8, 78.4, 79.9)


def test_printed_digits_are_kept_in_the_files():
    text = (frame.PUBLISHED / "table4.jsonl").read_text()
    assert '"miou": 40.70' in text
    assert '"miou": 44.30' in text


def test_zoo_crops_are_height_first_and_sizes_width_first():
    record = of("zoo_ann")[0]
    assert (record.axes["crop"], record.size) == ("512x1024", "1024x512")
