"""The history: series per device from the records of many runs, their steps, charts and table."""

import random
from xml.etree import ElementTree as ET

import pytest

from bench import regress
from bench.records.comparison import ArmReadings, ArmRecord, Comparison, RoundRecord
from bench.records.files import append_line
from bench.records.record import Counts, Environment, Measures, Record, Timing
from reports.gate import series as history
from reports.gate import trends


def where(device_name="one", commit="c"):
    return Environment(
        device="cpu",
        device_name=device_name,
        cores=2,
        threads=1,
        memory_bytes=1,
        os="Linux",
        python="3.11.0",
        torch="2.15.0",
        commit=commit,
    )


def record(day, *, seconds=0.01, macs=100, device="one"):
    timing = Timing(clock="process", samples_s=(seconds,) * 3)
    cold = timing.model_copy(update={"cache": "cold", "samples_s": (9.0,)})
    return Record(
        source="measured",
        experiment="e",
        cell="0",
        subject="apnb",
        axes={"block": "apnb"},
        size="9x7",
        measures=Measures(
            timings=(timing, cold),
            counts=Counts(parameters=5, buffers=0, macs=macs, flops=0),
        ),
        environment=where(device, f"commit{day}"),
        created_at=f"2026-01-{day:02}T00:00:00+00:00",
    )


@pytest.fixture
def runs(tmp_path):
    """Twelve runs on one device, slower by a fifth and with more MACs from the seventh; two on another."""
    for day in range(1, 13):
        late = day >= 7
        seconds = (0.012 if late else 0.010) * (1 + 0.002 * (day % 3))
        one = record(day, seconds=seconds, macs=120 if late else 100)
        append_line(tmp_path / f"run{day}" / "records.jsonl", one)
    for day in (1, 2):
        append_line(tmp_path / f"other{day}" / "records.jsonl", record(day, device="two"))
    return tmp_path


def found(folder):
    return {(one.device, one.quantity): one for one in history.read_series(folder)}


def test_there_is_a_series_for_each_quantity_and_device(runs):
    series = found(runs)
    assert set(series) == {
        ("any device", "MACs"),
        ("any device", "parameters"),
        ("one, 1 thread", "process time"),
        ("two, 1 thread", "process time"),
    }
    points = series["one, 1 thread", "process time"].points
    assert [point.commit for point in points] == [f"commit{day}" for day in range(1, 13)]
    assert points[0].value == pytest.approx(0.01002)


def test_a_step_is_found_where_it_is(runs):
    series = found(runs)
    (slower,) = series["one, 1 thread", "process time"].steps
    assert slower.at == 6
    assert slower.ratio == pytest.approx(1.2, rel=0.01)
    (more,) = series["any device", "MACs"].steps
    assert (more.at, more.ratio) == (6, pytest.approx(1.2))
    assert series["two, 1 thread", "process time"].steps == ()


def test_of_a_gates_output_the_head_is_taken_and_the_time_by_turns(tmp_path):
    for side, macs in (("base", 1), ("head", 2)):
        append_line(tmp_path / side / "records.jsonl", record(1, macs=macs))
    taken = ArmReadings(first=(1.0,), control=(1.0,), second=(3.0,))
    made = Comparison(
        first=ArmRecord(arm="a", cell="0"),
        second=ArmRecord(arm="b", cell="0"),
        size="9x7",
        axes={"gate_role": "cell", "gate_cell": "apnb 9x7"},
        margin=0.02,
        level=0.001,
        rounds=(RoundRecord(order="ACBBCA", readings={"process": taken}),),
        environment=where(),
        created_at="2026-01-01T00:00:00+00:00",
    )
    append_line(tmp_path / "comparisons.jsonl", made)
    append_line(
        tmp_path / "comparisons.jsonl", made.model_copy(update={"axes": {"gate_role": "planted"}})
    )
    series = found(tmp_path)
    assert [point.value for point in series["any device", "MACs"].points] == [2]
    assert [point.value for point in series["one, 1 thread", "process time, by turns"].points] == [
        3.0
    ]


def test_a_copied_record_is_one_point(runs):
    append_line(runs / "copy" / "records.jsonl", record(1, seconds=0.01002))
    assert len(found(runs)["one, 1 thread", "process time"].points) == 12


def test_the_files_are_a_page_a_table_and_a_chart_for_each_quantity_that_may_move(runs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (moved,) = trends.write_history(history.read_series(runs), out)
    assert sorted(path.name for path in out.iterdir()) == [
        "history-any-device-macs.svg",
        "history-one-1-thread-process-time.svg",
        "history-two-1-thread-process-time.svg",
        "history.md",
        "index.html",
    ]
    told = {(row[0], row[1]): row[-1] for row in moved.rows}
    assert set(told) == {("any device", "MACs"), ("one, 1 thread", "process time")}
    assert told["one, 1 thread", "process time"].startswith("2026-01-07 commit7: times 1.")
    assert "| two, 1 thread " in (out / "history.md").read_text()
    svg = (out / "history-one-1-thread-process-time.svg").read_text()
    assert "apnb 9x7" in "".join(ET.fromstring(svg).itertext())
    assert "2026-01-07 commit7" in (out / "index.html").read_text()


def test_noise_alone_has_hardly_a_step():
    draw = random.Random(5)
    noisy = [[draw.lognormvariate(0, 0.02) for _ in range(40)] for _ in range(200)]
    assert sum(bool(history.level_steps(values)) for values in noisy) <= 10


def test_a_tenth_in_noise_of_a_hundredth_is_found_where_it_is():
    draw = random.Random(6)
    places = []
    for _ in range(100):
        values = [draw.lognormvariate(0, 0.01) * (1.1 if at >= 15 else 1) for at in range(40)]
        places += [[step.at for step in history.level_steps(values)]]
    assert sum(found == [15] for found in places) >= 95


def test_two_steps_are_told_apart():
    values = [10.0] * 6 + [12.0] * 6 + [9.0] * 6
    assert [(one.at, one.before, one.after) for one in history.level_steps(values)] == [
        (6, 10.0, 12.0),
        (12, 12.0, 9.0),
    ]


def test_a_single_reading_apart_is_no_step():
    assert history.level_steps([10.0] * 8 + [20.0] + [10.0] * 8) == ()


def test_of_exact_values_every_change_is_a_step():
    assert [one.at for one in history.value_changes([10, 10, 11, 11, 10])] == [2, 4]


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 30])
def test_what_does_not_move_has_no_step(values):
    assert history.level_steps(values) == history.value_changes(values) == ()


def test_a_value_that_is_no_size_is_refused():
    with pytest.raises(ValueError, match="not above zero"):
        history.level_steps([1.0, 0.0])


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01T00:00:00"])
def test_what_does_not_say_when_has_no_place(tmp_path, text):
    append_line(tmp_path / "r.jsonl", record(1).model_copy(update={"created_at": text}))
    with pytest.raises(ValueError, match="has no records of runs"):
        history.read_series(tmp_path)


def test_the_command_draws_and_judges_nothing(runs, tmp_path, capsys):
    out = tmp_path / "out"
    assert regress.main(["history", str(runs), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "4 series of 12 commits, 4 with more than one point; steps in 2; charts" in told
    assert (out / "index.html").exists()
