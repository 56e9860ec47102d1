"""Rooflines and predictions from small records whose floors follow by hand."""

import subprocess
import sys

import pytest

from bench.analysis.devices import DEVICES, USUAL_DEVICES
from bench.estimate import Estimator
from bench.records import record
from bench.records.record import (
    Alike,
    Ceiling,
    Counts,
    Failure,
    Measures,
    Operator,
    OperatorTime,
    PredictedMemory,
    Timing,
)
from reports import report
from reports.blocks import floors, predictions, roofline, validation
from reports.model import frame
from reports.model.frame import published_records
from reports.model.layout import lay_out
from reports.model.table import Mark
from reports.render import markdown

GIGA, MILLI = 10**9, 1e-3
# At 1 TFLOP/s and 100 GB/s: 4 ms of products, 1 ms of bytes.
PRODUCT = {"macs": 2 * GIGA, "flops": 4 * GIGA, "moved_bytes": 10**7}
SOFTMAX = {"flops": 10**6, "moved_bytes": 10**8}


def operator(name, **does):
    one = Alike(calls=1, **does)
    return Operator(name=name, status="counted", calls=1, alike=(one,), **does)


LEDGER = (operator("aten.bmm", **PRODUCT), operator("aten._softmax", **SOFTMAX))


def clock(*samples, device="cpu"):
    return Timing(clock="cuda-events" if device == "cuda" else "wall", samples_s=samples)


def ceilings(make, environment):
    found = (
        Ceiling(kind="copy", amount=10**8, timing=clock(0.002, 0.001, 0.003)),
        Ceiling(kind="product", amount=10**9, timing=clock(0.001, 0.004)),
        Ceiling(kind="product", dtype="float16", reason="not here"),
    )
    return make.record(
        "ceilings",
        {"machine": "ceilings"},
        source="measured",
        environment=environment,
        measures=Measures(ceilings=found),
        size="1x1",
    )


def asked(make, block, *, size="256x128", peak_gib=1, experiment="efficiency", **fields):
    memory = PredictedMemory(
        peak_bytes=peak_gib * 2**30,
        increment_bytes=2**20,
        input_bytes=0,
        parameter_bytes=0,
        peak_operator="aten.bmm",
    )
    counts = Counts(parameters=1, buffers=0, macs=2 * GIGA, flops=4 * GIGA + 10**6, ledger=LEDGER)
    axes = {"block": block, "size": size}
    measures = Measures(counts=counts, predicted=memory)
    return make.record(experiment, axes, source="predicted", measures=measures, **fields)


def run(make, environment, block="nb", time_s=0.010, **fields):
    """What is predicted of a block and what was measured."""
    return [
        asked(make, block, **fields),
        make.measured(
            block, "256x128", time_s=time_s, experiment="efficiency", environment=environment
        ),
    ]


@pytest.fixture(scope="module")
def h200(make):
    return make.GPU.model_copy(update={"device_name": "NVIDIA H200"})


@pytest.fixture(scope="module")
def on_cpu(make):
    records = [
        ceilings(make, make.CPU),
        *run(make, make.CPU),
        *run(make, make.CPU, "apnb:fast", 0.005),
        *run(make, make.CPU, "apnb:compiled", 0.004),
    ]
    return roofline.machine_tables(frame.build_frame(records, []))


@pytest.fixture(scope="module")
def on_gpu(make, h200):
    records = [ceilings(make, h200), *run(make, h200), *run(make, h200, "apnb:fast", 0.005)]
    return roofline.roofline_tables(frame.build_frame(records, []))


def cells(table, heading):
    at = [column.heading for column in table.columns].index(heading)
    return [row[at] for row in table.rows]


def test_the_tables_of_a_processor(on_cpu, golden):
    golden("roofline-cpu.md", "\n".join(map(markdown.to_markdown, on_cpu)))


def test_the_tables_of_a_known_gpu(on_gpu, golden):
    golden("roofline-gpu.md", "\n".join(map(markdown.to_markdown, on_gpu)))


def test_the_floor_adds_up_the_operators(on_cpu):
    assert cells(on_cpu[1], "floor (ms)")[0] == pytest.approx(5 * MILLI)


def test_a_share_is_floor_over_time(on_cpu):
    assert cells(on_cpu[1], "share (%)")[:2] == pytest.approx([0.5, 1.0], rel=1e-3)


def test_what_binds_is_what_most_of_the_floor_goes_to(on_cpu):
    assert cells(on_cpu[1], "bound by")[0] == "operations"


def test_what_is_compiled_has_a_reason_in_place_of_a_floor(on_cpu):
    table = on_cpu[1]
    assert cells(table, "floor (ms)")[2] == floors.NOT_ITS_OWN
    assert cells(table, "share (%)")[2] is None
    assert any("its operators are fused" in text for _, text in lay_out(table).notes)


