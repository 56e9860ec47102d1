"""Rooflines of machines from small records whose floors follow by hand."""

import subprocess
import sys

import pytest

from bench.analysis.devices import DEVICES
from bench.records.record import (
    Measures,
    OperatorTime,
)
from reports import report
from reports.blocks import floors, roofline
from reports.model import frame
from reports.model.layout import lay_out
from reports.model.table import Mark
from reports.render import markdown
from tests.reports.blocks.floored import (
    GIGA,
    LEDGER,
    MILLI,
    asked,
    ceilings,
    cells,
    run,
)


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
        ("ann.attend_tiles", "ann::attend_tiles", "matmul"),
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


def test_rooflines_load_without_torch():
    code = (
        "import sys, reports.blocks.roofline, reports.blocks.floors; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
