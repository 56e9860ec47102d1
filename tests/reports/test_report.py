"""Tables as data, and as kept text in every format."""

import io

import pytest
from rich.console import Console

from bench.records.record import Failure, MeasuredMemory, Measures, Timing
from experiments.select import USUAL
from reports import report
from reports.audit import audit
from reports.blocks import efficiency, operations, zoo
from reports.model import frame
from reports.model.layout import lay_out, text_of
from reports.render import TerminalTable, csv, latex, markdown


def column(table, heading):
    at = [c.heading for c in table.columns].index(heading)
    return [text_of(row[at], table.columns[at]) for row in table.rows]


@pytest.fixture(scope="module")
def records(make):
    """Table 1's predictions; NB too large, APNB measured."""
    failure = Failure(
        kind="foreseen", reason="8.1 GiB are needed | 6 GiB are free", needs_bytes=8 * 2**30
    )
    return [
        *make.table1(),
        make.measured("nb", "96x96", time_s=0.48, memory=700 * 2**20),
        make.measured("apnb", "96x96", time_s=0.29, memory=120 * 2**20),
        make.measured("nb", "256x128", failure=failure),
        make.measured("apnb", "256x128", time_s=1.03, memory=350 * 2**20),
    ]


@pytest.fixture(scope="module")
def both(records):
    return dict(
        zip(
            ("predicted", "measured"),
            efficiency.efficiency_tables(frame.build_frame(records), "table1"),
            strict=True,
        )
    )


def shown(table, width=110):
    console = Console(file=io.StringIO(), width=width, legacy_windows=False)
    console.print(TerminalTable(table))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


RENDERERS = {"md": markdown.to_markdown, "tex": latex.to_latex, "csv": csv.to_csv, "txt": shown}


@pytest.mark.parametrize("ending", RENDERERS)
@pytest.mark.parametrize("which", ["predicted", "measured"])
def test_table_1_is_as_kept(both, golden, which, ending):
    golden(f"table1-{which}.{ending}", RENDERERS[ending](both[which]))


def test_the_audit_is_as_kept(records, make, golden):
    table = audit.audit_table(frame.build_frame([*records, *make.table2()]))
    golden("audit.md", markdown.to_markdown(table))


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)
def test_the_same_records_give_the_same_bytes(records, render):
    first, second = (
        render(efficiency.efficiency_tables(frame.build_frame(records), "table1")[1])
        for _ in range(2)
    )
    assert first == second


def test_macs_and_flops_are_columns_of_their_own(both):
    headings = [c.heading for c in both["predicted"].columns]
    assert {"MACs (G)", "FLOPs (G)"} <= set(headings)


def test_gflops_is_said_only_of_a_document(both):
    saying = [c for table in both.values() for c in table.columns if "GFLOPs" in c.heading]
    assert [c.source for c in saying] == ["published"]


def test_both_protocols_stand_in_one_row(both):
    assert column(both["predicted"], "memory, predicted (MiB)")[:3] == ["675.0", "94.0", "216.0"]
    procedure = column(both["predicted"], "by paper's procedure, predicted (MiB)")
    assert procedure[:3] == ["609", "-", "150"]


def test_a_failed_cell_is_a_row_with_its_reason(both):
    assert column(both["measured"], "time, measured (ms)")[3] == "needs 8.0 GiB"
    notes = [note for _, note in lay_out(both["measured"]).notes]
    assert "too large: 8.1 GiB are needed | 6 GiB are free" in notes


def test_a_cell_that_could_not_be_predicted_says_why(make):
    failure = Failure(kind="error", reason="the factory raised TypeError")
    record = make.predicted("nb", "96x96", experiment="efficiency")
    failed = record.model_copy(update={"measures": Measures(), "failure": failure})
    counted, _ = efficiency.efficiency_tables(frame.build_frame([failed]))
    assert column(counted, "params (M)") == ["failed"]
    assert "failed: the factory raised TypeError" in [note for _, note in lay_out(counted).notes]


def test_the_caption_says_machine_and_torch(both):
    assert both["measured"].caption.startswith("Measured on Example CPU (1 thread), torch 2.15.0;")
    assert both["predicted"].caption.startswith("Predicted without execution;")


def test_workspace_is_beside_the_memory(both):
    assert column(both["measured"], "workspace (MiB)")[:2] == ["25.0", "26.0"]


def timed_on(make, environment):
    found = make.measured("nb", "96x96", time_s=0.48, environment=environment)
    return efficiency.efficiency_tables(
        frame.build_frame([make.predicted("nb", "96x96"), found]), "table1"
    )[1]


def test_ratios_are_published_over_ours(make):
    timed = timed_on(make, make.GPU)
    assert column(timed, "ratio")[0] == f"{19.5 / 480:.3f}"
    assert "The published times are of a Titan Xp." in timed.notes


def test_published_times_of_a_gpu_are_in_no_ratio_to_those_of_a_processor(make):
    timed = timed_on(make, make.CPU)
    assert "ratio" not in [column.heading for column in timed.columns]
    assert "The published times are of a Titan Xp." in timed.notes


