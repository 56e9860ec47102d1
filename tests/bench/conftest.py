"""What the tests of measuring share: a GPU that is not there."""

import os
from pathlib import Path

import pytest

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
