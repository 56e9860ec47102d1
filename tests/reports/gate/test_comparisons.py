"""Tables of comparisons; the readings follow from ratios that are written here."""

import subprocess
import sys

import pytest

from bench.records.comparison import Agreement, ArmReadings, ArmRecord, Comparison, RoundRecord
from bench.records.files import append_line
from bench.records.record import Environment, Failure, MeasuredMemory
from reports.gate import comparisons as paired
from reports.render import csv, markdown

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


def rounds(ratio, *, control=1.0, count=20, time_s=0.002):
    taken = ArmReadings(
        first=(time_s,) * 4, second=(ratio * time_s,) * 4, control=(control * time_s,) * 4
    )
    slower = taken.model_copy(update={"second": (2 * ratio * time_s,) * 4})
    return (RoundRecord(order="ACBBCA", readings={"process": taken, "wall": slower}),) * count


def arm(name, mebi, **fields):
    usual = {
        "macs": 10 * mebi,
        "predicted_peak_bytes": 2 * mebi * MEBI,
        "predicted_increment_bytes": mebi * MEBI,
        "memory": MeasuredMemory(high_water_bytes=2 * mebi * MEBI),
    }
    return ArmRecord(arm=name, cell="c", **(usual | fields))


def comparison(ratio=0.4, *, first=None, second=None, **fields):
    usual = {
        "size": "48x32",
        "axes": {},
        "margin": 0.02,
        "level": 0.001,
        "rounds": rounds(ratio),
        "agreement": Agreement(max_relative_error=2.5e-7),
        "environment": CPU,
    }
    return Comparison(
        first=first or arm("apnb", 10), second=second or arm("apnb:fast", 5), **(usual | fields)
    )


def text(*comparisons):
    return "\n".join(markdown.to_markdown(table) for table in paired.comparison_tables(comparisons))


def test_the_title_is_the_verdict():
    verdicts, _ = paired.comparison_tables([comparison()])
    assert verdicts.title == (
        "apnb:fast against apnb at 48x32: FASTER, 0.400 [0.400, 0.400] of its process time "
        "(20 of 20 rounds beyond the bar, 18 needed)"
    )


@pytest.mark.parametrize(
    ("ratio", "process", "wall"),
    [(0.4, "FASTER", "FASTER"), (0.5, "FASTER", "SAME"), (1.0, "SAME", "SLOWER")],
)
def test_each_clock_has_a_verdict_of_its_own(ratio, process, wall):
    verdicts, _ = paired.comparison_tables([comparison(ratio)])
    assert [(row[3], row[4]) for row in verdicts.rows] == [
        ("process time", process),
        ("wall time", wall),
    ]


def test_a_row_has_ratio_floor_bar_rounds_and_both_times():
    made = comparison(0.4, rounds=rounds(0.4, control=1.015))
    line = next(row for row in text(made).splitlines() if row.startswith("| apnb:fast"))
    cells = [part.strip() for part in line.strip("|").split("|")]
    assert cells[4:] == [
        "FASTER",
        r"0.400 \[0.400, 0.400\]",
        r"1.015 \[1.015, 1.015\]",
        "3.0",
        "20 of 20",
        "0.800",
        "2.000",
    ]


def test_instructions_have_a_ratio_and_a_count_and_no_time():
    made = comparison()
    counted = ArmReadings(first=(2e6,), control=(2e6,), second=(5e5,))
    played = tuple(
        each.model_copy(update={"readings": {**each.readings, "instructions": counted}})
        for each in made.rounds
    )
    (table, _) = paired.comparison_tables([made.model_copy(update={"rounds": played})])
    row = table.rows[-1]
    assert row[3] == "instructions (500,000 and 2,000,000 a call)"
    assert row[5].median == pytest.approx(0.25)
    assert [type(each) for each in row[-2:]] == [paired.Mark, paired.Mark]
    assert any("in user mode" in note for note in table.notes)


def test_without_a_counter_the_notes_say_why():
    (table, _) = paired.comparison_tables(
        [comparison(no_instructions="the kernel has no perf_event_open")]
    )
    assert table.notes[-1] == "Instructions were not counted: the kernel has no perf_event_open."


