"""Times on known devices that need not be there, and how far they are from measured ones."""

import pytest

from bench.analysis.devices import DEVICES, USUAL_DEVICES
from bench.estimate import Estimator
from bench.records import record
from bench.records.record import (
    Alike,
    Failure,
    Operator,
)
from reports import report
from reports.blocks import floors, predictions, roofline, validation
from reports.model import frame
from reports.model.frame import published_records
from reports.model.table import Mark
from tests.reports.blocks.floored import (
    GIGA,
    MILLI,
    PRODUCT,
    SOFTMAX,
    asked,
    ceilings,
    cells,
    run,
)


@pytest.fixture(scope="module")
def h200(make):
    return make.GPU.model_copy(update={"device_name": "NVIDIA H200"})


def predicted_table(records, *names, documents=()):
    chosen = [DEVICES[name] for name in names]
    (table,) = predictions.predicted_time_tables(frame.build_frame(records, documents), chosen)
    return table


def test_a_predicted_time_says_so_in_its_heading(make):
    table = predicted_table([asked(make, "nb")], "h100")
    assert [column.heading for column in table.columns] == [
        "block",
        "size",
        "H100 SXM, floor, predicted (ms)",
    ]
    assert cells(table, "H100 SXM, floor, predicted (ms)") == pytest.approx(
        [4 / 67_000 + (0.1 - 50 * 2**20 / GIGA) / 3350]
    )


def test_predictions_name_the_datasheets(make):
    notes = predicted_table([asked(make, "nb")], "v100").notes
    assert "V100 SXM2: NVIDIA, Tesla V100 datasheet, 2018; also with 32 GB." in notes


def test_a_published_time_shows_the_error(make):
    table = predicted_table([asked(make, "nb")], "titan-xp", documents=published_records())
    assert cells(table, "Titan Xp, published (ms)") == pytest.approx([179.4 * MILLI])
    floor_s = 4 / 12_150 + (0.1 - 3 * 2**20 / GIGA) / 547.7
    assert cells(table, "error (%)") == pytest.approx([floor_s / (179.4 * MILLI) - 1])


def shaped(make, block="nb", **settings):
    """The same with the shapes that estimates need."""
    product = Alike(calls=1, products=((1, 1000, 1000, 2000),), **PRODUCT)
    rows = Alike(calls=1, row_length=1000, **SOFTMAX)
    ledger = (
        Operator(name="aten.bmm", status="counted", calls=1, alike=(product,), **PRODUCT),
        Operator(name="aten._softmax", status="counted", calls=1, alike=(rows,), **SOFTMAX),
    )
    record = asked(make, block, **settings)
    counts = record.measures.counts.model_copy(update={"ledger": ledger})
    return record.model_copy(
        update={"measures": record.measures.model_copy(update={"counts": counts})}
    )


def test_an_estimate_stands_with_its_interval_over_the_floor(make):
    table = predicted_table([shaped(make)], "h100")
    (floor,) = cells(table, "H100 SXM, floor, predicted (ms)")
    (estimate,) = cells(table, "H100 SXM, estimate, predicted (ms)")
    assert floor < estimate.median
    assert estimate.low < estimate.median < estimate.high
    parts = Estimator(DEVICES["h100"]).estimates(shaped(make).measures.counts.ledger)
    assert estimate.median == pytest.approx(sum(part.time_s for part in parts))


def test_the_error_is_of_the_estimate_where_there_is_one(make):
    table = predicted_table([shaped(make)], "titan-xp", documents=published_records())
    (estimate,) = cells(table, "Titan Xp, estimate, predicted (ms)")
    assert cells(table, "error (%)") == pytest.approx([estimate.median / (179.4 * MILLI) - 1])


def test_operators_of_a_single_device_stand_apart(make):
    built = frame.build_frame([shaped(make)], [])
    (table,) = predictions.operator_estimates(built, DEVICES["h100"])
    assert cells(table, "operator") == ["bmm", "_softmax"]
    assert sum(cells(table, "of the estimate (%)")) == pytest.approx(1)
    assert cells(table, "bound by") == ["operations", "memory"]


def timed(make, machine):
    """The prediction with shapes and a measured time of the same."""
    return [shaped(make), run(make, machine)[1]]


def test_calls_on_a_known_gpu_check_the_estimates(make, h200):
    (row,) = validation.record_errors(frame.build_frame(timed(make, h200), []))
    parts = Estimator(DEVICES["h200"]).estimates(shaped(make).measures.counts.ledger)
    estimate_s = sum(part.time_s for part in parts)
    assert (row.device, row.of, row.kernels, row.above) == ("H200 SXM", "efficiency", 1, 0)
    assert row.mean == pytest.approx(abs(estimate_s / 0.010 - 1))
    assert row.reached_mean is None


