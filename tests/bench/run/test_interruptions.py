"""A run that is killed, anywhere: nothing that was finished is lost, and nothing is done twice."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.records import record
from bench.training import progress
from experiments import machine

ROOT = Path(__file__).resolve().parents[3]
# Cells whose time is read, alone, and trainings, two at once. A block says in a file which processes ran it.
OWN = """
import os
from dataclasses import replace
from pathlib import Path

from ann.spec import Size
from experiments.paper import table6
from experiments.spec import Cell, Experiment, OwnModule, TrainingJob

HERE = Path(__file__).parent
KEPT = ("paper/baseline", "paper/apnb") if (HERE / "trained").exists() else ()


def block(channels):
    from torch import nn

    class Counted(nn.Conv2d):
        def forward(self, x):
            if type(x).__name__ == "Tensor":  # it has values: no prediction
                (HERE / "begun" / f"own-{channels}" / str(os.getpid())).touch()
            return super().forward(x)

    return Counted(channels, channels, 1)


def timed(seed):
    return Cell(
        experiment="killed",
        axes={"block": f"own-{seed + 1}"},
        subject=OwnModule(factory="killed:block", channels=seed + 1),
        size=Size(height=9, width=9),
        probes=("timing",),
        budget_s=0.05,
    )


def make(setting):
    rows = [cell for cell in table6.make(setting).cells if cell.axes["network"] in KEPT]
    trained = tuple(
        replace(cell, training=replace(cell.training, iterations=30)) for cell in rows if isinstance(cell, TrainingJob)
    )
    return Experiment(
        name="killed", question="What survives?", cells=(*map(timed, setting.seeds), *trained)
    )
"""


class Sweep:
    """A run of all cells, as often begun as it is killed; `trained` says whether it has trainings."""

    def __init__(self, folder, draw, *, seeds, trained):
        self.file, self.out, self.draw, self.seeds = (
            folder / "killed.py",
            folder / "out",
            draw,
            seeds,
        )
        self.file.write_text(OWN)
        self.trained = trained
        if trained:
            (folder / "trained").touch()
        self.begun = folder / "begun"
        self.widen(seeds)

    def widen(self, seeds):
        """Ask for the cells of more seeds."""
        self.seeds = seeds
        for seed in range(seeds):
            (self.begun / f"own-{seed + 1}").mkdir(parents=True, exist_ok=True)

    def start(self):
        command = [sys.executable, "-m", "bench.ablations", "--seeds", self.seeds, "--slots", 2]
        command += ["--experiment", self.file, "--out", self.out]
        return subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def records(self):
        path = self.out / "records.jsonl"
        return record.read_records(path) if path.exists() else ()

    def executions(self, item):
        """Count the processes that began a cell."""
        if item.subject.startswith("own"):
            return len(list((self.begun / item.subject).iterdir()))
        return len(list(self.out.glob(f"checkpoints/{item.cell}-*/tensorboard/events*")))

    def iterations(self):
        """Iterations that are kept of each training."""
        found = self.out.glob("checkpoints/*/training.pt")
        return {path.parent: progress.load_training(path)["iteration"] for path in found}

    def seen(self, point):
        """What changes when a point is reached."""
        if point == "a record":
            path = self.out / "records.jsonl"
            return path.stat().st_size if path.exists() else 0
        return sorted(self.out.glob("checkpoints/*/training.pt*"), key=str), [
            path.stat().st_mtime_ns for path in self.out.glob("checkpoints/*/training.pt")
        ]

    def points(self):
        """Where there are trainings every other one, at random, is in one."""
        while True:
            pair = [self.draw.choice(("a time", "a record"))]
            pair += ["a checkpoint"] if self.trained else []
            self.draw.shuffle(pair)
            yield from pair

    def kill(self, point):
        """Run up to a point and a bit; return where that was, nothing if the run had ended before."""
        pause_s = self.draw.uniform(1, 12) if point == "a time" else self.draw.uniform(0, 0.05)
        with self.start() as run:
            before = self.seen(point)
            while point != "a time" and self.seen(point) == before and not ended(run, 0.002):
                pass
            if ended(run, pause_s):
                _, said = run.communicate()
                assert run.returncode == 0, said
                return None
            run.send_signal(signal.SIGKILL)
            # Its children have the same standard error: this ends when the last of them has.
            run.communicate(timeout=30)
        return f"{point} and {pause_s * 1e3:.0f} ms"

    def tear(self):
        """Leave what a machine leaves that goes off while a record is being written."""
        path = self.out / "records.jsonl"
        if path.exists() and self.draw.random() < 0.5:
            line = path.read_bytes().splitlines()[-1]
            with path.open("ab") as file:
                file.write(line[: self.draw.randrange(1, len(line))])
            return ", a record torn"
        return ""


def ended(run, limit_s):
    try:
        run.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def first_iteration(folder):
    """The first reading of a training's last execution, which was not killed."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    last = max((folder / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    steps = [event.step for event in EventFileLoader(str(last)).Load() if event.HasField("summary")]
    return min(steps, default=None)


@pytest.mark.parametrize(
    ("kills", "trained"),
    [
        (1, False),
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(20, True, marks=pytest.mark.slow),
        pytest.param(200, False, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_again_and_again_does_every_cell_once(tmp_path, kills, trained):
    seed = int(os.environ.get("KILLED_SEED", random.SystemRandom().randrange(10**6)))
    print(f"KILLED_SEED={seed} draws these points again")  # noqa: T201  # shown if the test fails, or by -s
    sweep = Sweep(tmp_path, random.Random(seed), seeds=1 + kills // 10, trained=trained)
    kept, done, left = (), {}, {}
    for point in sweep.points():
        if not kills:
            break
        where = sweep.kill(point)
        if where is None:
            sweep.widen(sweep.seeds + (1 if trained else 10))
            continue
        kills -= 1
        now = sweep.records()
        assert now[: len(kept)] == kept
        assert {cell: sweep.executions(item) for cell, (item, _) in done.items()} == {
            cell: count for cell, (_, count) in done.items()
        }
        kept = now
        measured = [item for item in now if item.source == "measured"]
        done = {item.cell: (item, sweep.executions(item)) for item in measured}
        left = {
            folder: count
            for folder, count in sweep.iterations().items()
            if folder.name.partition("-")[0] not in done
        }
        print(  # noqa: T201
            f"killed after {where}{sweep.tear()}: {len(now)} records, {len(measured)} of them measured, "
            f"checkpoints of {sorted(left.values())} iterations"
        )
    with sweep.start() as run:
        _, said = run.communicate()
    assert run.returncode == 0, said
    last = sweep.records()
    assert last[: len(kept)] == kept
    assert {item.failure for item in last} == {None}
    assert set(Counter((item.source, item.cell) for item in last).values()) == {1}
    # The machine's own ceilings are beside them, once so much is timed.
    cells = [item for item in last if item.source == "measured" and item.experiment != machine.NAME]
    assert len(cells) == (3 if trained else 1) * sweep.seeds
    assert {cell: sweep.executions(item) for cell, (item, _) in done.items()} == {
        cell: count for cell, (_, count) in done.items()
    }
    for folder, iterations in left.items():
        first = first_iteration(folder)
        assert first is None if iterations == 30 else first > iterations
