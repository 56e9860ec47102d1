"""Tables of number formats and of implementations."""

import pytest

from bench.records.record import Environment, Failure, Measures, PredictedMemory, Record, Timing
from reports import report
from reports.blocks import variants
from reports.model import frame, values
from reports.model.layout import lay_out
from reports.model.table import Interval, Mark

MEBI = 2**20
CPU = Environment(
    device="cpu",
    device_name="Example CPU",
    cores=2,
    threads=1,
    memory_bytes=8 * 2**30,
    os="Linux 6.1",
    python="3.12.3",
    torch="2.15.0",
)
GPU = CPU.model_copy(update={"device": "cuda", "device_name": "Example GPU", "cuda": "13.0"})
NEEDS = {"float32": 8288, "autocast-float16": 6210, "autocast-bfloat16": 10290}


def record(source, arm, *, experiment="precision", environment=CPU, **fields):
    dtype, size, mode = (
        fields.pop(k, d) for k, d in (("dtype", "float32"), ("size", "256x128"), ("mode", "eval"))
    )
    axes = {"block": arm, "size": size, "mode": mode}
    if experiment == "precision":
        axes["dtype"] = dtype
    return Record(
        source=source,
        experiment=experiment,
        cell=f"{arm}{dtype}{size}{mode}",
        subject=arm,
        axes=axes,
        size=size,
        dtype=dtype,
        mode=mode,
        implementation=arm.partition(":")[2] or "plain",
        environment=environment,
        **fields,
    )


def foretold(arm, mebibytes, *, device=None, **fields):
    memory = PredictedMemory(
        peak_bytes=mebibytes * MEBI,
        increment_bytes=mebibytes * MEBI,
        input_bytes=0,
        parameter_bytes=0,
        peak_operator="aten.mul",
        device=device,
    )
    return record("predicted", arm, measures=Measures(predicted=memory), **fields)


def timed(arm, seconds, *, kernels=(), **fields):
    timing = Timing(clock="wall", samples_s=(seconds,) * 20)
    return record("measured", arm, measures=Measures(timings=(timing,), kernels=kernels), **fields)


def refused(source, arm, reason, **fields):
    return record(source, arm, failure=Failure(kind="unavailable", reason=reason), **fields)


@pytest.fixture
def predicted():
    return [
        foretold("nb", needs, dtype=dtype, device="cuda" if "auto" in dtype else None)
        for dtype, needs in NEEDS.items()
    ]


def build(records):
    return frame.build_frame(records, documents=[])


def only(made):
    (table,) = made
    return table


def test_formats_stand_side_by_side_and_the_finding_is_in_words(predicted):
    table = only(variants.precision_tables(build(predicted)))
    assert [column.name for column in table.columns[3:]] == list(NEEDS)
    assert table.rows == (("nb", "256x128", "eval", *(need * MEBI for need in NEEDS.values())),)
    said = " ".join(table.notes)
    assert "10290 MiB under bfloat16 autocast, more than the 8288 MiB of float32, and 6210" in said
    assert "follow the rules of CUDA (256x128)" in said


def test_predictions_by_other_rules_than_their_neighbours_are_marked(predicted):
    other = foretold("nb", 5, dtype="autocast-bfloat16", mode="train", device="cpu")
    table = only(variants.precision_tables(build([*predicted, other])))
    row = next(row for row in table.rows if row[2] == "eval")
    assert row[5] == Interval(10290 * MEBI, note=values.BY_CUDA)
    assert "follow the rules of the CPU (256x128)." in " ".join(table.notes)


def test_a_format_that_a_device_lacks_is_a_reason_and_no_number(predicted):
    records = [
        *predicted,
        refused("predicted", "nb", "no tf32 here", dtype="tf32"),
        timed("nb", 2.0),
        refused("measured", "nb", "no tf32 here", dtype="tf32"),
    ]
    time, _, foreseen = variants.precision_tables(build(records))
    at = [column.name for column in time.columns].index("tf32")
    assert time.rows[0][at] == Mark("unavailable: no tf32 here", "unavailable")
    assert time.rows[0][3].median == 2.0
    at = [column.name for column in foreseen.columns].index("tf32")
    assert foreseen.rows[0][at] == Mark("unavailable: no tf32 here")


def test_each_device_has_its_tables_and_the_predictions_stand_once(predicted):
    records = [*predicted, timed("nb", 2.0), timed("nb", 0.1, environment=GPU)]
    names = [table.name for table in variants.precision_tables(build(records))]
    assert names == [
        "precision-time",
        "precision-memory",
        "precision-predicted",
        "precision-time-2",
        "precision-memory-2",
    ]


def ways():
    about = {"experiment": "implementations"}
    kernel = "_scaled_dot_product_flash_attention_for_cpu"
    return [
        foretold("nb", 8288, **about),
        timed("nb", 4.0, **about),
        foretold("nb:sdpa", 384, device="cpu", **about),
        timed("nb:sdpa", 2.0, kernels=(kernel, f"{kernel}_backward"), **about),
        refused("predicted", "nb:sdpa-cudnn", "no such kernel", **about),
        refused("measured", "nb:sdpa-cudnn", "no such kernel", **about),
        foretold("apnb:fast", 270, **about),
        timed("apnb:fast", 0.1, **about),
    ]


def test_ways_are_compared_with_the_plain_block():
    table = only(variants.implementation_tables(build(ways())))
    rows = {
        row[0]: dict(zip([c.name for c in table.columns], row, strict=True)) for row in table.rows
    }
    assert rows["nb:sdpa"]["time ratio"] == 0.5
    assert rows["nb:sdpa"]["memory ratio"] == pytest.approx(384 / 8288)
    assert rows["nb"]["time ratio"] == 1
    assert rows["apnb:fast"]["time ratio"] is None  # its plain block was not measured


def test_the_kernel_that_ran_is_a_column():
    table = only(variants.implementation_tables(build(ways())))
    assert [row[-1] for row in table.rows] == ["", "flash_for_cpu, flash_for_cpu_backward", "", ""]


def test_a_way_that_is_not_there_is_a_row_with_its_reason():
    table = only(variants.implementation_tables(build(ways())))
    row = next(row for row in table.rows if row[0] == "nb:sdpa-cudnn")
    assert row[3] == Mark("unavailable: no such kernel", "unavailable")
    assert any("no such kernel" in text for _, text in lay_out(table).notes)


def test_both_experiments_are_among_all_tables(predicted):
    names = [table.name for table in report.report_tables(build([*predicted, *ways()]))]
    assert {"precision-predicted", "implementations"} <= set(names)


def test_without_records_there_is_no_table():
    assert variants.precision_tables(build([])) == variants.implementation_tables(build([])) == ()


def test_what_was_not_run_here_is_said(predicted):
    records = [
        *predicted,
        timed("nb", 2.0),
        refused("measured", "nb:sdpa", "measured on cuda alone"),
    ]
    time = variants.precision_tables(build(records))[0]
    assert len(time.rows) == 1
    assert "Nothing was run here at 256x128 eval of nb:sdpa." in time.notes
