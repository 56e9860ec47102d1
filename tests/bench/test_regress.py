"""The gate from its command line, on small repositories with a block of their own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ann.spec import Size
from bench import regress
from bench.records import outcome, record
from bench.regression import planning, requests, revisions
from bench.regression.examine import examine
from bench.regression.revisions import SideError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
BLOCK = """
from torch import nn

class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.to_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return {body}

def make(channels):
    return Block(channels)
"""
BASE = BLOCK.format(body="self.to_out(x).relu()")
# The same function, one operator more.
HEAD = BLOCK.format(body="self.to_out(x).relu().relu()")
ADDED = "\ndef other(channels):\n    return make(channels)\n"


def git(folder, *arguments):
    named = {
        f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **named},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "m")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A base that is tagged, and a working tree with one operator more and a block more."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, tiny=BASE)
    git(folder, "tag", "base")
    (folder / "tiny.py").write_text(HEAD + ADDED)
    monkeypatch.chdir(folder)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return folder


def gate(folder, *arguments):
    shape = ("--size", "5x4", "--channels", "3", "--device", "cpu", "--exact-only")
    return regress.main([*shape, "--out", str(folder.parent / "out"), *arguments])


def worktrees_of(folder):
    return git(folder, "worktree", "list").count("\n") + 1


def test_a_changed_operator_fails_until_it_is_accepted(repository, capsys, monkeypatch):
    summary = repository.parent / "step.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    blocks = ("--base", "base", "--block", "tiny:make", "tiny:other")
    assert gate(repository, *blocks, "--accept", "one more relu, for the test") == 0
    found = outcome.read_outcome(repository.parent / "out")
    cell = "tiny:make 5x4 channels 3 key channels 64"
    moved = {
        (one.cell, one.quantity): one.verdict for one in found.findings if one.verdict != "SAME"
    }
    assert moved == {
        (cell, "calls of operators"): "ACCEPTED",
        (cell, "calls of aten.relu"): "ACCEPTED",
        (cell.replace("make", "other"), "cell"): "NEW",
    }
    assert found.findings[-2].quantity == "outputs"
    assert "differs by 0.0e+00" in found.findings[-2].reason
    assert found.head.commit.endswith("-dirty")
    assert not found.base.commit.endswith("-dirty")
    assert "::error" not in capsys.readouterr().out
    assert summary.read_text() == (repository.parent / "out" / "summary.md").read_text()
    (kept,) = [
        one for one in record.read_records(repository.parent / "out" / "head") if not one.failure
    ][:1]
    assert kept.environment.commit == found.head.commit
    assert kept.measures.outputs[0].shape == (1, 3, 4, 5)
    assert worktrees_of(repository) == 1
    judge_the_records_again(repository, capsys)


def judge_the_records_again(repository, capsys):
    """Both folders that a gate has written are input as well; without the accepted changes they fail."""
    out = repository.parent / "out"
    folders = ("--base", str(out / "base"), "--head", str(out / "head"))
    again = ("--out", str(repository.parent / "again"))
    assert gate(repository, *folders, *again) == 0
    assert gate(repository, *folders, *again, "--accepted", "none.jsonl") == 1
    told = capsys.readouterr().out
    assert "Worse: 2 of 9 findings; first tiny:make 5x4" in told, told
    errors = [line for line in told.splitlines() if line.startswith("::error title=CHANGED%3A ")]
    assert len(errors) == 2
    cases = ET.fromstring((repository.parent / "again" / "junit.xml").read_text())
    assert len(cases.findall(".//failure")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "nowhere"], "revision 'nowhere' is not in this clone"),
        (["--base", "--upload-pack=x"], "expected one argument"),
        (["--base", "base", "--block", "apbn"], "unknown block 'apbn'; did you mean 'apnb'?"),
        (["--base", "base", "--experiment", "nope"], "unknown experiment 'nope'"),
        (["--base", "base", "--experiment", "nope.py"], "experiment file 'nope.py' does not exist"),
        (["--base", "base", "--planted", "0.01"], "planted 0.01 is not a share above the margin"),
        (["--base", "base", "--accept", ""], "--accept needs a reason"),
        (["--base", "base", "--rounds", "3"], "3 rounds decide nothing"),
        (["--base", "base", "--margin", "nan"], "margin nan is not a share between 0 and 1"),
        (
            ["--base", "base", "--margin", "0.6", "--planted", "0.5"],
            "planted 0.5 is not a share above the margin of 0.6 and up to 1; pass for example 1",
        ),
        (
            ["--base", "base", "--block", "bench.mine:make"],
            "'bench.mine:make': of both revisions 'bench' is this suite's own package",
        ),
        (
            ["--base", "records", "--head", "base"],
            "'records' is a folder of records, 'base' is not",
        ),
        (["history", "nowhere"], "folder 'nowhere' does not exist"),
        (["history", "empty"], "folder 'empty' has no records of runs"),
    ],
)
def test_a_wrong_input_is_named_and_ends_with_status_2(repository, arguments, message, capsys):
    (repository / "records").mkdir()
    (repository / "records" / "records.jsonl").write_text("")
    (repository / "empty").mkdir()
    with pytest.raises((ValueError, SystemExit)) as caught:
        regress.main(arguments)
    assert message in f"{caught.value} {capsys.readouterr().err}"
    assert worktrees_of(repository) == 1


def test_outside_a_repository_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with (
        pytest.raises(ValueError, match="this folder is in no git repository"),
        revisions.sides(tmp_path, "HEAD", None),
    ):
        pytest.fail("checked out")


def test_a_base_without_the_library_that_the_head_has_ends_with_status_3(repository, capsys):
    (repository / "ann").mkdir()
    (repository / "ann" / "__init__.py").touch()
    assert gate(repository, "--base", "base", "--block", "tiny:make") == 3
    assert "revision 'base' has no library 'ann', and the other one has" in capsys.readouterr().err


def test_a_library_that_lacks_what_the_suite_needs_is_a_clear_message(repository):
    (repository / "ann").mkdir()
    for name in ("__init__", "catalogue", "spec"):
        (repository / "ann" / f"{name}.py").touch()
    commit(repository)
    asks = requests.of_blocks(["tiny:make"], [Size(width=5, height=4)])
    lacks = r"HEAD: its library lacks what this suite needs \(cannot import name"
    with (
        revisions.sides(repository, "HEAD", None) as sides,
        pytest.raises(SideError, match=lacks),
    ):
        examine(asks, sides, device="cpu", on_step=lambda _: None)


def test_a_side_is_its_own_code_under_the_running_harness(repository):
    with revisions.sides(repository, "base", None) as (base, head):
        texts = [(side.path / "tiny.py").read_text() for side in (base, head)]
        harness = [(side.path / "bench").resolve() for side in (base, head)]
        library = (base.path / "ann").resolve()
        paths = [side.variables["PYTHONPATH"] for side in (base, head)]
    assert texts == [BASE, HEAD + ADDED]
    assert harness == [ROOT / "bench"] * 2
    assert library == ROOT / "ann"
    assert paths == [str(base.path), str(head.path)]
    assert base.code != head.code
    assert not base.path.exists()
    assert head.python == base.python == sys.executable


def interrupt(worktrees_now):
    assert worktrees_now == 3
    raise KeyboardInterrupt


def test_to_each_side_all_other_worktrees_are_foreign(repository):
    git(repository, "worktree", "add", "-q", "--detach", str(repository.parent / "other"))
    with revisions.sides(repository, "base", None) as (base, head):
        tree = (base.path / "tiny.py").resolve()
        assert base.fence.place(str(repository / "tiny.py")) == str(tree)
        for path in (tree, repository.parent / "other" / "tiny.py"):
            assert head.fence.place(str(path)) == str(repository / "tiny.py")


def test_worktrees_are_gone_after_an_interruption(repository):
    with pytest.raises(KeyboardInterrupt), revisions.sides(repository, "base", "HEAD") as (base, _):
        interrupt(worktrees_of(repository))
    assert worktrees_of(repository) == 1
    assert not base.path.exists()


def test_worktrees_of_a_gate_that_was_killed_are_gone_with_the_next(repository, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(repository.parent))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        left = repository.parent / f"{revisions.PREFIX}{ended.pid}-x"
    add = ["git", "worktree", "add", "--detach", "--quiet", left / "tree0", "base"]
    subprocess.run(add, cwd=repository, check=True)
    with revisions.sides(repository, "base", "HEAD"):
        assert not left.exists()
        assert worktrees_of(repository) == 3


def test_other_packages_need_uv_which_is_named_where_it_is_missing(repository, monkeypatch):
    (repository / "uv.lock").write_text("version = 2\n")
    head = commit(repository)
    (repository / "uv.lock").write_text("version = 3\n")
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "uv" else found(name))
    with (
        pytest.raises(ValueError, match="wants other packages .* install uv"),
        revisions.sides(repository, head, None),
    ):
        pass
    assert worktrees_of(repository) == 1


def test_without_git_the_message_names_it_and_the_other_way(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with (
        pytest.raises(ValueError, match="git is missing, .* pass two folders of records"),
        revisions.sides(tmp_path, "HEAD", None),
    ):
        pytest.fail("checked out")


def test_what_git_says_of_a_revision_that_it_cannot_check_out_is_passed_on(repository, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    hooks = repository.parent / "hooks"
    hooks.mkdir()
    hook = hooks / "post-checkout"
    hook.write_text("#!/bin/sh\necho no room >&2; exit 1\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(hooks))
    with (
        pytest.raises(ValueError, match="revision [0-9a-f]+ can't be checked out: no room"),
        revisions.sides(repository, "base", None),
    ):
        pass
    assert worktrees_of(repository) == 1


def test_a_block_that_neither_side_has_is_refused(repository):
    with pytest.raises(ValueError, match="neither side has what was asked for: .*'none'"):
        gate(repository, "--base", "base", "--block", "tiny:none")


def test_a_block_that_could_not_be_looked_at_is_not_green(repository, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    both = ADDED + "\ndef broken(channels):\n    raise OSError('no driver')\n"
    commit(repository, tiny=BASE + both)
    assert gate(repository, "--base", "HEAD", "--block", "tiny:make", "tiny:broken") == 3
    told = capsys.readouterr().out
    cell = "tiny:broken 5x4 channels 3 key channels 64"
    assert f"Not decided: 1 of 2 cells not examined: {cell}, runs: base: can't be predicted" in told
    assert "no driver" in told
    assert "::warning title=UNEXAMINED%3A tiny%3Abroken" in told
    cases = ET.fromstring((repository.parent / "out" / "junit.xml").read_text())
    assert [case.get("type") for case in cases.iterfind(".//error")] == ["UNEXAMINED"]


def test_other_packages_get_an_environment_of_their_own(repository, monkeypatch, tmp_path):
    (repository / "uv.lock").write_text("version = 2\n")
    base = commit(repository)
    (repository / "uv.lock").write_text("version = 3\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = tools / "uv"
    uv.write_text('#!/bin/sh\necho "$@" > asked; mkdir -p .venv/bin; touch .venv/bin/python\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    with revisions.sides(repository, base, None) as (side, head):
        tree = Path(side.python).parents[2]
        told = (tree / "asked").read_text().split()
    assert told[:3] == ["sync", "--quiet", "--frozen"]
    assert head.python == sys.executable != side.python


def test_what_uv_says_of_its_failure_is_passed_on(repository, monkeypatch, tmp_path):
    (repository / "pyproject.toml").write_text("[project]\n")
    base = commit(repository)
    (repository / "pyproject.toml").write_text("[project]\nname = 'n'\n")
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho no such package >&2; exit 1\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with (
        pytest.raises(ValueError, match="uv can't install its packages: no such package"),
        revisions.sides(repository, base, None),
    ):
        pass


def test_the_margin_and_the_planted_share_follow_the_device():
    options = regress.parser().parse_args(["--base", "base", "--device", "cpu"])
    made = planning.make_plan(options)
    assert (made.settings.margin, made.planted) == (0.05, 0.1)
    assert [ask.arm for ask in made.asks] == list(requests.DEFAULT_BLOCKS)
    wide = regress.parser().parse_args(["--base", "base", "--device", "cpu", "--margin", "0.1"])
    assert planning.make_plan(wide).planted == 0.2


@pytest.mark.slow
def test_a_killed_gate_leaves_no_worktree_and_no_process(repository):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(repository.parent)}
    command = [sys.executable, "-m", "bench.regress", "--base", "base", "--block", "tiny:make"]
    running = subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE)
    while worktrees_of(repository) == 1 and running.poll() is None:
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 130
    running.stderr.close()
    assert worktrees_of(repository) == 1
    assert not list(repository.parent.glob("*regress-*"))


@pytest.mark.slow
def test_a_slower_revision_is_worse_by_the_clock(repository, capsys):
    slow = BASE.replace("return self.to_out(x).relu()", SLOW)
    commit(repository, tiny=slow)
    # What no exact gate sees: the same operators, and Python that does something beside them.
    commit(repository, tiny=slow.replace("return x", "return x if sum(range(10**5)) else None"))
    arguments = ("--size", "32x32", "--channels", "64", "--device", "cpu", "--block", "tiny:make")
    out = repository.parent / "out"
    status = regress.main(["--base", "HEAD~1", "--head", "HEAD", "--out", str(out), *arguments])
    found = outcome.read_outcome(out)
    told = capsys.readouterr().out
    assert {one.verdict for one in found.findings if one.kind == "exact"} == {"SAME"}
    assert status == (3 if found.undecided else 1), told
    if not found.undecided:
        (timed,) = [one for one in found.findings if one.kind == "time"]
        assert timed.verdict == "SLOWER", told
        assert timed.ratio > 1.2


SLOW = """x = x + 0
        for _ in range(20):
            x = self.to_out(x).tanh()
        return x"""
