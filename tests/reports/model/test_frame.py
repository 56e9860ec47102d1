"""How records become rows."""

import pytest

from reports.model import frame
from reports.model.rows import pixels


def rows(records, **kwargs):
    built = frame.build_frame(records, **kwargs)
    return built[built["protocol"] != "published"].to_dict("records")


def test_one_row_holds_published_predicted_and_measured(make):
    (row,) = rows([make.predicted("nb", "96x96"), make.measured("nb", "96x96", time_s=0.5)])
    assert row["published_time_s"] == pytest.approx(0.0195)
    assert row["predicted_increment_bytes"] == 675 * 2**20
    assert row["timings"][0].clock == "wall"


def test_printed_megabytes_become_bytes_and_gflops_operations(make):
    (row,) = rows([make.predicted("nb", "256x128")])
    assert row["published_memory_bytes"] == 7797 * 2**20
    assert row["published_operations"] == pytest.approx(601.4e9)


def test_the_latest_measured_record_wins_whatever_its_place(make):
    newer = make.measured("nb", "96x96", time_s=2.0, created_at="2026-01-02T00:00:00Z")
    older = make.measured("nb", "96x96", time_s=1.0, created_at="2026-01-01T00:00:00Z")
    (row,) = rows([newer, older])
    assert max(row["timings"][0].samples_s) > 1.9


def test_of_records_without_a_time_the_later_line_wins(make):
    first, second = (make.measured("nb", "96x96", time_s=time) for time in (1.0, 2.0))
    (row,) = rows([first, second])
    assert max(row["timings"][0].samples_s) > 1.9


def test_devices_stay_apart_and_share_the_prediction(make):
    measured = [
        make.measured("nb", "96x96", time_s=1.0, environment=e) for e in (make.CPU, make.GPU)
    ]
    both = rows([make.predicted("nb", "96x96"), *measured])
    assert [row["device_name"] for row in both] == ["Example CPU", "Example GPU"]
    assert all(row["macs"] for row in both)


def test_protocols_stay_apart(make):
    both = rows([make.predicted("nb", "96x96", protocol=p) for p in ("strict", "paper")])
    assert [row["predicted_paper_bytes"] for row in both] == [None, 609 * 2**20]


def test_a_missing_reading_is_none_and_not_a_number_that_is_none(make):
    (row,) = rows([make.measured("nb", "96x96")])
    assert row["macs"] is None
    assert row["memory_bytes"] is None


def test_large_counts_stay_exact_integers(make):
    (row,) = rows([make.predicted("nb", "256x128")])
    assert row["macs"] == make.counts("nb", "256x128").macs
    assert isinstance(row["macs"], int)


def test_the_command_line_joins_table_1(make):
    (row,) = rows([make.predicted("apnb", "256x128", experiment="efficiency")])
    assert row["published_time_s"] == pytest.approx(0.0308)


@pytest.mark.parametrize(
    "change",
    [{"axes": {"channels": 512}}, {"batch": 2}, {"dtype": "float16"}, {"mode": "train"}],
)
def test_the_command_line_does_not_join_what_the_paper_did_not_measure(make, change):
    (row,) = rows([make.predicted("apnb", "256x128", experiment="efficiency", **change)])
    assert row["document"] is None


def test_a_form_that_the_paper_does_not_name_joins_nothing(make):
    (row,) = rows([make.predicted("apnb-concat", "256x128")])
    assert row["published_time_s"] is None


def test_unjoined_documents_have_rows_of_their_own(make):
    built = frame.build_frame([make.predicted("nb", "96x96")])
    published = built[(built["experiment"] == "table1") & (built["protocol"] == "published")]
    assert len(published) == 3


def test_a_document_read_twice_counts_once(make):
    built = frame.build_frame([make.predicted("nb", "64x64"), *frame.published_records()])
    assert len(built) == 1 + len(frame.published_records())


def test_a_row_without_a_size_has_no_pixels():
    assert pixels({"axes": {}, "size": ""}) == 0
    assert pixels({"axes": {"size": "256x128"}, "size": "8x8"}) == 32768


def test_both_modes_of_a_zoo_row_join_its_published_row(make):
    axes = {"network": "mmseg/ann-r50", "dataset": "ade20k", "crop": "512x512", "schedule": 80_000}
    fields = {"source": "measured", "environment": make.CPU}
    modes = [make.record("zoo_ann", axes, mode=mode, **fields) for mode in ("train", "eval")]
    assert [row["published_fps"] for row in rows(modes)] == [21.01, 21.01]


def test_records_in_are_not_changed(make):
    records = (make.predicted("nb", "96x96"),)
    before = records[0].model_dump_json()
    frame.build_frame(records)
    assert records[0].model_dump_json() == before


def test_a_record_without_an_axis_that_a_table_needs_is_named(make):
    record = make.measured("nb", "96x96", experiment="counters")
    row = frame.build_frame([record.model_copy(update={"axes": {"size": "96x96"}})]).iloc[0]
    with pytest.raises(
        ValueError, match=r"a record of counters \(cell [\w-]+, nb\) has no axis 'block'"
    ):
        row["axes"]["block"]
