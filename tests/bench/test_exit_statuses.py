"""One table of exit statuses for all commands, as `docs/exit_statuses.md` has it."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import reports.__main__ as rendering
from bench import ablations, cli, efficiency, gpu_tests, look, reference, regress, shell, validate
from bench.records import Failure, Record
from bench.regression import SideError
from experiments import machine
from reports import console
from tests.standing_in import stand_in

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "reports" / "reference"
SMALL = "--channels 8 --key-channels 4 --size 9x7 --device meta --block"
FAILING = """
from torch import nn
class Failing(nn.Module):
    def forward(self, x):
        raise ValueError("no luck")
"""


def row(kind=None, **fields):
    names = {"experiment": "e", "cell": "c", "subject": "nb", "axes": {}, "size": "1x1"}
    failure = Failure(kind=kind, reason="it is so") if kind else None
    return Record(**{"source": "measured", **names, "failure": failure, **fields})


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ((), shell.DONE),
        ((row(),), shell.DONE),
        ((row(), row("unavailable")), shell.DONE),
        ((row(), row("error")), shell.FAILED),
        ((row(), row("timeout")), shell.FAILED),
        ((row(), row("out-of-memory")), shell.FAILED),
        ((row("error"), row("error")), shell.FAILED),
        ((row("unavailable"), row("foreseen")), shell.UNDECIDED),
        ((row("unavailable"), row(experiment=machine.NAME)), shell.UNDECIDED),
        ((row("unavailable"), row(source="predicted")), shell.UNDECIDED),
        ((row(source="predicted"),), shell.DONE),
        ((row("unavailable", source="predicted"),), shell.UNDECIDED),
    ],
)
def test_a_row_that_failed_is_1_and_none_with_a_reading_is_3(rows, status):
    assert cli.status_of(rows) == status


@pytest.fixture
def efficiency_of(tmp_path, monkeypatch):
    (tmp_path / "failing_status.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda given: efficiency.main([*given.split(), "--out", str(tmp_path / "out")])


def test_efficiency_is_0_where_rows_are_counted(efficiency_of):
    assert efficiency_of(f"{SMALL} nb") == shell.DONE


def test_efficiency_is_1_where_every_row_failed(efficiency_of):
    assert efficiency_of(f"{SMALL} failing_status:Failing") == shell.FAILED


def test_efficiency_is_1_where_a_row_failed(efficiency_of):
    assert efficiency_of(f"{SMALL} nb failing_status:Failing") == shell.FAILED


@pytest.mark.parametrize(
    ("failures", "verdict", "status"),
    [
        ((None,), "SLOWER", shell.DONE),
        ((None,), "INCONCLUSIVE", shell.UNDECIDED),
        ((None, "it died"), "INCONCLUSIVE", shell.FAILED),
    ],
)
def test_a_comparison_is_3_where_a_verdict_is_open(monkeypatch, failures, verdict, status):
    monkeypatch.setattr(
        efficiency, "decide_comparison", lambda *_: SimpleNamespace(verdict=verdict)
    )
    compared = [SimpleNamespace(failure=failure, clocks=("process",)) for failure in failures]
    assert efficiency.compared_status(compared) == status


@pytest.mark.parametrize(
    ("rows", "status"),
    [((row(),), shell.DONE), ((row("error"),), shell.FAILED), ((row("foreseen"),), 3)],
)
def test_ablations_are_1_where_a_cell_failed(monkeypatch, tmp_path, rows, status):
    monkeypatch.setattr(ablations, "run_experiments", lambda *_: rows)
    stand_in(monkeypatch, console, "write_report", lambda *_, **__: 0)
    assert ablations.main(["--table", "6", "--out", str(tmp_path)]) == status


@pytest.mark.parametrize(
    ("tests", "rows", "status"),
    [
        (0, (row(), row("timeout")), shell.DONE),
        (0, (row(), row("error")), shell.FAILED),
        (1, (row(),), shell.FAILED),
        (0, (row("unavailable"),), shell.UNDECIDED),
    ],
)
def test_a_new_device_is_1_where_a_test_or_cell_failed(monkeypatch, tmp_path, tests, rows, status):
    monkeypatch.setattr(gpu_tests, "run_gpu_tests", lambda *_, **__: tests)
    monkeypatch.setattr(reference, "measured", lambda *_, **__: iter(rows))
    options = reference.parser().parse_args(["--out", str(tmp_path)])
    clock = reference.Clock(limit_s=60.0)
    setting = reference.Setting()
    assert reference.run_steps(options, setting, device="cuda", clock=clock) == status


@pytest.mark.parametrize(
    ("state", "status"), [("ok", 0), ("lacks", 0), ("wrong", 1), ("failed", 1)]
)
def test_a_look_is_1_where_a_kind_is_wrong(monkeypatch, tmp_path, state, status):
    kind = look.KindResult(what="nb", state=state)
    monkeypatch.setattr(look, "_look_at_all", lambda *_, **__: iter((kind,)))
    assert look.run(tmp_path, None, device="cpu", has_time=lambda: True)[0] == status


def test_the_gate_is_3_where_a_side_cannot_be_had(monkeypatch, tmp_path):
    def no_side(*_, **__):
        msg = "revision 'base' has no library"
        raise SideError(msg)

    monkeypatch.setattr(regress, "run_gate", no_side)
    given = ["--base", "HEAD", "--device", "cpu", "--out", str(tmp_path)]
    assert regress.main(given) == shell.UNDECIDED


def test_what_is_on_file_is_shown_with_0(tmp_path):
    out = ["--out", str(tmp_path)]
    assert rendering.main([str(KEPT / "noise")]) == shell.DONE
    assert regress.main(["history", str(ROOT / "tests" / "golden" / "made-up"), *out]) == shell.DONE
    assert validate.main(["--harness", "--simulations", "20", *out]) == shell.DONE


@pytest.mark.parametrize("main", [ablations, efficiency, reference, regress, validate])
def test_a_wrong_input_is_2(main, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["it", "--nonsense"])
    with pytest.raises(SystemExit) as end:
        shell.guarded("it", main.main)
    assert (end.value.code, capsys.readouterr().err.count("\n")) == (shell.WRONG, 1)


def test_a_report_of_nothing_is_2(capsys):
    assert rendering.main(["no-such-folder"]) == shell.WRONG


def test_the_documents_have_the_table():
    text = (ROOT / "docs" / "exit_statuses.md").read_text(encoding="utf-8")
    stated = {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert stated == {*(shell.DONE, shell.FAILED, shell.WRONG, shell.UNDECIDED, shell.INTERRUPTED)}
