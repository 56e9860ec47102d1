"""Names that a shell offers after Tab; each asks a process of its own, as a shell does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import ablations, completion, efficiency, regress

ROOT = Path(completion.__file__).resolve().parents[1]


def offered(line, folder):
    """What the program answers to a shell that has this line and Tab."""
    program, *words = line.split()
    is_module = program == "python"
    asked = {
        "_ARGCOMPLETE": "3" if is_module else "1",  # words ahead of the arguments: python -m module
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_COMP_WORDBREAKS": " ",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(folder / "names"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    called = ("-m", words[1]) if is_module else ("-c", "from bench.__main__ import start; start()")
    command = [sys.executable, *called]
    subprocess.run(command, cwd=ROOT, env=os.environ | asked, check=True, capture_output=True)
    return (folder / "names").read_text(encoding="utf-8").split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bench.efficiency --block ap", ["apnb", "apnb-residual", "apnb-concat"]),
        ("bench.efficiency --block nb apnb-b", ["apnb-bottleneck"]),
        ("bench.efficiency --block apnb:fa", ["apnb:fast", "apnb:fast-compiled"]),
        ("bench.efficiency --compare apnb mmseg/ann-r5", ["mmseg/ann-r50"]),
        ("bench.efficiency --predict h2", ["h200"]),
        ("bench.efficiency --fits v", ["v100"]),
        ("bench.ablations --network mmseg/ann-r5", ["mmseg/ann-r50"]),
        ("bench.ablations --experiment cross", ["crossover"]),
        ("bench.regress --base main --block afn", ["afnb"]),
    ],
)
def test_names_that_begin_so_are_offered(line, expected, tmp_path):
    pytest.importorskip("argcomplete")
    names = offered(f"python -m {line}", tmp_path)
    assert set(expected) <= set(names)
    assert all(name.startswith(line.split()[-1]) for name in names)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ann-bench ga", ["gallery"]),
        ("ann-bench efficiency --block apnb:fa", ["apnb:fast", "apnb:fast-compiled"]),
        ("ann-bench gallery --predict h2", ["h200"]),
        ("ann-bench report --form", ["--format"]),
    ],
)
def test_the_command_offers_programs_and_what_each_takes(line, expected, tmp_path):
    pytest.importorskip("argcomplete")
    assert set(offered(line, tmp_path)) == set(expected)


@pytest.mark.parametrize("module", [ablations, efficiency, regress])
def test_an_entry_point_carries_the_mark_that_the_shell_looks_for(module):
    assert b"PYTHON_ARGCOMPLETE_OK" in Path(module.__file__).read_bytes()[:1024]


def test_a_run_that_no_shell_asks_is_parsed_as_ever(monkeypatch):
    monkeypatch.delenv("_ARGCOMPLETE", raising=False)
    assert efficiency.parser().parse_args(["--block", "apnb"]).block == ["apnb"]


def test_a_shell_that_asks_where_argcomplete_is_not_installed_gets_no_error(monkeypatch):
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert efficiency.parser().parse_args(["--block", "apnb"]).block == ["apnb"]
