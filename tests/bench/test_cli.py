import argparse
import io
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from ann.spec import Size
from bench import cli, efficiency, reference, regress, shell
from bench.records.record import Record

ROOT = Path(__file__).resolve().parents[2]


def test_an_error_is_one_line_and_status_2(capsys):
    parser = cli.Parser("prog", "", {"--size": ""}, {})
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--size", "3*4"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert (
        error
        == "prog: error: argument --size: size '3*4' is not WIDTHxHEIGHT; write for example 256x128\n"
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (regress.parser, "--base; write for example python -m bench.regress --base main"),
        (reference.parser, "--out; write for example python -m bench.reference --look --out "),
    ],
)
def test_what_is_required_comes_with_what_to_type(program, expected, capsys):
    with pytest.raises(SystemExit) as stop:
        program().parse_args([])
    assert stop.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_call_without_options_says_at_once_what_comes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(efficiency, "_measure", lambda *_: 0)
    efficiency.main(["--size", "8x8"])
    assert capsys.readouterr().err == ""
    efficiency.main([])
    assert capsys.readouterr().err.startswith("nb, apnb, apnb-concat at 256x128: counted")
    efficiency.main(["--gallery"])
    assert capsys.readouterr().err.startswith("the gallery at 128x64: counted")


def test_a_size_is_read():
    assert cli.size("3x2") == Size(width=3, height=2)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "9" * 30, "²"])
def test_a_count_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number"):
        cli.positive(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a positive number"):
        cli.positive_seconds(text)


def raising(error):
    def main(_):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("what, allowed, do"), 2, "prog: error: what, allowed, do\n"),
        (OSError("disk"), 2, "prog: error: disk\n"),
        (KeyboardInterrupt(), 130, "prog: interrupted; to begin again: prog --size 3x4\n"),
    ],
)
def test_an_entry_point_ends_with_one_line(monkeypatch, capsys, error, status, said):
    monkeypatch.setattr(sys, "argv", ["prog.py", "--fresh", "--size", "3x4"])
    with pytest.raises(SystemExit) as stop:
        shell.guarded("prog", raising(error))
    assert (stop.value.code, capsys.readouterr().err) == (status, said)


def test_a_folder_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "below"
    with (
        pytest.raises(ValueError, match=r"can't be written .*; pass another with --out"),
        cli.locked(below),
    ):
        pass


HOLD = """
import sys
from pathlib import Path
from bench import cli as console
with console.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_run(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as run:
        assert run.stdout.readline() == "held\n"
        yield run


def test_a_folder_that_another_run_holds_is_refused_until_that_has_ended(tmp_path):
    with (
        another_run(tmp_path),
        pytest.raises(ValueError, match="another run is writing into .*; wait until it has ended"),
        cli.locked(tmp_path),
    ):
        pass
    with cli.locked(tmp_path) as folder:
        assert folder == tmp_path


def test_a_killed_run_holds_nothing(tmp_path):
    with another_run(tmp_path) as run:
        run.kill()
        run.wait()
        with cli.locked(tmp_path) as folder:
            assert folder == tmp_path


def test_progress_is_quiet_where_there_is_no_terminal(capsys):
    made = Record(source="measured", experiment="e", cell="c", subject="s", axes={}, size="1x1")
    assert cli.follow(iter([made]), total=1) == (made,)
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_standard_error_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    out, error = Terminal(), Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", error)
    made = Record(source="measured", experiment="e", cell="c", subject="apnb", axes={}, size="1x1")
    cli.follow(iter([made]), total=1)
    assert out.getvalue() == ""
    assert "apnb" in error.getvalue()


@pytest.mark.parametrize("command", ["efficiency", "ablations"])
def test_help_loads_nothing_that_takes_long(command):
    code = f"import sys; from bench import {command}\n"
    code += f"try: {command}.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'pandas', 'pydantic', 'rich', 'scipy'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
