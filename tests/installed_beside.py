"""The command where its wheel is installed beside a project that has folders bench, reports and experiments.

`nox -s wheel` runs this there, in the interpreter of that environment.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ann_bench

CLONE = Path(__file__).resolve().parents[1]
FOLDERS = ("bench", "experiments", "reports", "my_package")
FILES = {
    **{f"{folder}/__init__.py": f"OF = {folder!r}\n" for folder in FOLDERS},
    "bench/helper.py": "SCALE = 2.0\n",
    "my_package/blocks.py": '''"""A block of somebody's own."""

from pathlib import Path

import torch

import bench
import experiments
import reports
from bench import helper

HERE = Path(__file__).resolve().parents[1]
for own in (bench, experiments, reports):
    assert Path(own.__file__).resolve().is_relative_to(HERE), own.__file__
assert (bench.OF, experiments.OF, reports.OF) == ("bench", "experiments", "reports")


class Scaled(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = torch.nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return x + helper.SCALE * self.layer(x)


def make(channels, key_channels):
    return Scaled(channels)
''',
}
BLOCK = ("--block", "my_package.blocks:make")
SMALL = ("--size", "16x16", "--channels", "16", "--key-channels", "4")
SCRIPT = Path(sys.executable).with_name("ann-bench")
# What a record says of the code behind it, asked of the suite under either name.
DIGESTS = """
import sys
from importlib import import_module
lead = sys.argv[1]
job_code = import_module(f"{lead}bench.run.job_code")
catalogue = import_module(f"{lead}experiments.catalogue").EXPERIMENTS
cells = [catalogue[name].cells[0] for name in ("table1", "table2", "counters", "implementations")]
print([cell.id for cell in cells])
print([job_code.code_digest(cell, device) for cell in cells for device in ("meta", "cpu", "cuda")])
"""


def call(folder, *words, status=0):
    """Run in a folder, where nothing is on the path that is not installed."""
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, (
        f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def import_all():
    """Every module but the programs' `__main__`, which would start."""
    names = [each.name for each in pkgutil.walk_packages(ann_bench.__path__, "ann_bench.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    return names


def check_project(folder):
    """Run the commands in a project."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    printed = call(folder, SCRIPT, "efficiency", *BLOCK, *SMALL, "--budget", "1")
    assert "Efficiency: measured" in printed, printed
    assert "failed" not in printed, printed
    printed = call(folder, SCRIPT, "report", "results/efficiency", "--out", "page")
    assert (folder / "page/index.html").stat().st_size > 10_000, printed
    text = (folder / "page/index.html").read_text()
    assert "ann-bench report RECORDS" in text
    assert "python -m" not in text
    printed = call(folder, SCRIPT, "regress", status=2)
    assert printed.startswith("ann-bench regress: error: "), printed
    printed = call(folder, sys.executable, "-m", "ann_bench", "validate", status=2)
    assert printed.startswith("ann-bench validate: error: no timings"), printed
    (folder / "mine.py").write_text("from experiments.spec import Cell\n")
    printed = call(folder, SCRIPT, "ablations", "--experiment", "mine.py", status=2)
    assert "here it is ann_bench.experiments.spec" in printed, printed
    printed = json.loads(call(folder, SCRIPT, "env", "--json"))
    assert printed["packages"]["ann-bench"]


def check_gate(folder):
    """Hold a change of the project's own block against the commit before."""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    (folder / ".gitignore").write_text("results/\npage/\n__pycache__/\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "x")):
        call(folder, *git, *words)
    gate = (SCRIPT, "regress", "--base", "HEAD", "--exact-only", *BLOCK, *SMALL)
    assert call(folder, *gate).startswith("Same or better")
    block = folder / "my_package/blocks.py"
    block.write_text(block.read_text().replace("channels, 1)", "channels, 3, padding=1)"))
    printed = call(folder, *gate, status=1)
    assert "MACs" in printed, printed


def check_digests(folder):
    """A record of the wheel names the code that a clone's names."""
    outside = call(folder, sys.executable, "-P", "-c", DIGESTS, "ann_bench.")
    inside = call(CLONE, sys.executable, "-c", DIGESTS, "")
    assert outside == inside, f"{outside}{inside}"


names = import_all()
assert len(names) > 200, names
with tempfile.TemporaryDirectory() as place:
    project = Path(place)
    check_project(project)
    check_gate(project)
    check_digests(project)
print(f"{len(names)} modules of {ann_bench.__file__} leave a project its names")  # noqa: T201