def test_an_arm_whose_calls_have_a_caveat_says_so():
    shown = text(comparison(second=arm("mine:identity", 0, caveats=("returns its input",))))
    assert "| mine:identity <sup>a</sup> |" in shown
    assert "<sup>a</sup> returns its input" in shown


def test_what_is_inconclusive_says_why():
    said = text(comparison(1.0, rounds=rounds(1.0, control=1.2)))
    assert "this machine cannot decide: in 20 of 20 rounds an arm differed from itself" in said


def test_memory_and_outputs_stand_beside_it():
    _, beside = paired.comparison_tables([comparison()])
    (row,) = beside.rows
    assert row[:5] == ("apnb:fast", "apnb", "48x32", "2.5e-07", 0.5)
    assert row[5:] == (5 * MEBI, 10 * MEBI, 0.5, 10 * MEBI, 20 * MEBI, 0.5)


def test_two_arms_without_macs_have_no_ratio_and_are_predicted():
    arms = {name: arm("mine:block", 5, macs=0) for name in ("first", "second")}
    said = text(comparison(**arms))
    assert "the other arm has none, so there is no ratio" in said
    assert "can't be predicted" not in said


def test_outputs_without_any_difference_are_said_to_be_alike():
    _, beside = paired.comparison_tables([comparison(agreement=Agreement(max_relative_error=0.0))])
    assert beside.rows[0][3] == "not at all"


def test_outputs_that_could_not_be_compared_say_why():
    assert "all outputs are zero" in text(
        comparison(agreement=Agreement(reason="all outputs are zero"))
    )


def test_a_missing_number_is_a_dash_with_its_reason():
    blank = {"macs": None, "predicted_increment_bytes": None, "memory": None}
    said = text(comparison(second=arm("mine:block", 5, **blank)))
    assert "this arm can't be predicted" in said
    assert "this device gives no such reading" in said


def test_a_ratio_of_zero_is_no_missing_number():
    _, beside = paired.comparison_tables([comparison(second=arm("mine:block", 5, macs=0))])
    assert beside.rows[0][4] == 0


def test_an_arm_that_failed_is_a_row_with_its_reason():
    failure = Failure(kind="out-of-memory", reason="nb: the process was killed")
    verdicts, _ = paired.comparison_tables([comparison(rounds=(), failure=failure)])
    assert (
        verdicts.title
        == "apnb:fast against apnb at 48x32: not compared (nb: the process was killed)"
    )
    assert "out of memory: nb: the process was killed" in markdown.to_markdown(verdicts)


def test_several_comparisons_are_one_table_that_says_what_was_fixed():
    made = [
        comparison(ratio, comparisons=2, size=size)
        for ratio, size in ((0.4, "48x32"), (1, "96x64"))
    ]
    verdicts, _ = paired.comparison_tables(made)
    assert len(verdicts.rows) == 4
    assert "margin 2 %, level 0.001 shared by 2 comparisons, 20 rounds" in markdown.to_markdown(
        verdicts
    )


def test_the_caption_has_the_machine_and_what_was_asked():
    made = comparison(axes={"size": "48x32", "channels": 64, "key_channels": 32})
    verdicts, _ = paired.comparison_tables([made])
    assert verdicts.caption == (
        "Measured on Example CPU (1 thread), torch 2.15.0; channels 64, key channels 32, batch 1, float32, eval."
    )


def test_csv_keeps_base_units():
    verdicts, _ = paired.comparison_tables([comparison()])
    assert ",0.0008,0.002" in csv.to_csv(verdicts)


def test_no_comparisons_make_no_table():
    assert paired.comparison_tables([]) == ()


def test_a_folder_of_comparisons_alone_is_rendered(tmp_path):
    append_line(tmp_path / "comparisons.jsonl", comparison())
    command = [sys.executable, "-m", "reports", str(tmp_path), "--out", str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "FASTER" in (tmp_path / "report" / "comparisons.md").read_text()
    assert "FASTER" in (tmp_path / "report" / "index.html").read_text()
