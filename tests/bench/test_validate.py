"""`python -m bench.validate`: its tables, files and refusals."""

import json
import random
from pathlib import Path

import pytest

from bench import validate
from bench.records import (
    ArmReadings,
    ArmRecord,
    Comparison,
    RoundRecord,
    append_line,
    read_errors,
)

KERNELS = Path(__file__).with_name("estimate") / "kernels"


def test_it_writes_and_prints_a_row_for_each_device_and_class(tmp_path, capsys):
    assert validate.main([str(KERNELS), "--out", str(tmp_path), "--format", "csv"]) == 0
    rows = read_errors(tmp_path / "errors.jsonl")
    assert len(rows) == 6 * 6
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("device,class,times,")
    assert len(lines) == 1 + len(rows)


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "json"])
def test_every_format_has_the_same_rows(tmp_path, capsys, form):
    assert validate.main([str(KERNELS / "rows.csv"), "--out", str(tmp_path), "--format", form]) == 0
    out = capsys.readouterr().out
    assert out.count("element-wise") >= 6
    if form == "json":
        assert {row["of"] for row in json.loads(out)} == {"softmax", "layer norm", "element-wise"}


def test_what_was_published_stands_beside_all_devices(tmp_path, capsys):
    validate.main([str(KERNELS), "--out", str(tmp_path), "--format", "markdown"])
    lines = capsys.readouterr().out.splitlines()
    ours = [line.split("|")[1:] for line in lines if line.startswith("| all ")]
    assert [(row[1].strip(), row[-2].strip()) for row in ours] == [
        ("bmm", "13.8"),
        ("linear", "13.9"),
        ("convolution", "-"),
        ("softmax", "13.9"),
        ("layer norm", "-"),
        ("element-wise", "19.3"),
    ]


def test_a_fit_writes_a_table_of_coefficients(tmp_path):
    assert validate.main([str(KERNELS / "rows.csv"), "--fit", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "coefficients.csv").read_text(encoding="utf-8")
    assert "fitted to 60 kernels of A100 PCIe 80 GB, P100 PCIe, P4, T4, V100 PCIe" in text


def test_fitting_and_leaving_out_do_not_go_together(tmp_path):
    with pytest.raises(ValueError, match="--fit takes all rows and --leave-out some"):
        validate.main([str(KERNELS), "--fit", "--leave-out", "--out", str(tmp_path)])


def test_a_device_that_was_left_out_is_marked(tmp_path, capsys):
    arguments = [str(KERNELS / "rows.csv"), "--leave-out", "T4", "--out", str(tmp_path)]
    assert validate.main(arguments) == 0
    assert "each device left out of the fit" in capsys.readouterr().out
    assert all(row.left_out for row in read_errors(tmp_path / "errors.jsonl"))


def test_records_without_a_known_gpu_have_nothing_to_check(tmp_path):
    folder = Path(validate.__file__).parents[1] / "reports" / "reference" / "intel-xeon-2-cores"
    with pytest.raises(ValueError, match="has no times on a known GPU beside predictions"):
        validate.main([str(folder), "--out", str(tmp_path)])


def test_a_fit_is_to_kernels_alone(tmp_path):
    folder = Path(validate.__file__).parents[1] / "reports" / "reference" / "intel-xeon-2-cores"
    with pytest.raises(ValueError, match="holds calls, and fits are to kernels"):
        validate.main([str(folder), "--fit", "--out", str(tmp_path)])


def equal_arms(folder, **axes):
    """A comparison of an arm with itself whose rounds scatter by two thirds of a percent."""
    folder.mkdir(parents=True)
    draw = random.Random(0)
    played = tuple(
        RoundRecord(
            order="ACB",
            readings={
                "process": ArmReadings(
                    **{name: (draw.gauss(1, 0.005),) for name in ("first", "second", "control")}
                )
            },
        )
        for _ in range(20)
    )
    arm = ArmRecord(arm="apnb", cell="0")
    content = {"first": arm, "second": arm, "size": "9x7", "axes": axes, "rounds": played}
    append_line(folder / "comparisons.jsonl", Comparison(**content, margin=0.02, level=0.001))


def harness(folder, tmp_path, *arguments):
    out = tmp_path / "out"
    status = validate.main(["--harness", str(folder), "--out", str(out), *arguments])
    assert status == 0
    return [json.loads(line) for line in (out / "harness.jsonl").read_text().splitlines()]


def test_the_harness_is_held_to_recorded_noise(tmp_path, capsys):
    equal_arms(tmp_path / "quiet")
    rows = harness(tmp_path, tmp_path, "--simulations", "500", "--planted", "0.05")
    equal, slowed = rows
    assert (equal["noise"], equal["same"], equal["faster"], equal["slower"]) == ("quiet", 500, 0, 0)
    assert (slowed["planted"], slowed["slower"]) == (0.05, 500)
    assert "Operating characteristic: false verdicts" in capsys.readouterr().out


def test_what_was_planted_is_no_noise(tmp_path):
    equal_arms(tmp_path / "slowed", planted=0.05)
    with pytest.raises(ValueError, match="has no comparisons of an arm with itself"):
        harness(tmp_path, tmp_path)


def test_the_kept_noise_gives_no_false_verdict_and_finds_five_percent(tmp_path):
    rows = harness(validate.NOISE, tmp_path, "--planted", "0.05")
    for equal, slowed in zip(rows[::2], rows[1::2], strict=True):
        assert equal["faster"] == equal["slower"] == 0
        assert slowed["slower"] >= 0.9 * 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--harness", "--fit"], "--fit does not go with --harness; leave it out"),
        (["--real", "3", "DIR"], "--real goes with --harness; add that"),
        ([], "no timings to check; pass their folder, or --harness"),
        (["--harness", "--planted", "2"], r"planted \(2.0,\) are not shares above 0 and up to 1"),
        (["--harness", "--rounds", "9"], "9 rounds decide nothing at level 0.001"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        validate.main([*arguments, "--out", str(tmp_path)])