def test_several_devices_have_rows_and_a_column(make):
    found = [make.measured("nb", "96x96", time_s=0.1, environment=e) for e in (make.CPU, make.GPU)]
    _, table = efficiency.efficiency_tables(
        frame.build_frame([make.predicted("nb", "96x96"), *found]), "table1"
    )
    assert column(table, "device")[:2] == ["Example CPU", "Example GPU"]


def test_the_best_is_the_best_of_its_device(make):
    times = ((make.CPU, (4.0, 3.0)), (make.GPU, (0.02, 0.01)))
    found = [
        make.measured(block, "96x96", time_s=time, environment=environment)
        for environment, pair in times
        for block, time in zip(("nb", "apnb"), pair, strict=True)
    ]
    _, table = efficiency.efficiency_tables(frame.build_frame(found), "table1")
    at = [c.heading for c in table.columns].index("time, measured (ms)")
    best = {row[2].text: row[0].text for row in lay_out(table).rows if row[at].best}
    assert best == {"Example CPU": "apnb", "Example GPU": "apnb"}


def test_a_cell_of_the_papers_protocol_alone_has_a_row(make):
    counted, timed = efficiency.efficiency_tables(
        frame.build_frame(
            [make.predicted("nb", "96x96", protocol="paper", experiment="efficiency")]
        )
    )
    assert column(counted, "by paper's procedure, predicted (MiB)") == ["609"]
    assert column(timed, "time, published (ms)") == ["19.5"]


def test_of_predictions_alone_nothing_is_called_measured(make):
    made = make.predicted("nb", "96x96", experiment="efficiency")
    tables = efficiency.efficiency_tables(frame.build_frame([made]))
    assert [table.title for table in tables] == [
        "Efficiency: counts and predictions",
        "Efficiency: published times",
    ]
    assert "-" not in [text for column in tables[1].rows for text in column]
    other = make.predicted("gc", "40x40", experiment="efficiency")
    assert len(efficiency.efficiency_tables(frame.build_frame([other]))) == 1


def test_a_column_of_numbers_that_no_row_has_a_record_of_is_left_out(make):
    failure = Failure(kind="foreseen", reason="8 GiB are needed")
    found = [make.predicted("nb", "96x96"), make.measured("nb", "96x96", failure=failure)]
    _, timed = efficiency.efficiency_tables(frame.build_frame(found), "table1")
    assert column(timed, "time, measured (ms)")[0] == "too large"
    read = [make.predicted("nb", "96x96"), make.measured("nb", "96x96", time_s=1.0)]
    _, timed = efficiency.efficiency_tables(frame.build_frame(read), "table1")
    assert "memory, measured (MiB)" not in [column.heading for column in timed.columns]


def test_unusual_settings_are_columns(make):
    axes = {"channels": 512, "mode": "train"}
    made = make.predicted("nb", "96x96", experiment="efficiency", axes=axes, mode="train")
    counted, *_ = efficiency.efficiency_tables(frame.build_frame([made]))
    assert column(counted, "channels") == ["512"]
    assert column(counted, "mode") == ["train"]


def test_sizes_go_from_small_to_large(make):
    found = [make.predicted("nb", size) for size in ("256x128", "96x96")]
    counted, _ = efficiency.efficiency_tables(frame.build_frame(found), "table1")
    assert column(counted, "size") == ["96x96", "96x96", "256x128", "256x128"]


def test_the_frame_is_not_changed(records):
    built = frame.build_frame(records)
    before = built.to_json(default_handler=str)
    report.report_tables(built)
    assert built.to_json(default_handler=str) == before


def test_table_2_counts_parameters_and_buffers(make):
    counted, _ = efficiency.table2_tables(frame.build_frame(make.table2()))
    assert column(counted, "params, buffers (M)") == ["35.63", "102.66", "63.08"]


def test_table_2_is_in_seconds(make):
    name = "official/ann-r101"
    axes = {"network": name, "size": "2048x1024"}
    measures = Measures(timings=(Timing(clock="wall", samples_s=make.samples(30.0)),))
    record = make.record("table2", axes, source="measured", environment=make.CPU, measures=measures)
    _, timed = efficiency.table2_tables(frame.build_frame([*make.table2(), record]))
    row = column(timed, "network").index(name)
    assert column(timed, "time, published (s)")[row] == "0.611"
    assert column(timed, "time, measured (s)")[row].startswith("30.00 [")


def test_fig_2_ends_with_the_sum_and_says_what_a_block_lacks(make):
    found = [
        make.operations("nb", {"matmul": 0.5, "softmax": 0.25}),
        make.operations("apnb", {"matmul": 0.125, "pooling": 0.25}),
    ]
    (table,) = operations.fig2_tables(frame.build_frame(found))
    assert column(table, "operations") == ["matmul", "softmax", "pooling", "sum"]
    assert column(table, "nb, measured (ms)") == ["500.000", "250.000", "-", "750.000"]
    assert column(table, "nb / apnb")[-1] == "2.0"