def test_a_missing_ceiling_is_a_dash_with_its_reason(on_cpu):
    assert cells(on_cpu[0], "rate, measured (G/s)")[2] == Mark("not here")


def test_a_format_without_a_ceiling_has_no_floor(make):
    row = {"axes": {"block": "nb"}, "ledger": LEDGER, "dtype": "tf32", "environment": None}
    found = floors.row_floors(row, DEVICES["titan-xp"].ceilings)
    assert found == Mark("no ceiling for products in tf32; there are float32")


def test_operators_are_of_the_slowest_block(on_cpu):
    table = on_cpu[2]
    assert table.title == "Roofline by operator: nb at 256x128 on Example CPU"
    assert cells(table, "operator") == ["bmm", "_softmax"]
    assert cells(table, "of the floor (%)") == pytest.approx([0.8, 0.2])


def test_of_what_is_compiled_there_is_no_table_of_operators(make):
    slow = run(make, make.CPU, "apnb:compiled", 0.020)
    made = roofline.machine_tables(
        frame.build_frame([ceilings(make, make.CPU), *run(make, make.CPU), *slow], [])
    )
    assert [table.name for table in made][2:] == ["roofline-operators-nb"]


def test_profiled_blocks_show_the_time_of_each_operator(make):
    times = (
        OperatorTime(name="aten::bmm", group="matmul", samples_s=(0.008,)),
        OperatorTime(name="aten::_softmax", group="softmax", samples_s=(0.002,)),
    )
    axes = {"block": "nb", "size": "256x128"}
    profiled = make.record(
        "fig2",
        axes,
        source="measured",
        environment=make.CPU,
        measures=Measures(operations=times),
    )
    records = [ceilings(make, make.CPU), asked(make, "nb", experiment="fig2"), profiled]
    table = roofline.machine_tables(frame.build_frame(records, []))[-1]
    assert cells(table, "time, measured (ms)") == [0.008, 0.002]
    assert cells(table, "share (%)") == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("operator", "profiled", "group"),
    [
        ("aten.convolution", "aten::cudnn_convolution", "conv"),
        ("aten.relu", "aten::clamp_min", "element-wise"),
        ("aten.clone", "aten::copy_", "concat/copy"),
    ],
)
def test_the_profiler_has_names_of_its_own(operator, profiled, group):
    times = [
        OperatorTime(name=profiled, group=group, samples_s=(0.5, 1.0, 1.5)),
        OperatorTime(name="aten::bmm", group="matmul", samples_s=(9.0,)),
    ]
    assert floors.operator_time(operator, times) == 1.0
    assert floors.operator_time("aten.mean", times) is None


def test_a_machine_with_other_threads_has_no_floors_here(make):
    other = make.CPU.model_copy(update={"threads": 2})
    made = roofline.machine_tables(
        frame.build_frame([ceilings(make, other), *run(make, make.CPU)], [])
    )
    assert [table.name for table in made] == ["roofline-ceilings"]


def test_a_machine_without_a_copy_has_its_ceilings_and_no_floors(make):
    found = ceilings(make, make.CPU)
    products = tuple(one for one in found.measures.ceilings if one.kind == "product")
    lacking = found.model_copy(update={"measures": Measures(ceilings=products)})
    made = roofline.machine_tables(frame.build_frame([lacking, *run(make, make.CPU)], []))
    assert [table.name for table in made] == ["roofline-ceilings"]


def test_without_ceilings_there_is_no_table(make):
    assert roofline.roofline_tables(frame.build_frame(run(make, make.CPU), [])) == ()


def test_each_machine_has_tables_of_its_own(make, h200):
    records = [
        *(ceilings(make, where) for where in (make.CPU, h200)),
        *run(make, make.CPU),
        run(make, h200)[1],
    ]
    names = [table.name for table in roofline.machine_tables(frame.build_frame(records, []))]
    assert {"roofline-efficiency", "roofline-efficiency-2"} <= set(names)


def test_rooflines_are_among_all_tables(make):
    built = frame.build_frame([ceilings(make, make.CPU), *run(make, make.CPU)])
    names = [table.name for table in report.report_tables(built)]
    assert {"roofline-efficiency", "roofline-efficiency-predicted"} <= set(names)


def test_a_known_device_shows_how_far_its_datasheet_was_off(on_gpu):
    table = next(table for table in on_gpu if table.name == "roofline-efficiency")
    predicted = cells(table, "by H200 SXM's datasheet, floor, predicted (ms)")
    floor_s = 4 / 67_000 + (0.1 - 60 * 2**20 / GIGA) / 4800  # less what L2 may hold
    assert predicted == pytest.approx([floor_s] * 2)
    assert cells(table, "error (%)")[0] == pytest.approx(floor_s / 0.010 - 1, rel=1e-3)


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


def test_rooflines_load_without_torch():
    code = (
        "import sys, reports.blocks.roofline, reports.blocks.floors; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
