"""What a side's process does with a cell, and what becomes of one that dies."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from bench.compare import turns
from bench.records import exit_failure, record, timeout_failure
from bench.records.record import Failure, Measures, Record
from bench.regression import worker
from bench.regression.calls import checksum
from bench.regression.examine import Examiner, SideError
from bench.regression.requests import Ask
from bench.regression.revisions import RevisionSide
from bench.run import environment
from bench.workers import Fence
from tests.standing_in import stand_in

BLOCKS = """
import os
from torch import nn

class Strange(nn.Conv2d):
    def forward(self, x):
        if type(x).__name__ != "Tensor":
            raise RuntimeError("no prediction")
        return super().forward(x)

class Fails(nn.Conv2d):
    def forward(self, x):
        if type(x).__name__ == "Tensor":  # it has values: no prediction
            raise RuntimeError("not here")
        return super().forward(x)

def small(channels):
    return nn.Conv2d(channels, channels, 1)

def wide(channels):
    return nn.Conv2d(channels, 2 * channels, 1)

def strange(channels):
    return Strange(channels, channels, 1)

def fails(channels):
    return Fails(channels, channels, 1)
"""


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """Examine a block of a module of its own; weights are kept from call to call."""
    (tmp_path / "worker_blocks.py").write_text(BLOCKS)
    monkeypatch.syspath_prepend(tmp_path)

    def call(name, *, weights="weights.pt", outputs="outputs.pt"):
        ask = Ask(arm=f"worker_blocks:{name}", size="5x4", channels=3)
        return worker.examine_cell(
            ask, "cpu", weights=tmp_path / weights, outputs=tmp_path / outputs
        )

    return call


def test_a_cell_is_counted_predicted_and_run(examine, tmp_path):
    found = examine("small")
    assert found.failure is None
    assert found.measures.counts.macs == 3 * 3 * 20
    assert found.measures.predicted.peak_bytes > 0
    kept = torch.load(tmp_path / "outputs.pt", weights_only=True)["outputs"]
    assert kept[""][0] == "float32 (1, 3, 4, 5)"
    assert found.measures.outputs == (checksum("", kept[""]),)


def test_the_second_side_takes_over_weights_and_inputs(examine, tmp_path):
    examine("small")
    kept = torch.load(tmp_path / "weights.pt", weights_only=True)
    other = {name: item + 1 for name, item in kept["weights"].items()}
    inputs = [item * 2 for item in kept["inputs"]]
    torch.save({"weights": other, "inputs": inputs}, tmp_path / "weights.pt")
    examine("small")
    output = torch.load(tmp_path / "outputs.pt", weights_only=True)["outputs"][""][1][0]
    expected = torch.conv2d(inputs[0], other["weight"], other["bias"])
    torch.testing.assert_close(output, expected)


def test_weights_that_do_not_fit_are_left(examine, tmp_path):
    examine("small")
    assert examine("wide").measures.outputs[0].shape == (1, 6, 4, 5)
    output = torch.load(tmp_path / "outputs.pt", weights_only=True)["outputs"][""][1][0]
    assert output.isfinite().all()


def test_what_is_not_there_is_unavailable(examine):
    found = examine("nowhere")
    assert found.failure.kind == "unavailable"
    assert "has no callable 'nowhere'" in found.failure.reason


def test_what_fails_when_it_runs_keeps_its_counts(examine):
    found = examine("fails")
    assert found.failure.kind == "error"
    assert re.fullmatch(
        r"RuntimeError: not here \(.*worker_blocks\.py, line \d+\)", found.failure.reason
    )
    assert found.measures.counts.parameters == 12


def test_what_cannot_be_predicted_is_called_all_the_same(examine, tmp_path):
    found = examine("strange")
    assert found.failure.reason.startswith("can't be predicted: RuntimeError: no prediction")
    assert found.measures.outputs[0].form == "float32 (1, 3, 4, 5)"
    assert (tmp_path / "outputs.pt").exists()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("worker_blocks:small.nowhere", "unavailable"),
        ("nowhere_blocks:small", "unavailable"),
        ("unready.blocks:small", "import"),
        ("unready:small", "import"),
    ],
)
def test_a_module_that_cannot_be_imported_is_not_taken_for_one_that_is_not_there(
    examine, tmp_path, path, kind
):
    package = tmp_path / "unready"
    package.mkdir()
    (package / "__init__.py").write_text("from unready._version import version")
    (package / "blocks.py").touch()
    ask = Ask(arm=path, size="5x4", channels=3)
    files = {name: tmp_path / name for name in ("weights", "outputs")}
    found = worker.examine_cell(ask, "cpu", **files)
    assert found.failure.kind == kind


def test_what_does_not_fit_is_not_run(examine, monkeypatch, tmp_path):
    stand_in(monkeypatch, environment, "available_bytes", lambda device: 0)
    found = examine("small")
    assert (found.failure, found.measures.outputs) == (None, ())
    assert not (tmp_path / "outputs.pt").exists()


def test_it_answers_until_the_other_side_goes(examine, tmp_path):
    ask = asdict(Ask(arm="worker_blocks:small", size="5x4", channels=3))
    files = {name: str(tmp_path / name) for name in ("weights", "outputs")}
    other = {**ask, "arm": "worker_blocks:nowhere"}
    session = worker.examine_cells()
    next(session)
    assert session.send("cpu") == "cpu"
    first, second = (session.send({"ask": each, **files}) for each in (ask, other))
    assert (first.failure, second.failure.kind) == (None, "unavailable")
    session.close()


def test_what_was_loaded_of_another_checkout_is_told_in_place_of_a_record(
    examine, tmp_path, monkeypatch
):
    monkeypatch.delitem(sys.modules, "worker_blocks", raising=False)  # another test's
    fence = Fence(own="/own", others=(str(tmp_path),))
    for name, value in fence.variables.items():
        monkeypatch.setenv(name, value)
    files = {name: str(tmp_path / name) for name in ("weights", "outputs")}
    session = worker.examine_cells()
    next(session)
    session.send("cpu")
    ask = asdict(Ask(arm="worker_blocks:small", size="5x4", channels=3))
    told = session.send({"ask": ask, **files})
    assert f"module 'worker_blocks' was loaded from {tmp_path}/worker_blocks.py" in told
    session.close()


class Answering:
    """A worker that answers in order, and as told is ready or not."""

    def __init__(self, *answers, last_words=""):
        self.answers, self.words, self.is_ended = list(answers), last_words, False

    def start(self):
        return self

    def ask(self, message, *, limit_s):
        json.dumps(message)
        answer = self.answers.pop(0)
        return timeout_failure(limit_s) if answer is TimeoutError else answer

    def last_words(self):
        return self.words

    def end(self):
        self.is_ended = True


def examined(monkeypatch, *workers):
    """What a side says of two cells, whose processes answer so."""
    left = list(workers)
    monkeypatch.setattr(RevisionSide, "worker", lambda self, target, server=None: left.pop(0))
    side = RevisionSide(name="main", commit="c", code="0", path=Path(), python="p")
    asks = [Ask(arm="apnb", size="5x4")] * 2
    with Examiner(side, "cpu") as examiner:
        records = [examiner.examine(ask, weights=Path("w"), outputs=Path("o")) for ask in asks]
    assert all(each.is_ended for each in workers)
    return records


def answer():
    where = record.Environment(
        device="cpu",
        device_name="d",
        cores=1,
        threads=1,
        memory_bytes=1,
        os="o",
        python="3",
        torch="2",
    )
    return Record(
        source="predicted",
        experiment="regress",
        cell="0",
        subject="apnb",
        axes={},
        size="5x4",
        measures=Measures(),
        environment=where,
    )


def test_a_record_says_whose_code_it_was(monkeypatch):
    found = examined(monkeypatch, Answering("cpu", answer(), answer()))
    assert [(one.environment.commit, one.environment.code) for one in found] == [("c", "0")] * 2


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (
            exit_failure(3, "Fatal: gone"),
            "the process died with exit status 3: Fatal: gone",
        ),
        (TimeoutError, "not done after 3600 s; ended"),
    ],
)
def test_a_cell_whose_process_dies_is_a_failure_and_the_next_gets_a_new_one(
    monkeypatch, ending, reason
):
    first, second = examined(monkeypatch, Answering("cpu", ending), Answering("cpu", answer()))
    assert first.failure.reason == reason
    assert first.axes == {"block": "apnb", "size": "5x4", "channels": 512, "key_channels": 64}
    assert second.failure is None


def test_a_process_that_does_not_even_start_ends_the_gate(monkeypatch):
    gone = Answering(exit_failure(3, "Fatal: gone"), last_words="Fatal: gone")
    with pytest.raises(SideError, match="main: its process can't be started: Fatal: gone"):
        examined(monkeypatch, gone)
    assert gone.is_ended


def test_a_side_that_has_loaded_what_is_not_of_it_ends_the_gate(monkeypatch):
    mixed = Answering("cpu", "module 'blocks' was loaded from elsewhere")
    with pytest.raises(SideError, match="main: module 'blocks' was loaded from elsewhere"):
        examined(monkeypatch, mixed)
    assert mixed.is_ended


def test_a_process_that_can_be_started_once_alone_is_the_failure_of_the_next_cell(monkeypatch):
    died, gone = (Answering(*answers) for answers in (["cpu", exit_failure(3)], [exit_failure(4)]))
    first, second = examined(monkeypatch, died, gone)
    assert first.failure.reason == "the process died with exit status 3"
    assert second.failure.reason == (
        "main: its process can't be started: the process died with exit status 4"
    )


def test_an_arm_is_told_what_its_task_is(monkeypatch):
    served = []
    stand_in(monkeypatch, turns, "take_turns", lambda task: served.append(task) or iter(()))
    message = {
        "cell": asdict(Ask(arm="apnb:fast", size="5x4", channels=8, key_channels=4)),
        "device": "cpu",
        "read_memory": True,
        "planted": 0.1,
    }
    session = worker.play()
    next(session)
    with pytest.raises(StopIteration):
        session.send(message)
    (task,) = served
    assert (task.cell.name, task.cell.implementation, str(task.cell.size)) == (
        "apnb",
        "fast",
        "5x4",
    )
    assert (task.outputs, task.read_memory, task.planted) == (None, True, 0.1)


@pytest.mark.parametrize("kind", ["ImportError", "ModuleNotFoundError"])
def test_what_a_library_lacks_is_told_without_the_warnings_before_it(monkeypatch, kind):
    lacks = Answering(Failure(kind="error", reason=f"{kind}: no name"), last_words="a warning")
    with pytest.raises(SideError, match=r"main: its library lacks .* \(no name\); choose a later"):
        examined(monkeypatch, lacks)
