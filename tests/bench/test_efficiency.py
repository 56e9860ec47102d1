"""The command line of bench.efficiency, as a person calls it; the measured blocks are tiny."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ann.spec import Size
from bench import efficiency
from bench.records.record import Counts, Measures, Record

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--channels", "8", "--key-channels", "4", "--size", "9x7", "--budget", "0.2"]


def call(*arguments, cwd=ROOT, **options):
    command = [sys.executable, "-m", "bench.efficiency", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def tell(tmp_path, capsys, monkeypatch):
    """The command in this process, where nothing is executed: status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    before = {*sys.modules}

    def run(*arguments):
        status = efficiency.main([*TINY, "--device", "meta", "--out", "out", *arguments])
        return status, *capsys.readouterr()

    yield run
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def asked(*arguments):
    return efficiency.cells(efficiency.parser().parse_args(arguments))


def test_help_answers_without_loading_torch():
    code = "import sys, bench.efficiency as e; e.parser().format_help();"
    code += "print({'torch', 'pandas', 'rich', 'timm', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "module", ["bench.efficiency", "bench.ablations", "bench.reference", "reports"]
)
def test_help_is_quick(module):
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "usage:" in done.stdout
    assert (
        sum(os.times()[2:4]) - sum(before[2:4]) < 1.5
    )  # of the process that was started; 0.3 s alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--size", "256*128"],
            "argument --size: size '256*128' is not WIDTHxHEIGHT; write for example 256x128",
        ),
        (["--block", "apbn"], "unknown block 'apbn'; did you mean 'apnb'? allowed are nb,"),
        (
            ["--block", "apnb:fats"],
            "arm 'apnb:fats': unknown implementation 'fats'; did you mean 'fast'?",
        ),
        (
            ["--block", "nb:sdpa", "--protocol", "paper"],
            "arm 'nb:sdpa': the paper's protocol is of its own code",
        ),
        (
            ["--device", "tpu"],
            "argument --device: unknown device 'tpu'; did you mean 'cpu'? allowed are auto,",
        ),
        (["--dtype", "float8"], "argument --dtype: unknown dtype 'float8'; did you mean 'float"),
        (["--channels", "0"], "argument --channels: '0' is not a whole number"),
        (["--fits", "h20"], "unknown device 'h20'; did you mean 'h200'? allowed are titan-xp,"),
        (["--fits", "--mode", "train"], "--mode does not go with --fits, which predicts each mode"),
        (["--fits", "--predict"], "--predict does not go with --fits"),
        (["--fits", "--block", "apbn"], "unknown block 'apbn'; did you mean 'apnb'?"),
        (["--fits", "--compare", "nb", "apnb"], "--fits does not go with --compare"),
        (["--block", "no.such:thing"], "block 'no.such:thing': can't import 'no.such'"),
        (
            ["--block", "json:nothing"],
            "block 'json:nothing': json has no callable 'nothing'; it has",
        ),
        (
            ["--out", "pyproject.toml"],
            "folder 'pyproject.toml' can't be written (File exists); pass another",
        ),
        (["--sise", "3x4"], "unknown option '--sise'; did you mean '--size'?"),
        (["--layout", "nlc"], "--layout is of your own module, and none is named"),
        (["--inputs", "2", "--block", "apnb"], "--inputs is of your own module, and none is named"),
        (["--layout", "chw"], "argument --layout: unknown layout 'chw'; did you mean 'nchw'?"),
        (["--block", "json:load"], "load needs fp"),
    ],
)
def test_a_wrong_argument_gets_one_line_and_status_2(typed, tmp_path, arguments, message):
    out = [] if "--out" in arguments else ["--out", tmp_path]
    status, printed, errors = typed(efficiency, *arguments, *out)
    assert (status, printed, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_what_fits_is_a_record_for_each_mode_and_format(typed):
    small = ["--block", "nb", "--channels", "512", "--key-channels", "64", "--size", "128x128"]
    status, printed, errors = typed(efficiency, "--fits", "V100", *small, "--format", "json")
    assert (status, errors) == (0, "")
    fits = json.loads(printed)
    formats = ("float32", "autocast-bfloat16", "autocast-float16")
    assert [(fit["mode"], fit["dtype"]) for fit in fits] == [
        (mode, dtype) for mode in ("eval", "train") for dtype in formats
    ]
    assert all(fit["peak_bytes"] <= fit["usable_bytes"] < 2**34 for fit in fits)


def test_what_cannot_be_predicted_fits_nowhere_and_is_status_1(tmp_path, capsys, monkeypatch):
    (tmp_path / "failing_fit.py").write_text(
        "from torch import nn\n\nclass Failing(nn.Module):\n    def forward(self, x):\n"
        "        raise ValueError('no luck')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    small = ["--channels", "8", "--size", "16x16", "--format", "json"]
    assert efficiency.main(["--fits", "t4", "--block", "failing_fit:Failing", *small]) == 1
    assert {"no luck" in fit["reason"] for fit in json.loads(capsys.readouterr().out)} == {True}


def test_a_device_that_is_named_twice_has_one_column(typed, tmp_path):
    asked = "--block nb --predict t4 T4 --format csv --out".split()
    status, printed, errors = typed(efficiency, *TINY, *asked, tmp_path)
    assert (status, errors) == (0, "")
    assert printed.partition("\n")[0].count("t4_floor") == 1
    assert "bound_by" in printed


def test_a_file_of_records_that_is_none_is_named(typed, tmp_path):
    (tmp_path / "records.jsonl").write_text("{}\n")
    status, printed, errors = typed(efficiency, *TINY, "--device", "meta", "--out", tmp_path)
    assert (status, printed) == (2, "")
    assert "records.jsonl:1: source: Field required" in errors


@pytest.mark.slow
def test_json_on_standard_output_is_json_alone(tmp_path):
    done = call(*TINY, "--block", "apnb", "--format", "json", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout)
    assert predicted["measures"]["counts"]["macs"] > 0
    assert measured["measures"]["timings"]
    assert done.stderr == ""


@pytest.mark.slow
def test_csv_on_standard_output_is_csv_alone(tmp_path):
    done = call(
        *TINY, "--block", "nb", "--device", "meta", "--format", "csv", "--out", str(tmp_path)
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["block"] for row in rows] == ["nb"]


def test_rows_stand_as_they_were_asked_for_whatever_is_on_file(tell):
    tell("--block", "psp")
    _, text, _ = tell("--block", "apnb", "psp", "nb", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["block"] for row in rows] == ["apnb", "psp", "nb"]


def test_the_papers_numbers_stand_beside_the_predictions(typed, tmp_path):
    _, printed, _ = typed(efficiency, "--device", "meta", "--out", tmp_path)
    for figure in ("601.4", "7797", "618.48", "70.56"):
        assert figure in printed


def call_beside(folder, *arguments):
    """Call it in a folder with modules of somebody's own, for records as JSON."""
    env = {"PYTHONPATH": f"{ROOT}:{folder}", "PATH": ""}
    return call(*TINY, *arguments, "--format", "json", cwd=folder, env=env)


def test_somebodys_own_module_is_measured(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef block(channels):\n    return nn.Conv2d(channels, channels, 1)\n"
    )
    done = call_beside(tmp_path, "--block", "mine:block")
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout)
    assert predicted["measures"]["counts"]["parameters"] == 8 * 8 + 8
    assert "failure" not in measured


def test_strictly_what_is_in_no_count_is_an_error_that_names_the_operators(tell, tmp_path):
    (tmp_path / "grown.py").write_text(
        "import torch\n"
        "class Own(torch.nn.Conv2d):\n"
        "    def forward(self, x):\n"
        "        x = super().forward(x)\n"
        "        return x @ torch.linalg.matrix_exp(x.mT @ x).mean((0, 1))\n"
        "def block(channels):\n    return Own(channels, channels, 1)\n"
    )
    asked = ("--block", "grown:block", "--size", "8x8")
    assert tell(*asked)[0] == 0
    status, _, errors = tell(*asked, "--strict")
    assert status == 1
    assert "not counted: aten.linalg_matrix_exp (1 call)" in errors
    assert tell("--size", "8x8", "--strict")[0] == 0  # ours


def test_what_somebodys_own_module_prints_is_not_among_the_records(tmp_path):
    (tmp_path / "chatty.py").write_text(
        "print('imported')\nfrom torch import nn\n"
        "class Own(nn.Conv2d):\n"
        "    def forward(self, x):\n        print('called')\n        return super().forward(x)\n"
        "def block(channels):\n    print('made')\n    return Own(channels, channels, 1)\n"
    )
    done = call_beside(tmp_path, "--block", "chatty:block")
    assert len(json.loads(done.stdout)) == 2
    assert {"imported", "made", "called"} <= set(done.stderr.split())


FAILING = """
import torch
class Wrong(torch.nn.Module):
    def forward(self, x):
        assert x.shape[2] % 5 == 0
        return x
def wrong(channels): return Wrong()
def ends(): raise SystemExit(7)
class Tall(torch.nn.Conv2d):
    def __init__(self, channels, height):
        super().__init__(channels, channels, 1)
        self.table = torch.nn.Parameter(torch.ones(height, 1))
    def forward(self, x): return super().forward(x) * self.table
class Tokens(torch.nn.Linear):
    def __init__(self, dim, out=3): super().__init__(dim, out)
"""


def test_what_fails_is_a_row_with_its_place_and_status_1_and_the_others_go_on(tell, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    asked = ("--block", "failing:wrong", "failing:ends", "failing:Tall", "--format")
    status, text, _ = tell(*asked, "json")
    assert status == 1
    wrong, ends, tall = json.loads(text)
    place = "(failing.py, line 5); made by wrong(channels=8)"
    assert wrong["failure"]["reason"] == f"can't be predicted: AssertionError (no text) {place}"
    assert "SystemExit: 7 (failing.py, line 8)" in ends["failure"]["reason"]
    assert tall["measures"]["counts"]["macs"] == 8 * 8 * 9 * 7
    for form in ("table", "markdown", "latex", "csv"):
        status, text, _ = tell(*asked, form)
        assert status == 1
        shown = " ".join(text.replace("\\", "").split())
        assert "AssertionError (no text) (failing.py, line 5)" in shown


@pytest.mark.slow
def test_a_class_is_measured_at_the_one_size_that_it_is_made_for(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    done = call_beside(tmp_path, "--block", "failing:Tall", "--mode", "train")
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout)
    assert predicted["input_gradient"] is True
    assert measured["measures"]["timings"]


@pytest.mark.slow
def test_a_block_of_tokens_stands_beside_one_of_maps(tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    blocks = ("apnb", "failing:Tokens(out=5)", "failing:Tokens(out=5):compiled")
    done = call_beside(tmp_path, "--layout", "nlc", "--device", "meta", "--block", *blocks)
    assert done.returncode == 0, done.stderr
    named, tokens, compiled = json.loads(done.stdout)
    assert "layout" not in named["axes"]
    assert (tokens["axes"]["block"], tokens["axes"]["layout"]) == (blocks[1], "nlc")
    assert tokens["measures"]["counts"]["macs"] == 9 * 7 * 8 * 5
    assert compiled["implementation"] == "compiled"


def test_arms_go_back_to_their_inputs_both_or_neither():
    def arms(*names):
        ((first, second),) = efficiency.pairs(
            efficiency.parser().parse_args(["--mode", "train", "--compare", *names])
        )
        return first.goes_back_to_inputs, second.goes_back_to_inputs

    assert arms("nb", "apnb") == (False, False)
    assert arms("nb", "a:b") == arms("a:b", "nb") == (True, True)


def test_each_block_is_asked_at_each_size():
    cells = asked("--size", "4x3", "--size", "8x6", "--block", "nb", "--block", "apnb")
    assert [(cell.name, str(cell.size)) for cell in cells] == [
        ("nb", "4x3"),
        ("apnb", "4x3"),
        ("nb", "8x6"),
        ("apnb", "8x6"),
    ]


def test_the_usual_size_is_the_papers_test_image():
    assert {cell.size for cell in asked()} == {Size(width=256, height=128)}


def test_unusual_settings_are_axes_so_that_no_published_number_joins():
    (cell,) = asked("--block", "nb", "--channels", "512")
    assert cell.axes == {"block": "nb", "size": "256x128", "channels": 512}


def test_a_fusion_block_gets_half_the_channels_from_below():
    (cell,) = asked("--block", "afnb", "--channels", "512")
    assert cell.subject.low_channels == 256


def test_under_the_papers_protocol_the_small_size_ran_before():
    (cell,) = asked("--block", "nb", "--protocol", "paper")
    assert [str(size) for _, size in cell.preceded_by] == ["96x96", "96x96", "256x128"]


def predicted(macs):
    counts = Counts(parameters=0, buffers=0, macs=macs, flops=0)
    return Record(
        source="predicted",
        experiment="e",
        cell="c",
        subject="s",
        axes={},
        size="1x1",
        measures=Measures(counts=counts),
    )


def test_half_of_the_time_is_shared_by_work():
    cells = asked("--block", "nb", "--block", "apnb")
    shared = efficiency.share_budget(cells, [predicted(900), predicted(100)], 20)
    assert [cell.budget_s for cell in shared] == pytest.approx([5 + 9, 5 + 1])


def test_time_is_shared_where_nothing_could_be_counted():
    blank = Record(source="predicted", experiment="e", cell="c", subject="s", axes={}, size="1x1")
    (cell,) = efficiency.share_budget(asked("--block", "nb"), [blank], 20)
    assert cell.budget_s == 10


def test_a_subject_keeps_its_form():
    (cell,) = asked("--block", "apnb-concat", "--key-channels", "64")
    assert replace(cell.subject, key_channels=256).output == "concat"


def test_rows_of_an_earlier_run_are_said_to_be(tmp_path, capsys):
    made = Record(
        source="measured",
        experiment="e",
        cell="c",
        subject="s",
        axes={},
        size="1x1",
        created_at="2026-01-01T00:00:00+00:00",
    )
    efficiency._say_what_is_old((made, made), began="2026-01-02T00:00:00+00:00", out=tmp_path)
    assert "2 of 2 rows were measured before" in capsys.readouterr().err