def test_the_ceilings_of_a_gpu_go_before_its_datasheet(make, h200):
    records = [ceilings(make, h200), *timed(make, h200)]
    built = frame.build_frame(records, [])
    reached = predictions.reached_ceilings(built, DEVICES["h200"])
    assert (reached.bandwidth, reached.products["float32"]) == pytest.approx((1e11, 1e12))
    (row,) = validation.record_errors(built)
    assert row.reached_mean != row.mean
    (table,) = predictions.predicted_time_tables(built, [DEVICES["h200"]])
    (estimate,) = cells(table, "H200 SXM, estimate, predicted (ms)")
    assert estimate.median > 0.004  # 4 GFLOP at 1 TFLOP/s
    assert any("that one was seen to reach" in note for note in table.notes)


def test_a_report_of_a_gpu_tells_how_far_estimates_are_off(make, h200):
    records = [ceilings(make, h200), *timed(make, h200)]
    tables = report.report_tables(frame.build_frame(records, []))
    (table,) = (table for table in tables if table.name == "validation")
    assert table.title == "Estimated times of calls against measured ones"


def test_operators_of_a_known_gpu_have_their_estimates(make, h200):
    tables = roofline.machine_tables(
        frame.build_frame([ceilings(make, h200), *timed(make, h200)], [])
    )
    (table,) = (table for table in tables if table.name == "roofline-operators-nb")
    at = cells(table, "operator").index("bmm")
    estimate = cells(table, "estimate (ms)")[at]
    assert estimate.low < estimate.median < estimate.high
    assert cells(table, "bound by")[at] == "operations"


def test_times_on_other_machines_check_nothing(make):
    assert validation.record_errors(frame.build_frame(timed(make, make.CPU), [])) == ()


def test_records_without_shapes_have_no_estimate_and_say_so(make):
    table = predicted_table([asked(make, "nb")], "h100")
    assert "H100 SXM, estimate" not in [column.name for column in table.columns]
    assert table.notes[-1].startswith("No estimate: the records are of before shapes")
    assert (
        predictions.operator_estimates(frame.build_frame([asked(make, "nb")], []), DEVICES["h100"])
        == ()
    )


def test_a_measured_time_shows_the_error(make, h200):
    table = predicted_table(run(make, h200), "h200", "v100")
    assert cells(table, "H200 SXM, measured (ms)")[0].median == pytest.approx(0.010)
    assert "V100 SXM2, measured (ms)" not in [column.heading for column in table.columns]


def test_devices_of_one_block_share_its_row(make, h200):
    table = predicted_table([*run(make, h200), run(make, make.TITAN)[1]], "h200", "titan-xp")
    assert len(table.rows) == 1
    assert len([column for column in table.columns if column.name == "error"]) == 2


def test_what_does_not_fit_a_device_says_so(make):
    table = predicted_table([asked(make, "nb", peak_gib=33)], "v100", "h200")
    note = "too large: needs 33.0 GiB by prediction, V100 SXM2 has 16 GiB"
    assert table.rows[0][2] == Mark(note)
    assert isinstance(table.rows[0][3], float)


def test_a_block_without_operators_takes_no_time(make):
    record = asked(make, "nb")
    nothing = {"ledger": (), "macs": 0, "flops": 0}
    counts = record.measures.counts.model_copy(update=nothing)
    measures = record.measures.model_copy(update={"counts": counts})
    table = predicted_table([record.model_copy(update={"measures": measures})], "h200")
    assert cells(table, "H200 SXM, floor, predicted (ms)") == [0]


def test_a_format_that_a_device_lacks_says_so(make):
    records = [asked(make, "nb", dtype="tf32")]
    note = "Titan Xp: no ceiling for products in tf32; there are float32"
    assert predicted_table(records, "titan-xp").rows[0][2] == Mark(note)


def test_what_is_compiled_is_not_predicted(make):
    assert predicted_table([asked(make, "nb:compiled")], "h200").rows[0][2] == floors.NOT_ITS_OWN


def test_what_could_not_be_counted_is_a_row_with_its_reason(make):
    failure = Failure(kind="error", reason="can't be predicted: no such module")
    axes = {"block": "mine:block", "size": "8x8"}
    failed = make.record("efficiency", axes, source="predicted", failure=failure)
    (row,) = predicted_table([failed], "h200").rows
    assert row[2] == Mark("failed: can't be predicted: no such module")


def test_the_usual_devices_are_predicted_where_none_is_named(make):
    (table,) = predictions.predicted_time_tables(frame.build_frame([asked(make, "nb")], []))
    named = [column.name for column in table.columns if column.source == "predicted"]
    assert named == [f"{DEVICES[name].title}, floor" for name in USUAL_DEVICES]


def test_kept_records_from_before_calls_stood_apart_are_predicted_too():
    kept = record.read_records(frame.PUBLISHED.parent / "reference/intel-xeon-2-cores/table1.jsonl")
    (table,) = predictions.predicted_time_tables(frame.build_frame(kept), [DEVICES["titan-xp"]])
    errors = [value for value in cells(table, "error (%)") if value is not None]
    assert len(errors) == 4
    assert all(-0.75 < error < 0 for error in errors)
