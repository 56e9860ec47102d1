"""What the tests of training share: one that ran to its end, and checkpoints at every reading."""

import pytest

from bench.training import loop as training
from tests.bench.training.small_training import make, run


@pytest.fixture(scope="session")
def uninterrupted():
    net = make()
    return net, run(net)


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(training, "SAVING_SHARE", float("inf"))
