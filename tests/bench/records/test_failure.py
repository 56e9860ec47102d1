"""A sweep of trainings in which one of nearly everything goes wrong: rows with reasons, and the others go on."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records import record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30
OWN = """
from dataclasses import replace
from ann.spec import Size
from experiments.paper import table6
from experiments.spec import Experiment, TrainingJob

def make(setting):
    rows = {cell.axes["network"]: cell for cell in table6.make(setting).cells if isinstance(cell, TrainingJob)}
    def short(network, iterations=4, time_limit_s=600, **recipe):
        training = rows[network].training
        training = replace(training, iterations=iterations, recipe=replace(training.recipe, **recipe))
        return replace(rows[network], training=training, time_limit_s=time_limit_s)
    cells = (
        short("paper/common-fusion", iterations=10**6),  # killed by the test
        short("paper/nb", iterations=10**6, time_limit_s=15),
        short("paper/apnb", crop=Size(width=60_000, height=60_000)),
        short("paper/fnb", learning_rate=1e30),
        short("paper/baseline"),
        short("paper/afnb"),
    )
    return Experiment(name="table6", question="Do the others go on?", cells=cells)
"""


def kill_the_endless(run, out):
    """Kill the training that would not end, as the kernel does where memory ends."""
    for _ in range(6000):
        path = out / "records.jsonl"
        items = record.read_records(path) if path.exists() else ()
        for cell in [item.cell for item in items if item.subject == "paper/common-fusion"]:
            for events in out.glob(f"checkpoints/{cell}-*/tensorboard/events*"):
                os.kill(int(events.name.split(".")[-2]), signal.SIGKILL)
                return
        try:
            run.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"it never began: {run.communicate()[1]}")


def test_what_dies_is_a_row_with_its_reason_and_the_others_go_on(tmp_path):
    file, out = tmp_path / "own.py", tmp_path / "out"
    file.write_text(OWN)
    command = [sys.executable, "-m", "bench.ablations", "--experiment", file, "--seeds", 1]
    with subprocess.Popen(
        list(map(str, [*command, "--slots", 2, "--out", out])),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (12 * GIB, 12 * GIB)),  # noqa: PLW1509
    ) as run:
        kill_the_endless(run, out)
        _, said = run.communicate()
    assert run.returncode == 0, said
    found = [
        item for item in record.read_records(out / "records.jsonl") if item.source == "measured"
    ]
    failures = {item.subject: item.failure for item in found}
    assert len(found) == len(failures) == 6
    assert failures["paper/baseline"] is failures["paper/afnb"] is None
    expected = {
        "paper/common-fusion": ("out-of-memory", "the process was killed (signal 9)"),
        "paper/nb": ("timeout", "not done after 15 s; ended"),
        "paper/apnb": ("out-of-memory", "allocate"),
        "paper/fnb": ("error", "the loss is nan; the training has diverged"),
    }
    for name, (kind, reason) in expected.items():
        assert failures[name].kind == kind
        assert reason in failures[name].reason
    table = (out / "report" / "table6-scenes-quick.md").read_text().replace("\\", "")
    for failure in filter(None, failures.values()):
        assert failure.reason in table