def test_the_zoo_joins_training_memory_and_inference_speed(make):
    axes = {"network": "mmseg/ann-r50", "dataset": "ade20k", "crop": "512x512", "schedule": 80_000}
    memory = make.predicted("nb", "96x96").measures.predicted.model_copy(
        update={"peak_bytes": 5 * 2**30}
    )
    train = make.record(
        "zoo_ann",
        axes,
        source="predicted",
        mode="train",
        batch=4,
        measures=Measures(predicted=memory),
    )
    timing = Timing(clock="cuda-events", samples_s=(0.05,) * 20)
    speed = make.record(
        "zoo_ann",
        axes,
        source="measured",
        environment=make.GPU,
        measures=Measures(timings=(timing,), memory=MeasuredMemory()),
    )
    table, accuracy = zoo.zoo_tables(frame.build_frame([train, speed]), "zoo_ann")
    row = column(table, "memory, predicted (GiB)").index("5.00")
    assert column(table, "memory, published (GB)")[row] == "9.1"
    assert column(table, "ratio")[row] == "1.82"
    assert column(table, "speed, measured (fps)")[row] == "20.00"
    assert len(table.rows) == len(accuracy.rows) == 16


def test_of_two_devices_the_zoo_shows_the_one_with_a_reading(make):
    axes = {"network": "mmseg/ann-r50", "dataset": "ade20k", "crop": "512x512", "schedule": 80_000}
    failure = Failure(kind="unavailable", reason="no GPU")
    timing = Timing(clock="cuda-events", samples_s=(0.05,) * 20)
    fields = {"source": "measured", "subject": "net"}
    records = [
        make.record("zoo_ann", axes, environment=make.CPU, failure=failure, **fields),
        make.record(
            "zoo_ann", axes, environment=make.GPU, measures=Measures(timings=(timing,)), **fields
        ),
    ]
    table, _ = zoo.zoo_tables(frame.build_frame(records), "zoo_ann")
    assert "20.00" in column(table, "speed, measured (fps)")


def test_published_accuracies_keep_their_digits(make):
    built = frame.build_frame([make.predicted("nb", "96x96")])
    assert "40.70" in column(report.accuracy_table(built, "table4"), "mIoU, published (%)")


def test_a_published_row_that_nothing_measured_is_shown_with_dashes(make):
    counted, _ = efficiency.efficiency_tables(
        frame.build_frame([make.predicted("nb", "96x96")]), "table1"
    )
    row = column(counted, "GFLOPs, published").index("43.5")
    assert column(counted, "MACs (G)")[row] == "-"


def test_every_table_needs_a_record_or_is_published(make):
    names = [
        table.name
        for table in report.report_tables(frame.build_frame([make.predicted("nb", "96x96")]))
    ]
    assert names == [
        "table1-predicted",
        "table1-measured",
        *(f"table{number}" for number in range(3, 8)),
    ]


def own(record, name, **axes):
    return record.model_copy(update={"experiment": name, "axes": axes})


def test_somebodys_own_experiment_has_a_column_for_each_axis(make):
    rows = [
        own(make.measured("apnb", "96x96", time_s=0.29), "my_anchors", anchors=15, depth="deep"),
        own(make.measured("nb", "96x96", time_s=0.48), "my_anchors", anchors=110, depth="flat"),
    ]
    rows[0].measures.readings["energy_j"] = (3.0, 1.0, 2.0)
    (timed,) = efficiency.own_tables(frame.build_frame(rows), "my_anchors")
    assert timed.name == "own-my-anchors-measured"
    assert column(timed, "anchors") == ["15", "110"]
    assert column(timed, "depth") == ["deep", "flat"]
    assert column(timed, "energy j") == ["2.000", "-"]
    assert report.report_tables(frame.build_frame(rows))[0].name == timed.name


def test_somebodys_own_counts_stand_ahead_of_what_was_measured(make):
    rows = [
        own(made, "my_anchors", anchors=15)
        for made in (make.predicted("nb", "96x96"), make.measured("nb", "96x96", time_s=0.48))
    ]
    names = [table.name for table in report.report_tables(frame.build_frame(rows))]
    assert names[:2] == ["own-my-anchors-predicted", "own-my-anchors-measured"]


def test_a_name_of_an_experiment_can_not_lead_out_of_the_folder(make):
    rows = [own(make.measured("apnb", "96x96", time_s=0.29), "../../up", block="apnb")]
    assert {t.name for t in report.report_tables(frame.build_frame(rows))} >= {"own-up-measured"}
    assert not any("/" in t.name for t in report.report_tables(frame.build_frame(rows)))


def test_the_widths_that_a_caption_names_are_the_usual_ones():
    widths = f"{USUAL['channels']} channels, {USUAL['key_channels']} key channels"
    assert widths == efficiency.USUAL_WIDTHS
