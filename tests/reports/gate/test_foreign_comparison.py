"""What files of other tools allow to be said, and never more."""

import pytest

from reports import __main__ as command
from reports.gate import compare_files
from reports.model import Interval, Mark
from reports.render import markdown
from tests.reports.gate import foreign


@pytest.fixture
def compare(tmp_path):
    def sides(first, second, ending="json"):
        paths = (tmp_path / f"a.{ending}", tmp_path / f"b.{ending}")
        return compare_files(*map(foreign.write, paths, (first, second)))

    return sides


def only(table):
    (row,) = table.rows
    return dict(zip([column.name for column in table.columns], row, strict=True))


def test_one_number_a_side_allows_a_ratio_and_no_verdict(compare):
    row = only(compare(foreign.tritonbench({"fast": 0.5}), foreign.tritonbench({"fast": 0.4})))
    assert (row["A"], row["B"]) == pytest.approx((0.0005, 0.0004))
    assert row["B / A"] == Interval(0.8)
    assert row["verdict on B"] == Mark("one number a side allows no verdict", "no verdict")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (foreign.kernelbench({"a.py": 2.0}), foreign.kernelbench({"a.py": 1.0})),
        (foreign.nvbench({"a": 2e-3}), foreign.nvbench({"a": 1e-3})),
    ],
)
def test_a_mean_of_calls_allows_no_interval_however_narrow_it_is(compare, first, second):
    row = only(compare(first, second))
    assert row["B / A"] == Interval(0.5)
    assert row["verdict on B"].text == "no verdict"
    assert "the mean of 100 calls" in row["what the files allow"]


def test_samples_of_one_process_allow_an_interval_of_it_and_no_verdict(compare):
    first = foreign.pytest_benchmark({"a": [2.0 + at / 100 for at in range(20)]})
    second = foreign.pytest_benchmark({"a": [1.0 + at / 100 for at in range(20)]})
    row = only(compare(first, second))
    # Exact 99 % intervals of the medians: the 4th smallest and largest of 20.
    ratio = row["B / A"]
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx(
        (1.095 / 2.095, 1.03 / 2.16, 1.16 / 2.03)
    )
    assert row["verdict on B"].text == "no verdict"
    assert row["what the files allow"] == "an interval of these two processes: 20 and 20 samples"


def test_a_handful_of_samples_has_no_interval(compare):
    row = only(compare(*[foreign.pytest_benchmark({"a": [1.0, 1.1, 1.2]})] * 2))
    assert (row["B / A"].low, row["B / A"].high) == (None, None)
    assert "99 % takes 8" in row["B / A"].note


def test_rounds_of_the_gate_have_an_interval_across_processes(compare):
    side = foreign.pytest_benchmark(
        {"a": [1.0 + at / 100 for at in range(20)]}, project="bench.regress"
    )
    row = only(compare(side, side))
    assert row["what the files allow"] == "an interval across processes: 20 and 20 rounds, unpaired"
    assert row["verdict on B"].text == "no verdict"


def turns(tmp_path, ratio, *, count=20, order="alternating", scatter=0.0):
    """A folder a side with a file a process; in odd rounds B came first."""
    for at in range(count):
        early, late = (f"2026-01-02T03:{at:02d}:{second}" for second in ("00", "30"))
        swapped = order == "alternating" and at % 2
        when = {"a": late if swapped else early, "b": early if swapped else late}
        if order == "blocks":
            when = {"a": f"2026-01-02T01:{at:02d}:00", "b": f"2026-01-02T02:{at:02d}:00"}
        off = 1 + scatter * (-1) ** at
        for side, factor in (("a", 1.0), ("b", ratio * off)):
            (tmp_path / side).mkdir(exist_ok=True)
            content = foreign.pytest_benchmark(
                {"t": [factor * (1 + at / 50)] * 5}, taken_at=when[side]
            )
            if order == "unsaid":
                del content["datetime"]
            foreign.write(tmp_path / side / f"{at:04d}.json", content)
    return only(compare_files(tmp_path / "a", tmp_path / "b"))


@pytest.mark.parametrize(("ratio", "verdict"), [(1.2, "SLOWER"), (0.8, "FASTER"), (1.0, "SAME")])
def test_processes_by_turns_allow_a_verdict(tmp_path, ratio, verdict):
    row = turns(tmp_path, ratio)
    assert row["verdict on B"] == verdict
    assert row["B / A"].median == pytest.approx(ratio)
    assert "20 of 20 rounds" in row["what the files allow"]


def test_what_differs_from_round_to_round_is_inconclusive(tmp_path):
    assert turns(tmp_path, 1.0, scatter=0.1)["verdict on B"].text == "INCONCLUSIVE"


