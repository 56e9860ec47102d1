"""What the wheel holds, and its front door; `nox -s wheel` builds and installs it."""

import ast
import importlib.util
import subprocess
import sys
import tomllib
import types
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import bench
from bench import __main__ as door

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hook():
    """`hatch_build.py`, where hatchling need not be installed."""
    name = "hatchling.builders.hooks.plugin.interface"
    with pytest.MonkeyPatch.context() as patch:
        stand_in = types.ModuleType(name)
        stand_in.BuildHookInterface = object
        patch.setitem(sys.modules, name, stand_in)
        spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def suite(hook, tmp_path_factory):
    """The package as the wheel has it."""
    folder = tmp_path_factory.mktemp("wheel") / hook.PACKAGE
    hook.write_suite(ROOT, folder)
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from bench import cli", "from ann_bench.bench import cli"),
        ("from bench.records import (a, b)", "from ann_bench.bench.records import (a, b)"),
        (
            "def f():\n    from reports.x import y",
            "def f():\n    from ann_bench.reports.x import y",
        ),
        ("import reports", "from ann_bench import reports"),
        ("import experiments as e", "from ann_bench import experiments as e"),
        ("x = 'é'; import bench; y = 1", "x = 'é'; from ann_bench import bench; y = 1"),
        ("from benches import x", "from benches import x"),
        ("from . import bench", "from . import bench"),
        ("from ann.spec import Size", "from ann.spec import Size"),
        ("'from bench import cli'", "'from bench import cli'"),
    ],
)
def test_imports_are_moved_and_nothing_else(hook, line, expected):
    assert hook.moved(f"{line}\n", "a.py") == f"{expected}\n"


@pytest.mark.parametrize("line", ["import bench.cli", "import os, bench"])
def test_an_import_without_a_counterpart_is_refused(hook, line):
    with pytest.raises(ValueError, match="a.py, line 2: write `from bench import"):
        hook.moved(f"\n{line}\n", "a.py")


def test_every_import_in_the_wheel_leads_to_a_file_of_it(hook, suite):
    """None is left that would find a project's own `bench`, `experiments` or `reports`."""
    seen = 0
    for path in suite.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                assert not {alias.name.partition(".")[0] for alias in node.names} & {*hook.ROOTS}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                top, *rest = node.module.split(".")
                assert top not in hook.ROOTS, (path, node.lineno)
                if top == hook.PACKAGE:
                    place = suite.joinpath(*rest)
                    assert place.with_suffix(".py").is_file() or place.is_dir(), (path, node.lineno)
                    seen += 1
    assert seen > 500


def test_the_wheel_has_every_file_but_kept_records(hook, suite):
    listed = subprocess.run(
        ["git", "ls-files", *hook.ROOTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("not a clone")
    wanted = {name for name in listed.stdout.splitlines() if "/reference/" not in name}
    held = {str(path.relative_to(suite)) for path in suite.rglob("*") if path.is_file()}
    records = {name for name in held if "/reference/" in name}
    assert wanted <= held - records
    assert {Path(name).name for name in records} == {"ceilings.jsonl", "comparisons.jsonl"}
    assert sum((suite / name).stat().st_size for name in records) < 2e6


def test_an_editable_installation_leads_to_the_clone(hook):
    assert "from bench.__main__ import start" in hook.DOOR["__init__.py"]
    assert "from ann_bench.bench.__main__" in hook.moved(hook.DOOR["__init__.py"], "__init__.py")


def test_the_groups_of_a_clone_are_the_extras():
    assert PROJECT["dependency-groups"]["bench"] == ["ann-bench[bench]"]
    assert PROJECT["dependency-groups"]["reports"] == ["ann-bench[reports]"]
    assert PROJECT["project"]["scripts"] == {bench.COMMAND: "ann_bench:main"}


def test_the_citation_has_the_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['project']['version']}\n" in citation


def test_an_issue_asks_for_the_environment():
    (form,) = (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")
    asked = {part["id"]: part for part in yaml.safe_load(form.read_text())["body"]}
    assert "`ann-bench env`" in asked["environment"]["attributes"]["description"]


@pytest.fixture
def as_command(monkeypatch):
    for name in {*door.PROGRAMS} - {*door.HERE}:
        door.load(name)  # ahead, since they keep how they were started
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/ann-bench"])


def test_a_program_is_called_as_it_was_started(as_command):
    assert bench.called("efficiency") == "ann-bench efficiency"
    assert bench.called("report") == "ann-bench report"


def test_a_program_of_a_clone_is_called_by_its_module(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/clone/bench/efficiency.py"])
    assert bench.called("efficiency") == "python -m bench.efficiency"
    assert bench.called("report") == "python -m reports"


def test_without_arguments_it_says_what_there_is(as_command, capsys):
    assert door.main([]) == 0
    printed = capsys.readouterr().out
    assert all(f"ann-bench {name}" in printed for name in door.PROGRAMS)
    assert "python -m" not in printed


def test_in_a_clone_it_says_what_to_type_there(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/clone/bench/__main__.py"])
    door.main([])
    printed = capsys.readouterr().out
    assert "python -m bench.efficiency --size 256x128" in printed
    assert "python -m bench gallery" in printed
    assert "python -m reports DIR" in printed


def test_an_unknown_command_suggests_the_nearest(capsys):
    assert door.main(["efficency"]) == 2
    expected = (
        "ann-bench: error: unknown command 'efficency'; did you mean 'efficiency'? allowed are"
    )
    assert capsys.readouterr().err.startswith(expected)


def test_without_the_extra_it_says_what_to_install_in_one_line(as_command, monkeypatch, capsys):
    needs = [
        "numpy>=1.26",
        "ann-bench[reports]; extra == 'bench'",
        "no-such-package>=1; extra == 'reports'",
        "neither-this; extra == 'all'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    monkeypatch.setattr(door, "installed_from", lambda: ("git+https://host/x", None))
    assert door.main(["ablations", "--budget", "smoke"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "ann-bench ablations: error: no-such-package not installed; "
        "pip install 'ann-bench[bench] @ git+https://host/x' "
        "(or uvx --from 'ann-bench[bench] @ git+https://host/x' ann-bench)\n"
    )


def test_measuring_a_block_needs_no_extra():
    alone = {name for name, program in door.PROGRAMS.items() if not program.extra}
    assert alone == {"efficiency", "gallery", "env", "completion"}


def test_where_pip_had_a_wheel_from_is_where_more_of_it_is(monkeypatch):
    vcs = '{"vcs": "git", "commit_id": "ab", "requested_revision": "main"}'
    text = f'{{"url": "https://host/x", "vcs_info": {vcs}}}'
    told = types.SimpleNamespace(read_text=lambda _: text)
    monkeypatch.setattr(metadata, "distribution", lambda _: told)
    assert bench.installed_from() == ("git+https://host/x@main", "ab")


def test_the_gallery_is_efficiency_with_an_option(monkeypatch):
    given = []
    program = types.SimpleNamespace(main=lambda arguments: given.extend(arguments) or 0)
    monkeypatch.setattr(door, "load", lambda _: program)
    monkeypatch.setattr(door, "lacking_packages", lambda _: ())
    with pytest.raises(SystemExit) as stop:
        door.main(["gallery", "--device", "meta"])
    assert stop.value.code == 0
    assert given == ["--gallery", "--device", "meta"]


@pytest.mark.parametrize("name", door.PROGRAMS)
def test_each_program_has_a_parser_that_names_the_command(as_command, name):
    parser = door.parser_of(name)
    assert parser.prog.startswith(("ann-bench", "python -m"))
    assert parser.format_help()
