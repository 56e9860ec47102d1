"""Cells of a GPU that follow one another in one process, and those that have one of their own."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Size
from bench.measure import measure, nvml
from bench.records.record import Failure, Measures, Timing
from bench.run import process, runner
from bench.workers import Worker
from bench.workers import worker as workers
from bench.workloads import number_formats
from experiments import machine
from experiments.beyond import counters
from experiments.paper import table6
from experiments.spec import Cell, OwnModule, TrainingJob
from experiments.training import Setting
from tests.standing_in import stand_in

PLAIN = Cell(
    experiment="test",
    axes={"block": "plain"},
    subject=replace(BLOCKS["apnb"], channels=8, key_channels=4),
    size=Size(height=9, width=12),
    budget_s=0.05,
)
TRAINING = next(cell for cell in table6.make(Setting()).cells if isinstance(cell, TrainingJob))
SHARING = {
    "plain": PLAIN,
    "train": replace(PLAIN, mode="train"),
    "network": replace(PLAIN, subject=NETWORKS["mmseg/ann-r50"]),
    "autocast": replace(PLAIN, dtype="autocast-bfloat16"),
    "profile": replace(PLAIN, probes=("operations",)),
    "fused": replace(PLAIN, implementation="sdpa"),
    "ceilings": machine.CELL,
}
ALONE = {
    "paper": replace(PLAIN, protocol="paper"),
    "compiled": replace(PLAIN, implementation="compiled"),
    "fast-compiled": replace(PLAIN, implementation="fast-compiled"),
    "own": replace(PLAIN, subject=OwnModule(factory="a:b")),
    "training": TRAINING,
    "counters": counters.EXPERIMENT.cells[0],
}


@pytest.mark.parametrize("name", SHARING)
def test_cells_that_leave_nothing_behind_share_a_process_on_a_gpu_alone(name):
    assert process.shares(process.Task(cell=SHARING[name], device="cuda"))
    assert not process.shares(process.Task(cell=SHARING[name], device="cpu"))
    assert not process.shares(process.Task(cell=SHARING[name], device="cuda", threads=4))


@pytest.mark.parametrize("name", ALONE)
def test_cells_that_may_leave_traces_have_a_process_of_their_own(name):
    assert not process.shares(process.Task(cell=ALONE[name], device="cuda"))


@pytest.fixture
def served(monkeypatch):
    """Processes that answer at once; what is kept of them is ended."""
    monkeypatch.setattr(process, "TARGET", "tests.bench.run.serving:serve")
    yield
    process.end_kept()


def pid(name, **changes):
    """Process that measured a cell, or the failure."""
    cell = replace(PLAIN, axes={"block": name}, **changes)
    found = process.run_task(process.Task(cell=cell, device="cuda"))
    return found if isinstance(found, Failure) else found.printed["pid"]


def is_running(number):
    return any(running.pid == number for running in workers.RUNNING)


def test_cells_share_a_process_until_it_is_ended(served):
    first = pid("a")
    assert pid("b") == first
    assert is_running(first)
    process.end_kept()
    assert not is_running(first)
    assert pid("c") != first


def test_a_cell_of_its_own_process_has_the_device_to_itself(served):
    shared = pid("a")
    alone = pid("b", protocol="paper")
    assert alone != shared
    assert not is_running(shared)
    assert not is_running(alone)
    assert pid("c") not in (shared, alone)


@pytest.mark.parametrize(
    ("name", "kind"), [("fails", "error"), ("dies", "error"), ("hangs", "timeout")]
)
def test_a_process_is_ended_after_a_failure(served, name, kind):
    first = pid("a")
    limits = {"time_limit_s": 0.2} if name == "hangs" else {}
    assert pid(name, **limits).kind == kind
    assert not is_running(first)
    assert pid("b") != first


def test_a_process_ends_where_it_says_so(served):
    first = pid("no graph")
    assert not is_running(first)


def test_a_process_goes_on_after_a_cell_that_this_machine_lacks(served):
    first = pid("a")
    assert pid("lacks").kind == "error"
    assert pid("b") == first


def test_a_process_that_died_between_two_cells_is_no_failure_of_the_next(served):
    first = int(pid("dies later"))
    next(iter(process._KEPT.values())).process.wait(10)
    second = int(pid("a"))
    os.kill(second, signal.SIGKILL)
    next(iter(process._KEPT.values())).process.wait(10)
    assert len({first, second, int(pid("b"))}) == 3


TIMING = Timing(clock="cuda-events", samples_s=(1.0,))


@pytest.mark.parametrize(
    ("outcome", "clean"),
    [
        (Measures(timings=(TIMING,)), True),
        (Failure(kind="unavailable", reason="no such kernel"), True),
        (Failure(kind="error", reason="CUDA error: an illegal memory access"), False),
        (Failure(kind="out-of-memory", reason="CUDA out of memory"), False),
        (
            Measures(timings=(TIMING.model_copy(update={"notes": ("no CUDA graph: why",)}),)),
            False,
        ),
    ],
)
def test_what_a_cell_leaves_behind_is_known_or_not(outcome, clean):
    assert process.is_clean(outcome) is clean


@pytest.fixture
def serving(monkeypatch):
    """Have cells measured in this process; the outcomes, with whether it goes on after each."""
    stand_in(monkeypatch, process, "tidy_process", lambda: True)

    def serve(*outcomes, device="cuda", cell=PLAIN):
        answers, left = [], list(outcomes)
        monkeypatch.setattr(process, "measured_outcome", lambda task: left.pop(0))
        session = process.measure_cells()
        next(session)
        try:
            while True:
                answers.append((session.send(process.Task(cell=cell, device=device)), "goes on"))
        except StopIteration as end:
            answers.append((end.value, "ends"))
        return [f"{type(outcome).__name__.lower()} {state}" for outcome, state in answers]

    return serve


ERROR = Failure(kind="error", reason="CUDA error: an illegal memory access")


def test_a_process_serves_until_a_cell_leaves_behind_what_nobody_knows(serving):
    assert serving(Measures(), ERROR, Measures()) == ["measures goes on", "failure ends"]


def test_cells_of_which_nothing_is_known_have_a_process_each_on_a_processor(serving):
    own = ALONE["own"]
    assert serving(Measures(), Measures(), device="cpu", cell=own) == ["measures ends"]


def test_trainings_on_a_processor_follow_one_another_until_one_fails(serving):
    outcomes = (Measures(), ERROR, Measures())
    states = serving(*outcomes, device="cpu", cell=TRAINING)
    assert states == ["measures goes on", "failure ends"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no cell runs in a fork")
@pytest.mark.parametrize("cell", [PLAIN, ALONE["paper"], machine.CELL])
def test_what_is_measured_on_a_processor_runs_in_a_fork(cell):
    assert process.forks(process.Task(cell=cell, device="cpu"))
    assert not process.forks(process.Task(cell=cell, device="cpu", threads=1))
    assert not process.forks(process.Task(cell=cell, device="cuda"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no cell runs in a fork")
@pytest.mark.parametrize("name", ["compiled", "own", "training", "counters"])
def test_what_may_need_a_fresh_process_runs_in_no_fork(name):
    assert not process.forks(process.Task(cell=ALONE[name], device="cpu"))


@pytest.fixture
def forking(monkeypatch):
    """Answers of a session whose cells are what the names say, each in a fork."""

    def measured(task):
        if task.cell.name == "dies":
            os._exit(3)
        if task.cell.name == "hangs":
            signal.pause()
        return Measures(printed={"pid": os.getpid()})

    monkeypatch.setattr(process, "measured_outcome", measured)
    monkeypatch.setattr(process, "IMPORTED_FIRST", ())
    session = process.measure_cells()
    next(session)

    def ask(name, **changes):
        cell = replace(PLAIN, axes={"block": name}, **changes)
        return session.send(process.Task(cell=cell, device="cpu"))

    return ask


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no cell runs in a fork")
def test_each_cell_has_a_fork_of_its_own(forking):
    pids = {forking(name).printed["pid"] for name in ("a", "b")}
    assert len(pids - {os.getpid()}) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no cell runs in a fork")
@pytest.mark.parametrize(("name", "kind"), [("dies", "error"), ("hangs", "timeout")])
def test_what_becomes_of_a_fork_harms_no_other_cell(forking, name, kind):
    assert forking(name, **({"time_limit_s": 0.2} if name == "hangs" else {})).kind == kind
    assert forking("a").printed


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no cell runs in a fork")
def test_what_is_imported_ahead_of_forks_starts_no_thread():
    code = (
        "import os; from importlib import import_module; from bench.run import process\n"
        "for name in process.IMPORTED_FIRST: import_module(name)\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    one = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # NumPy's, whose threads know of forks
    done = subprocess.run([sys.executable, "-c", code], env=one, capture_output=True, check=True)
    assert done.stdout.decode() == "1\n"


def test_a_process_ends_where_its_device_computes_no_more(serving, monkeypatch):
    stand_in(monkeypatch, process, "tidy_process", lambda: False)
    assert serving(Measures(), Measures()) == ["measures ends"]


def test_between_cells_memory_is_given_back_and_the_device_asked(pretended_gpu, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("given back"))
    assert process.tidy_process()
    assert calls == ["given back"]

    def fail():
        msg = "CUDA error: an illegal memory access was encountered"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert not process.tidy_process()


@pytest.mark.parametrize("waits", [True, False])
def test_a_process_knows_whether_another_of_the_run_waits_on_the_device(monkeypatch, waits):
    seen = []
    monkeypatch.setattr(nvml.waiting, "count", 0)
    stand_in(monkeypatch, measure, "measure_cell", lambda *_: seen.append(nvml.waiting.count))
    process.measured_outcome(process.Task(cell=PLAIN, device="cuda", waits_on_device=waits))
    assert seen == [int(waits)]


def test_a_cell_leaves_its_precision_to_no_other(pretended_gpu):
    backend = torch.backends.cuda.matmul
    before, seen = backend.fp32_precision, []

    def probe(*given):
        seen.append(backend.fp32_precision)
        return Measures()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_measure_call", probe)
        measure.measure_cell(PLAIN, "cuda")
        patch.setattr(
            measure, "_measure_call", lambda *_: number_formats.switch_format("tf32", "cuda")
        )
        measure.measure_cell(PLAIN, "cuda")
        patch.setattr(measure, "_measure_call", probe)
        measure.measure_cell(PLAIN, "cuda")
    assert seen == [before, before]


def test_cells_of_a_pretended_gpu_are_measured_in_one_process(
    tmp_path, pretended_machine, monkeypatch
):
    started, start = [], Worker.start
    monkeypatch.setattr(Worker, "start", lambda self: started.append(self.target) or start(self))
    changes = [{"dtype": "tf32"}, {"implementation": "sdpa-efficient"}, {"mode": "train"}]
    cells = [replace(PLAIN, budget_s=2.0, **change) for change in changes]
    records = list(runner.run_cells(cells, tmp_path, source="measured", device="cuda"))
    assert started == [process.TARGET]
    assert process._KEPT == {}
    kinds = [item.failure.kind if item.failure else None for item in records]
    assert kinds == [None, "unavailable", None], records
    for item in (records[0], records[2]):
        clocks = [timing.clock for timing in item.measures.timings]
        assert clocks == ["cuda-events", "cuda-events", "wall", "cuda-graph"]
        assert item.measures.memory.requested_bytes > 0
        assert not any(timing.notes for timing in item.measures.timings)


def test_code_that_goes_by_the_device_sees_the_pretended_gpu(pretended_gpu):
    device = torch.device("cuda")
    assert device.type == "cuda"
    assert torch.ones(1, device=device).to(device).sum() == 1


@pytest.mark.slow
def test_a_training_on_a_pretended_gpu_loads_its_images_by_processes(tmp_path, pretended_machine):
    short = replace(TRAINING.training, iterations=2)
    cell = replace(TRAINING, training=short, time_limit_s=120)
    found = process.run_task(process.Task(cell=cell, device="cuda", folder=tmp_path))
    assert isinstance(found, Measures), found
    assert found.accuracy.iterations == 2


@pytest.mark.parametrize(
    ("shown", "gpus", "given"),
    [(None, 1, ["0", "0", "0"]), (None, 2, ["0", "1", "0"]), ("5,7", 2, ["5", "7", "5"])],
)
def test_slots_beyond_the_gpus_share_them(monkeypatch, shown, gpus, given):
    seen = []
    for slot in range(3):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if shown:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        monkeypatch.setenv("OMP_NUM_THREADS", "9")
        process.take_slot(
            process.Task(cell=TRAINING, device="cuda", slot=slot, threads=3, gpus=gpus)
        )
        seen.append(os.environ["CUDA_VISIBLE_DEVICES"])
        assert os.environ["OMP_NUM_THREADS"] == "3"
    assert seen == given
