"""A run that is killed: nothing that was finished is lost, and nothing is done twice."""

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench import record

ROOT = Path(__file__).resolve().parents[2]
OWN = """
from dataclasses import replace
from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments.spec import Cell, Experiment

CELLS = tuple(
    Cell(
        experiment="killed",
        axes={"block": name},
        subject=replace(BLOCKS[name], channels=8, key_channels=4),
        size=Size(height=9, width=9),
        probes=("timing",),
        budget_s=0.05,
    )
    for name in ("nb", "apnb", "nb-concat", "apnb-concat")
)
EXPERIMENT = Experiment(name="killed", question="What survives?", cells=CELLS)
"""


def finished(out):
    path = out / "records.jsonl"
    return record.read(path) if path.exists() else ()


def go(path, out, *, limit_s=None):
    command = [
        sys.executable,
        "-m",
        "bench.ablations",
        "--experiment",
        str(path),
        "--out",
        str(out),
    ]
    run = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with run:
        try:
            _, said = run.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            # Whoever the killed run had started may hold the pipe open.
            said = ""
    return run.returncode, said


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_does_every_cell_once(tmp_path, kills):
    path, out = tmp_path / "killed.py", tmp_path / "out"
    path.write_text(OWN)
    draw = random.Random(kills)
    kept = ()
    for _ in range(kills):
        go(path, out, limit_s=draw.uniform(2, 9))
        now = finished(out)
        assert now[: len(kept)] == kept
        kept = now
    status, said = go(path, out)
    assert status == 0, said
    last = finished(out)
    assert last[: len(kept)] == kept
    assert set(Counter((item.source, item.subject) for item in last).values()) == {1}
    assert len(last) == 8
