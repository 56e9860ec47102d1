"""What the gate found, in every form: summary, JUnit, annotations, and JSON that other tools read."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.outcome import Control, Finding, Outcome, SideRecord, read_outcome
from reports.gate import findings as regress
from reports.gate import other_tools, wording
from reports.model.table import Interval, Mark

HOSTILE = '<b>x</b> | `y` [z](javascript:1)\n::error::boo % \x1b[31m & "q" ]]>'
BASE_ROUNDS = tuple(0.010 + 0.0001 * number for number in range(20))


def finding(verdict="SAME", **fields):
    usual = {"cell": "apnb 9x7", "quantity": "MACs", "kind": "exact", "before": 10, "after": 10}
    return Finding(**{**usual, "verdict": verdict, **fields})


SLOWER = finding(
    "SLOWER",
    quantity="process time",
    kind="time",
    unit="s",
    before=0.011,
    after=0.0121,
    ratio=1.1,
    low=1.08,
    high=1.12,
    reason="20 of 20 rounds beyond the bar, 18 needed",
    before_rounds=BASE_ROUNDS,
    after_rounds=tuple(1.1 * value for value in BASE_ROUNDS),
    launches=7,
)
CHANGED = finding("CHANGED", quantity="parameters", before=1000, after=2500, ratio=2.5)
UNSURE = finding("INCONCLUSIVE", quantity="memory of a call", kind="memory", unit="bytes")
BROKEN = Control(name="planted", cell="c", expected="SLOWER", verdict="SAME", reason="because")
HELD = Control(name="untouched", cell="c", expected="SAME", verdict="SAME", ratio=1.0)


def outcome(*findings, **fields):
    base, head = (
        SideRecord(name="main", commit="a" * 40),
        SideRecord(name="working tree", commit="b" * 40),
    )
    return Outcome(base=base, head=head, findings=findings, **fields)


def test_the_summary_has_the_answer_then_the_worst_then_the_rest_folded_away():
    text = regress.job_summary(outcome(finding(), UNSURE, SLOWER, CHANGED, controls=(HELD,)))
    assert text.startswith(
        "## Worse: 2 of 4 findings; first apnb 9x7: parameters CHANGED, 1,000 to 2,500 (ratio 2.500)"
    )
    places = [text.index(f"| {word} ") for word in ("CHANGED", "SLOWER", "INCONCLUSIVE", "SAME")]
    assert places == sorted(places)
    assert "1.100 \\[1.080, 1.120\\]" in text
    assert "11.000 ms" in text
    assert text.index("<details><summary>Unchanged: 1</summary>") < places[-1]
    assert "Base main (aaaaaaaaaa), head working tree (bbbbbbbbbb)." in text


@pytest.mark.parametrize(
    ("made", "start"),
    [
        (outcome(finding()), "Same or better: 1 findings"),
        (
            outcome(finding("ACCEPTED"), finding("FASTER", kind="time"), UNSURE),
            "Same or better: 3 findings, 1 better, 1 accepted, 1 inconclusive",
        ),
        (
            outcome(finding(), SLOWER, controls=(BROKEN,), timed=True),
            "Not decided: this machine cannot decide: the control 'planted' has to read SLOWER and read SAME",
        ),
        (outcome(), "Not decided: nothing was compared that both sides have"),
    ],
)
def test_the_headline_says_the_answer(made, start):
    assert wording.headline(made).startswith(start)


def measured(quantity, **fields):
    kind = "memory" if "memory" in quantity else "time"
    return finding(quantity=quantity, kind=kind, **fields)


def test_what_was_measured_is_a_line_for_each_cell():
    same = measured("process time", ratio=0.99, low=0.953, high=1.012)
    memory = measured("memory of a call", ratio=1.0, low=1.0, high=1.0)
    alone = measured("time", verdict="SHOWN", ratio=1.5)
    other = same.model_copy(update={"cell": "nb 5x4"})
    exact = finding(ratio=1.0, low=1.0, high=1.0)
    assert wording.measured_lines(outcome(exact, same, memory, alone, other)) == (
        "apnb 9x7: process time 0.990 [0.953, 1.012], memory 1.000",
        "nb 5x4: process time 0.990 [0.953, 1.012]",
    )


def test_of_many_cells_the_first_are_told():
    cells = [
        measured("process time", cell=f"nb {at}", ratio=1.0, low=0.9, high=1.1)
        for at in range(wording.MOST_MEASURED + 2)
    ]
    lines = wording.measured_lines(outcome(*cells))
    assert (len(lines), lines[-1]) == (
        wording.MOST_MEASURED + 1,
        "2 cells more are in summary.md",
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "bytes", "-"),
        ("timeout", "", "timeout"),
        (3 * 2**20, "bytes", "3.000 MiB"),
        (0.123456, "checksum", "checksum 0.1235"),
        (0.0125, "s", "12.500 ms"),
        (1234567, "MAC", "1,234,567"),
        (0.12345678, "", "0.123457"),
    ],
)
def test_a_value_is_written_in_its_unit(value, unit, text):
    assert wording.amount(value, unit) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"ratio": None}, ""),
        ({"verdict": "FIXED", "ratio": 2.0}, ""),
        ({"ratio": 2.0}, " (ratio 2.000)"),
        ({"ratio": 2.0, "low": 1.0}, " (ratio 2.000)"),
        ({"ratio": 2.0, "high": 3.0}, " (ratio 2.000)"),
        ({"ratio": 2.0, "low": 1.0, "high": 3.0}, " (ratio 2.000 [1.000, 3.000])"),
    ],
)
def test_a_ratio_has_its_interval_where_there_are_both_ends(fields, text):
    assert wording.ratio_text(finding(**fields)) == text


def test_a_control_that_fails_is_marked_and_one_that_holds_is_not():
    held = HELD.model_copy(update={"low": 0.9, "high": 1.2})
    (table,) = regress.outcome_tables(outcome(controls=(held, BROKEN)))
    first, second = table.rows
    assert (first[3], first[4]) == ("SAME", Interval(1.0, 0.9, 1.2))
    assert (second[3], second[4]) == (Mark("this machine cannot decide", "SAME"), None)


def test_what_moved_is_shown_with_both_values_and_what_its_verdict_means():
    (table,) = regress.outcome_tables(outcome(CHANGED))
    assert table.rows[0][3:5] == ("1,000", "2,500")
    assert table.notes[1:] == (f"CHANGED: {regress.MEANINGS['CHANGED']}.",)


def test_a_working_tree_with_changes_is_said_to_be_dirty():
    made = outcome(finding()).model_copy(
        update={"head": SideRecord(name="h", commit="c" * 40 + "-dirty")}
    )
    assert "head h (cccccccccc-dirty)." in regress.outcome_tables(made)[0].caption


def test_the_summary_ends_with_the_command_where_it_is_known():
    text = regress.job_summary(outcome(finding(), command="the command"))
    assert text.endswith("- Made by: the command\n")
    assert "Made by" not in regress.job_summary(outcome(finding()))


def test_the_headline_counts_what_there_is_alone():
    assert wording.headline(outcome(finding())) == "Same or better: 1 findings"


def within(base, head):
    """An outcome whose sides ran in environments with these fields; None for one that is unknown."""
    where = {
        "device": "cpu",
        "device_name": "a processor",
        "cores": 2,
        "threads": 1,
        "memory_bytes": 1,
        "os": "Linux",
        "python": "3.11.0",
        "torch": "2.15.0",
    }
    sides = {
        name: SideRecord.model_validate(
            {"name": name, "environment": None if fields is None else where | fields}
        )
        for name, fields in (("base", base), ("head", head))
    }
    return outcome(finding()).model_copy(update=sides)


def test_environments_that_differ_are_said():
    text = regress.job_summary(within({"torch": "2.14.0"}, {}))
    assert "The environments differ: torch 2.14.0 to 2.15.0." in text.replace("\\", "")


@pytest.mark.parametrize(
    ("base", "head"), [({}, {}), (None, {"torch": "2.14.0"}), ({"torch": "2.14.0"}, None)]
)
def test_of_environments_that_are_equal_or_unknown_nothing_is_said(base, head):
    made = within(base, head)
    assert regress.environment_changes(made) == ""
    assert "-" not in [line.strip() for line in regress.job_summary(made).splitlines()]


def test_the_machine_of_the_caption_is_the_heads():
    (table,) = regress.outcome_tables(
        within({"device_name": "the other"}, {"device_name": "this one"})
    )
    assert table.caption == "Base base, head head; this one (1 thread), torch 2.15.0."


def test_without_the_heads_environment_the_caption_names_no_machine():
    (table,) = regress.outcome_tables(within({}, None))
    assert table.caption == "Base base, head head."


def test_a_folder_may_be_written_to_again(tmp_path):
    regress.write_reports(outcome(SLOWER), tmp_path)
    made = outcome(CHANGED)
    regress.write_reports(made, tmp_path)
    assert read_outcome(tmp_path) == made


def test_long_lists_are_cut_and_say_so(monkeypatch):
    monkeypatch.setattr(regress, "MOST_ROWS", 3)
    (moved,) = regress.outcome_tables(outcome(*[CHANGED] * 5))
    assert len(moved.rows) == 3
    assert moved.notes[-1] == "2 rows more are in outcome.json."


def test_a_list_of_just_as_many_rows_is_whole(monkeypatch):
    monkeypatch.setattr(regress, "MOST_ROWS", 5)
    (moved,) = regress.outcome_tables(outcome(*[CHANGED] * 5))
    assert not any("rows more" in note for note in moved.notes)


def test_every_form_is_written_from_one_outcome(tmp_path):
    made = outcome(SLOWER, CHANGED, controls=(HELD,), timed=True)
    text = regress.write_reports(made, tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "github-action-benchmark.json",
        "junit.xml",
        "outcome.json",
        "pytest-benchmark/base.json",
        "pytest-benchmark/head.json",
        "summary.md",
    ]
    assert read_outcome(tmp_path) == made
    assert (tmp_path / "summary.md").read_text() == text


def test_junit_counts_a_regression_as_failure_and_a_broken_control_as_error():
    root = ET.fromstring(
        other_tools.to_junit(outcome(SLOWER, CHANGED, UNSURE, finding(), controls=(BROKEN, HELD)))
    )
    counts = {
        suite.get("name"): [
            int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")
        ]
        for suite in root
    }
    assert counts == {
        "exact": [2, 1, 0, 0],
        "time": [1, 1, 0, 0],
        "memory": [1, 0, 0, 1],
        "controls": [2, 0, 1, 0],
    }
    failure = root.find(".//testsuite[@name='time']/testcase/failure")
    assert "11.000 ms to 12.100 ms (ratio 1.100 [1.080, 1.120])" in failure.get("message")


def test_a_regression_is_annotated_and_what_is_the_same_is_not():
    lines = other_tools.annotations(outcome(finding(), SLOWER, CHANGED)).splitlines()
    assert [line.split("::")[1] for line in lines] == [
        "error title=CHANGED%3A apnb 9x7%2C parameters",
        "error title=SLOWER%3A apnb 9x7%2C process time",
    ]
    assert other_tools.annotations(outcome(finding())) == ""


def test_where_nothing_could_be_decided_there_is_a_warning():
    text = other_tools.annotations(outcome(finding(), controls=(BROKEN,), timed=True))
    assert text.startswith("::warning title=Not decided::Not decided: this machine cannot decide")


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_ends_a_workflow_command_or_begins_another(cell, reason):
    one = CHANGED.model_copy(update={"cell": cell, "reason": reason})
    text = other_tools.annotations(outcome(one))
    assert text.count("\n") == 1
    assert len(text.splitlines()) == 1
    found = re.fullmatch(r"::error title=([^:,]*)::(.*)\n", text, flags=re.DOTALL)
    assert found
    assert not re.search(r"%(?!25|0D|0A|3A|2C)", found[1])
    assert not re.search(r"%(?!25|0D|0A)", found[2])


@given(st.text(max_size=80), st.text(max_size=80))
def test_junit_stays_well_formed_whatever_a_record_says(cell, reason):
    one = CHANGED.model_copy(update={"cell": cell, "reason": reason})
    ET.fromstring(other_tools.to_junit(outcome(one, one.model_copy(update={"verdict": "NEW"}))))


def test_hostile_text_stays_text():
    one = CHANGED.model_copy(update={"cell": HOSTILE, "reason": HOSTILE})
    made = outcome(one)
    text = regress.job_summary(made)
    assert "<b>" not in text.replace("\\<", "")
    assert "\x1b" not in text + other_tools.annotations(made) + other_tools.to_junit(made)
    case = ET.fromstring(other_tools.to_junit(made)).find(".//testcase")
    assert case.get("classname").startswith("<b>x</b> | `y`")


def test_github_action_benchmark_gets_the_heads_values_with_units():
    found = other_tools.benchmark_entries(
        outcome(SLOWER, CHANGED, finding(quantity="outputs", after=0.5))
    )
    assert [(one["name"], one["unit"]) for one in found] == [
        ("apnb 9x7: process time", "ms"),
        ("apnb 9x7: parameters", "count"),
    ]
    assert found[0]["value"] == pytest.approx(12.1)
    assert found[0]["range"] == "\N{PLUS-MINUS SIGN} 1.045"
    assert found[0]["extra"].startswith("SLOWER (ratio 1.100 [1.080, 1.120]); 20 of 20")
    assert all(set(one) <= {"name", "unit", "value", "range", "extra"} for one in found)
    json.dumps(found, allow_nan=False)


def test_pytest_benchmark_compares_the_two_sides(tmp_path):
    made = outcome(SLOWER, CHANGED)
    regress.write_reports(made, tmp_path)
    files = [str(tmp_path / "pytest-benchmark" / f"{side}.json") for side in ("base", "head")]
    tool = Path(sys.executable).with_name("pytest-benchmark")
    done = subprocess.run(
        [tool, "compare", *files, "--columns=min,median,rounds,iterations", "--group-by=name"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = re.findall(r"process time \(\w*/?(\w+)\) +(.*)", done.stdout)
    assert [(side, *text.split()) for side, text in rows] == [
        ("base", "10.0000", "(1.0)", "10.9500", "(1.0)", "20", "7"),
        ("head", "11.0000", "(1.10)", "12.0450", "(1.10)", "20", "7"),
    ]


def test_its_numbers_are_those_of_pytest_benchmark_itself():
    from pytest_benchmark.stats import Stats

    (mine,) = other_tools.side_report(outcome(SLOWER), "head")["benchmarks"]
    theirs = Stats()
    for value in SLOWER.after_rounds:
        theirs.update(value)
    expected = theirs.as_dict()
    assert expected.keys() <= mine["stats"].keys()
    near = {name for name in expected if name not in ("outliers", "q1", "q3", "iqr")}
    assert {name: mine["stats"][name] for name in near} == pytest.approx(
        {name: expected[name] for name in near}
    )
