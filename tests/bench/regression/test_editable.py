"""The gate of a repository that is installed editable: no side imports from the working tree but the head."""

import json
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.bench.test_regress import BASE, HEAD, commit, git

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
]
# As those of setuptools and of the library that hatchling makes use of.
FINDER = """
import sys
from importlib.util import spec_from_file_location

class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in {names!r}:
            return spec_from_file_location(name, {folder!r} + "/" + name + ".py")

def install():
    sys.meta_path.append(Finder)
"""
LAZY = """
from torch import nn

class Block(nn.Module):
    def forward(self, x):
        import part_of_it
        return part_of_it.compute(x)

def make(channels):
    return Block()
"""
BY_PATH = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("by_path", {place!r})
sys.modules["by_path"] = module = module_from_spec(spec)
spec.loader.exec_module(module)
make = module.make
"""


def compute(body):
    return f"def compute(x):\n    return {body}\n"


@pytest.fixture(params=["a line of a path", "a finder"])
def installed(request, tmp_path):
    """A repository, and the interpreter of an environment within it that has the working tree on its path."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text(".venv\n")
    commit(folder, both=LAZY, part_of_it=compute("x.relu()"), tiny=BASE)
    venv.create(folder / ".venv", symlinks=True)
    packages = next((folder / ".venv" / "lib").iterdir()) / "site-packages"
    names = ("both", "part_of_it", "tiny", "new", "by_path", "loads")
    (packages / "__editable___finder.py").write_text(FINDER.format(names=names, folder=str(folder)))
    lines = {
        "a line of a path": str(folder),
        "a finder": "import __editable___finder; __editable___finder.install()",
    }
    (packages / "__editable__.pth").write_text(lines[request.param])
    places = (str(ROOT), sysconfig.get_path("purelib"))
    (packages / "what_is_needed.pth").write_text("\n".join(places))
    return folder, folder / ".venv" / "bin" / "python"


def gate(installed, block):
    """Status, verdicts by quantity, and what is said on standard error."""
    folder, python = installed
    shape = ("--size", "5x4", "--channels", "3", "--device", "cpu", "--exact-only")
    command = (python, "-m", "bench.regress", "--base", "main", "--block", block, *shape, "--json")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["outcome"]["findings"] if done.returncode != 3 else ()
    return done.returncode, {one["quantity"]: one["verdict"] for one in found}, done


def test_a_block_that_the_head_alone_has_is_new(installed):
    (installed[0] / "new.py").write_text(BASE)
    status, _, done = gate(installed, "new:make")
    assert (status, '"NEW"' in done.stdout) == (3, True), done.stderr


def test_a_changed_block_is_changed(installed):
    (installed[0] / "tiny.py").write_text(HEAD)
    status, found, done = gate(installed, "tiny:make")
    assert (status, found["calls of aten.relu"]) == (1, "CHANGED"), done.stderr


def test_what_a_forward_imports_is_the_sides(installed):
    (installed[0] / "part_of_it.py").write_text(compute("x.relu().relu()"))
    status, found, done = gate(installed, "both:make")
    assert (status, found["calls of aten.relu"]) == (1, "CHANGED"), done.stderr


def test_what_loads_a_file_of_the_working_tree_is_not_decided(installed):
    folder, _ = installed
    commit(folder, by_path=BASE, loads=BY_PATH.format(place=str(folder / "by_path.py")))
    status, _, done = gate(installed, "loads:make")
    assert status == 3
    assert f"main: module 'by_path' was loaded from {folder}/by_path.py" in done.stderr