def test_too_few_processes_are_inconclusive(tmp_path):
    row = turns(tmp_path, 2.0, count=5)
    assert row["verdict on B"] == Mark(
        "5 rounds are too few for this level, even if all agree", "INCONCLUSIVE"
    )


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("blocks", "which were not taken by turns"),
        ("unsaid", "which do not say when they were taken"),
        ("one ahead", "in all of which the same side came first"),
    ],
)
def test_processes_that_took_no_turns_allow_an_interval_alone(tmp_path, order, reason):
    row = turns(tmp_path, 1.2, order=order)
    assert row["verdict on B"].text == "no verdict"
    assert reason in row["verdict on B"].note
    assert row["B / A"].low is not None
    assert "an interval across processes: 20 files a side" in row["what the files allow"]


def test_the_level_is_shared_by_the_rows(tmp_path):
    for side in "ab":
        (tmp_path / side).mkdir()
        for at in range(10):
            first = side == "ab"[at % 2]
            when = f"2026-01-02T03:{at:02d}:{'00' if first else '30'}"
            times = {f"t{row}": [1.0 if side == "a" else 2.0] for row in range(3)}
            content = foreign.pytest_benchmark(times, taken_at=when)
            foreign.write(tmp_path / side / f"{at}.json", content)
    table = compare_files(tmp_path / "a", tmp_path / "b")
    # Ten of ten have a chance of 0.00098: below the level, not below a third of it.
    assert {row[4].text for row in table.rows} == {"INCONCLUSIVE"}


def test_other_devices_are_not_compared(compare):
    row = only(
        compare(foreign.nvbench({"a": 1e-3}), foreign.nvbench({"a": 1e-3}, device="NVIDIA T4"))
    )
    assert row["B / A"] == Mark("timed on different devices: NVIDIA H200 and NVIDIA T4")
    assert row["what the files allow"] == "nothing: other devices"


def test_a_row_without_a_time_says_why(compare):
    text = markdown.to_markdown(compare(foreign.TRITONBENCH_CSV, foreign.TRITONBENCH_CSV, "csv"))
    assert "not compared" in text
    assert "no latency: CUDA out of memory" in text


def test_what_one_side_lacks_is_said(compare):
    table = compare(
        foreign.kernelbench({"a.py": 1.0, "b.py": 1.0}),
        foreign.kernelbench({"a.py": 1.0, "c.py": 1.0}),
    )
    assert "Only in A: level1/b.py." in table.notes
    assert "Only in B: level1/c.py." in table.notes
    assert len(table.rows) == 1


def test_sides_without_a_benchmark_in_common_are_an_error(compare):
    with pytest.raises(ValueError, match=r"no benchmark has the same name .*a.py.*b.py; name them"):
        compare(foreign.kernelbench({"a.py": 1.0}), foreign.kernelbench({"b.py": 1.0}))


def test_files_of_two_tools_are_an_error(compare):
    message = "a.json is KernelBench's and .*b.json is nvbench's; give two of one tool"
    with pytest.raises(ValueError, match=message):
        compare(foreign.kernelbench({"a.py": 1.0}), foreign.nvbench({"a": 1.0}))


def test_a_folder_of_two_tools_is_an_error(tmp_path):
    foreign.write(tmp_path / "1.json", foreign.kernelbench({"a.py": 1.0}))
    foreign.write(tmp_path / "2.json", foreign.nvbench({"a": 1.0}))
    with pytest.raises(ValueError, match="has files of KernelBench and of nvbench"):
        compare_files(tmp_path, tmp_path)


def test_folders_with_other_numbers_of_files_are_an_error(tmp_path):
    for side, count in (("a", 2), ("b", 3)):
        (tmp_path / side).mkdir()
        for at in range(count):
            foreign.write(tmp_path / side / f"{at}.json", foreign.nvbench({"a": 1.0}))
    with pytest.raises(ValueError, match="has 2 files and .* has 3; give as many"):
        compare_files(tmp_path / "a", tmp_path / "b")


def test_a_folder_without_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"has no .json or .csv file; give a file, or a folder"):
        compare_files(tmp_path, tmp_path)


def test_the_command_prints_and_writes_the_table(tmp_path, capsys):
    path = foreign.write(tmp_path / "a.json", foreign.kernelbench({"a.py": 1.0}))
    assert command.main(["--compare", str(path), str(path), "--format", "csv"]) == 0
    assert "level1/a.py" in capsys.readouterr().out
    assert command.main(["--compare", str(path), str(path), "--out", str(tmp_path / "out")]) == 0
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"compared-files.md", "compared-files.tex", "compared-files.csv", "index.html"} <= names


def test_a_wrong_file_is_one_line_and_status_2(tmp_path, capsys):
    path = foreign.write(tmp_path / "a.json", "{}")
    assert command.main(["--compare", str(path), str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a.json: none of the files that are read" in error


def test_records_and_a_comparison_are_not_read_at_once(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["results", "--compare", "a", "b"])
    assert stop.value.code == 2
    assert "leave the folder of records out" in capsys.readouterr().err
