"""The runner with real processes of tiny cells; what a cell reads is tested at the probes."""

import sys
from dataclasses import replace

import pytest

from ann.catalogue import BLOCKS
from ann.spec import BlockSpec, Size
from bench.predict import predict
from bench.records import files, record
from bench.records.record import Environment, Failure, Measures
from bench.run import job_records, runner
from bench.run.pool import Lost
from experiments.spec import Cell, OwnModule
from tests.standing_in import stand_in

SMALL = Cell(
    experiment="test",
    axes={"block": "apnb"},
    subject=replace(BLOCKS["apnb"], channels=8, key_channels=4),
    size=Size(height=9, width=12),
    probes=("timing",),
    budget_s=0.05,
)

HERE = Environment(
    device="cpu", device_name="a processor", cores=4, threads=4, memory_bytes=1, os="o", python="3", torch="2"
)  # fmt: skip

OWN = """
import os, signal, time
from torch import nn

class Own(nn.Module):
    def forward(self, x):
        print("chatter on standard output")
        if type(x).__name__ == "Tensor":  # it has values: no prediction
            self.act()
        return x

def made(act):
    module = Own()
    module.act = act
    return module

def fine(channels): return made(lambda: None)
def slow(): return made(lambda: time.sleep(60))
def killed(): return made(lambda: os.kill(os.getpid(), signal.SIGKILL))
def gone(): return made(lambda: os._exit(7))
def wrong(): return made(lambda: 1 / 0)
def no_module(): return 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_blocks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: replace(SMALL, subject=OwnModule(factory=f"own_blocks:{name}", channels=4))
    sys.modules.pop("own_blocks", None)


def run(cells, out, source="measured"):
    return list(runner.run_cells(cells, out, source=source, device="cpu"))


def test_a_cell_is_predicted_without_running_it(tmp_path):
    (seen,) = run([SMALL], tmp_path, "predicted")
    assert seen.failure is None
    assert seen.measures.counts.parameters == sum((8 * 4 + 4, 8, 8 * 4 + 4, 4 * 8 + 8))


def test_a_measured_cell_is_on_file_with_its_environment(tmp_path):
    (seen,) = run([SMALL], tmp_path)
    assert seen.failure is None
    assert seen.environment.device == "cpu"
    assert {item.clock for item in seen.measures.timings} == {"process", "wall"}
    assert record.read_records(tmp_path) == (seen,)


def test_a_second_run_measures_nothing(tmp_path, monkeypatch):
    first = run([SMALL], tmp_path)
    monkeypatch.setattr(runner, "measured_record", lambda *_: pytest.fail("measured again"))
    assert run([SMALL], tmp_path) == first
    assert record.read_records(tmp_path) == tuple(first)


def test_a_clock_that_jumps_back_loses_and_repeats_nothing(tmp_path, monkeypatch):
    hours = iter(range(12, 0, -1))
    stand_in(
        monkeypatch, job_records, "timestamp", lambda: f"2026-01-01T{next(hours):02}:00:00+00:00"
    )
    cells = [SMALL, replace(SMALL, mode="train")]
    first = run(cells[:1], tmp_path, source="predicted")
    both = run(cells, tmp_path, source="predicted")
    assert both[0] == first[0]
    assert run(cells, tmp_path, source="predicted") == both
    kept = record.read_records(tmp_path)
    assert sorted(item.cell for item in kept) == sorted(cell.id for cell in cells)


def test_two_rows_that_ask_for_one_measurement_share_it(tmp_path):
    twin = replace(SMALL, axes={"block": "apnb", "schedule": 2})
    first, second = run([SMALL, twin], tmp_path)
    assert second.measures == first.measures
    assert [item.axes for item in record.read_records(tmp_path)] == [
        dict(SMALL.axes),
        dict(twin.axes),
    ]


@pytest.mark.slow
def test_a_cell_that_names_the_device_of_the_run_is_the_one_that_leaves_it_open(tmp_path):
    named = replace(SMALL, device="cpu", axes={"block": "apnb", "mode": "eval"})
    first, second = run([SMALL, named], tmp_path)
    assert (first.cell, second.cell) == (SMALL.id, named.id)
    assert second.measures == first.measures
    assert run([named, SMALL], tmp_path) == [second, first]
    assert len(record.read_records(tmp_path)) == 2


def test_a_record_of_the_named_device_serves_the_cell_that_leaves_it_open(tmp_path):
    named = replace(SMALL, device="cpu")
    (first,) = run([named], tmp_path)
    (second,) = run([SMALL], tmp_path)
    assert (second.cell, second.measures) == (SMALL.id, first.measures)


def test_a_prediction_for_a_named_device_is_one_of_its_own(tmp_path):
    named = replace(SMALL, device="cuda", dtype="autocast-bfloat16")
    found = run([named, replace(named, device="auto")], tmp_path, source="predicted")
    assert [item.measures.predicted.device for item in found] == ["cuda", "cpu"]


@pytest.mark.parametrize("has_context", [True, False])
def test_a_process_is_told_whether_the_run_itself_is_on_the_device(monkeypatch, has_context):
    told = []
    monkeypatch.setattr(job_records.environment, "has_context", lambda device: has_context)
    stand_in(
        monkeypatch, job_records.process, "run_task", lambda task: told.append(task) or Measures()
    )
    job_records.measured_record(SMALL, HERE)
    assert [task.waits_on_device for task in told] == [has_context]


def test_changed_code_is_measured_again(tmp_path, own, monkeypatch):
    cell = own("fine")
    first = run([cell], tmp_path, "predicted")
    stand_in(monkeypatch, job_records, "code_digest", lambda *_: "other")
    monkeypatch.setattr(job_records, "_MEMO", {})
    again = run([cell], tmp_path, "predicted")
    assert again[0].environment.code == "other" != first[0].environment.code
    assert len(record.read_records(tmp_path)) == 2


def test_starting_over_puts_the_old_records_aside(tmp_path):
    run([SMALL], tmp_path, "predicted")
    runner.set_records_aside(tmp_path)
    assert record.read_records(tmp_path) == ()
    assert (tmp_path / "records.jsonl.bak").exists()


def test_what_a_module_prints_does_not_reach_standard_output(tmp_path, own, capfd, monkeypatch):
    monkeypatch.setattr(job_records, "_MEMO", {})
    run([own("fine")], tmp_path)
    assert "chatter" not in capfd.readouterr().out


def test_a_prediction_turns_standard_output_aside_while_no_other_thread_may(monkeypatch):
    out = sys.stdout

    def without_output(cell, aim):
        assert sys.stdout is sys.stderr
        assert not job_records._PREDICTING.acquire(blocking=False)
        return Measures()

    monkeypatch.setattr(job_records, "_MEMO", {})
    stand_in(monkeypatch, predict, "predict_cell", without_output)
    assert job_records._predictions(SMALL, "cpu") == Measures()
    assert sys.stdout is out


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("killed", "out-of-memory", "signal 9"),
        ("gone", "error", "exit status 7"),
        ("wrong", "error", "ZeroDivisionError: division by zero"),
        ("no_module", "error", "returned int; it must return a torch.nn.Module"),
    ],
)
def test_a_cell_that_fails_is_a_record_with_its_reason(tmp_path, own, name, kind, reason):
    (seen,) = run([own(name)], tmp_path)
    assert seen.failure.kind == kind
    assert reason in seen.failure.reason


def test_a_cell_past_its_limit_is_ended(tmp_path, own):
    (seen,) = run([replace(own("slow"), time_limit_s=8)], tmp_path)
    assert seen.failure.kind == "timeout"
    assert seen.failure.reason == "not done after 8 s; ended"


def test_a_cell_that_cannot_fit_is_not_started(tmp_path, monkeypatch):
    stand_in(monkeypatch, job_records.environment, "available_bytes", lambda _: 2**30)
    stand_in(monkeypatch, job_records.process, "run_task", lambda _: pytest.fail("started"))
    big = replace(SMALL, subject=BlockSpec(), size=Size(height=128, width=256))
    (seen,) = run([big], tmp_path)
    assert seen.failure.kind == "foreseen"
    assert seen.failure.needs_bytes > 8 * 2**30
    assert "GiB by prediction" in seen.failure.reason


def test_a_cell_of_another_device_says_so(tmp_path):
    (seen,) = run([replace(SMALL, device="cuda")], tmp_path)
    assert seen.failure.kind == "unavailable"
    assert "measured on cuda alone" in seen.failure.reason


def test_an_error_is_tried_again(tmp_path, own):
    run([own("wrong")], tmp_path)
    run([own("wrong")], tmp_path)
    assert len(record.read_records(tmp_path)) == 2


def test_a_gpu_that_disappears_costs_the_cells_that_come_then_and_no_other(tmp_path, monkeypatch):
    has, done = iter([2**40, RuntimeError("CUDA error: unknown error"), 2**40, 2**40]), []

    def available(device):
        found = next(has)
        if isinstance(found, Exception):
            raise found
        return found

    stand_in(monkeypatch, job_records.environment, "available_bytes", available)
    stand_in(
        monkeypatch,
        job_records.process,
        "run_task",
        lambda task: done.append(task.cell.seed) or Measures(),
    )
    cells = [replace(SMALL, seed=seed) for seed in range(3)]
    first, gone, last = run(cells, tmp_path)
    assert (first.failure, last.failure) == (None, None)
    assert gone.failure.reason.startswith(
        "device 'cpu' does not answer any more: RuntimeError: CUDA error: unknown error"
    )
    assert [item.failure for item in run(cells, tmp_path)] == [None] * 3
    assert done == [0, 2, 1]


def test_a_cell_that_an_engine_lost_is_a_record_with_that_reason(tmp_path):
    gone = Failure(kind="error", reason="lost by the cluster")

    def engine(cells, act):
        yield from (Lost(cell=cell, failure=gone) for cell in cells)

    (seen,) = runner.run_cells([SMALL], tmp_path, source="measured", device="cpu", engine=engine)
    assert (seen.subject, seen.failure) == ("apnb", gone)
    assert record.read_records(tmp_path) == (seen,)


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="finds no NVIDIA GPU here; pass --device cpu"):
        job_records.resolve_device("cuda")


def test_cells_that_share_the_threads_are_known_again(tmp_path, monkeypatch):
    monkeypatch.setattr(job_records, "_describe", lambda device: HERE)
    shared = job_records.environment_of("cpu", SMALL, slots=2)
    assert shared.threads == 2
    files.append_line(
        tmp_path / runner.RECORDS_FILE, job_records.make_record(SMALL, "measured", shared)
    )
    assert list(runner.finished(tmp_path, {SMALL.id: shared})) == [SMALL.id]
    assert runner.finished(tmp_path, {SMALL.id: job_records.environment_of("cpu", SMALL)}) == {}
