"""The workflows: what they may do, and that what they call is there and works."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bench import reference, regress

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in FILES}
WORKFLOWS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
STEPS = [
    (f"{name}: {step.get('name', step.get('uses'))}", step)
    for name, workflow in WORKFLOWS.items()
    for job in workflow["jobs"].values()
    for step in job["steps"]
]
COMMANDS = {title: step["run"] for title, step in STEPS if "run" in step}
FORK = "github.event.pull_request.head.repo.full_name == github.repository"


def test_both_workflows_are_there():
    assert set(WORKFLOWS) == {"ci", "gpu"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_has_no_permission_that_a_job_does_not_name(name):
    assert WORKFLOWS[name]["permissions"] == {}
    assert all(
        job["permissions"] == {"contents": "read"} for job in WORKFLOWS[name]["jobs"].values()
    )


@pytest.mark.parametrize(
    ("title", "step"), STEPS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_action_is_pinned_by_its_hash(title, step):
    assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"])


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_expression_stands_in_a_line_of_shell(command):
    assert "${{" not in command


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_checkout_leaves_no_credentials(name):
    steps = [step for title, step in STEPS if title.startswith(f"{name}:")]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_gpu_runs_no_code_of_a_fork_and_one_job_at_a_time():
    (job,) = WORKFLOWS["gpu"]["jobs"].values()
    assert FORK in job["if"]
    assert "labels.*.name, 'gpu')" in job["if"]
    assert WORKFLOWS["gpu"]["concurrency"] == {"group": "gpu", "cancel-in-progress": False}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_is_one_that_its_session_takes(command):
    sessions, _, rest = command.partition(" -- ")
    names = shlex.split(sessions)[3:]
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    assert shlex.split(sessions)[:3] == ["uvx", "nox", "-s"]
    assert all(f"def {name}(session" in noxfile for name in names)
    arguments = shlex.split(rest)
    if names == ["reference"]:
        reference.parser().parse_args(arguments)
    elif names == ["gate"] and arguments[0] == regress.HISTORY:
        regress.history_parser().parse_args(arguments[1:])
    elif names == ["gate"]:
        regress.parser().parse_args(arguments)


def checker(*names):
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"{names[0]} is not installed")


def test_actionlint_has_nothing_to_say():
    done = subprocess.run(
        [checker("actionlint"), *FILES], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_zizmor_has_nothing_to_say():
    command = [checker("zizmor"), "--offline", "--quiet", ROOT / ".github"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# What would take too long, or needs a GPU, in a test.
SHORTER = {
    "--device cuda": "--device cpu --exact-only --block apnb",
    "--minutes 9": "--minutes 1",
    "--exact-only --out": "--exact-only --block apnb --out",
}


@pytest.mark.slow
def test_the_commands_run(tmp_path):
    """All but the tests themselves, in the order of the files, in a fresh clone."""
    if shutil.which("uvx") is None:
        pytest.skip("uvx is not installed")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    variables = {
        "BASE": "HEAD",
        "HOME": str(tmp_path),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv")),
        "GITHUB_SHA": "0" * 40,
        "GITHUB_ACTIONS": "true",
    }
    summary = tmp_path / "summary.md"
    for command in COMMANDS.values():
        if "-s lint tests" in command or "-s portable" in command:
            continue
        short = command
        for long, less in SHORTER.items():
            short = short.replace(long, less)
        done = subprocess.run(
            ["bash", "-e", "-c", short],
            cwd=clone,
            env={**os.environ, **variables, "GITHUB_STEP_SUMMARY": str(summary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (short, done.stdout[-2000:], done.stderr[-2000:])
    assert "same" in summary.read_text(encoding="utf-8").lower()
