"""What the tests of measuring share: a GPU that is not there."""

import os
import sys
from pathlib import Path

import pytest

from bench import shell
from tests.pretended_gpu import PretendedGpu

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pretended_gpu():
    """A pretended GPU of this process."""
    with PretendedGpu().installed() as gpu:
        yield gpu


@pytest.fixture
def pretended_machine(monkeypatch):
    """A machine with a pretended GPU: this process asks about it, those that it starts compute on it."""
    path = (ROOT / "tests" / "pretended", ROOT, *filter(None, [os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
    with PretendedGpu().answering() as gpu:
        yield gpu


@pytest.fixture
def typed(monkeypatch, capsys):
    """A command as a person types it, in this process: exit status, output and errors."""

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            shell.guarded(module.__name__, module.main)
        return (end.value.code, *capsys.readouterr())

    return run
