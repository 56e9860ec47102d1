import multiprocessing
import os
import select
import subprocess
import sys
import threading

import psutil
import pytest

from bench import gpu_tests, reference
from bench.records import Environment, Failure, Measures, PredictedMemory, Record, read_records
from bench.run import environment, job_records, process, runner
from experiments import machine as ceilings
from experiments.beyond.crossover import OUTWARDS
from experiments.catalogue import EXPERIMENTS
from experiments.spec import Measurement, TrainingJob
from experiments.training import Setting
from tests.standing_in import stand_in

HERE = Environment(
    device="cuda", device_name="a GPU", cores=16, threads=8, memory_bytes=1, os="o", python="3", torch="2"
)  # fmt: skip
GIB = 2**30


def made(**fields):
    names = {"experiment": "e", "cell": "c", "subject": "nb", "axes": {}, "size": "1x1"}
    return Record(source="measured", **{**names, **fields})


def plan(device):
    return reference.planned(Setting(), device=device)


def cells_of(device):
    return [cell for step in plan(device) for cell in step.cells]


def test_a_gpu_is_not_asked_what_runs_on_the_processor():
    asked = {device: {cell.experiment for cell in cells_of(device)} for device in ("cpu", "cuda")}
    assert asked["cpu"] == {*EXPERIMENTS, "table6", "table7"}
    assert asked["cpu"] - asked["cuda"] == {"counters"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_cell_is_timed_longer_than_the_device_needs(device):
    longest = max(cell.budget_s for cell in cells_of(device) if isinstance(cell, Measurement))
    assert longest == reference.CELL_BUDGETS_S[device]


@pytest.fixture
def machine(monkeypatch):
    """A GPU on which a cell takes 3.5 s in a process that is there, and 10 s in a new one; nothing is executed."""
    gpu = Machine()
    monkeypatch.setattr(job_records, "_describe", lambda device: HERE)
    monkeypatch.setattr(runner, "measured_record", gpu.measure)
    stand_in(monkeypatch, job_records, "predicted_record", gpu.predict)
    stand_in(monkeypatch, environment, "available_bytes", lambda _: 139 * GIB)
    monkeypatch.setattr(process, "end_kept", gpu.end)
    return gpu


class Machine:
    def __init__(self):
        self.now_s, self.is_warm, self.measured, self.predicted = 0.0, False, [], []
        self.at_once, self.lock = 0, threading.Lock()

    def measure(self, cell, where, *, folder, slot, slots):
        with self.lock:
            shares = process.shares(process.Task(cell=cell, device=where.device))
            self.now_s += (3.5 if shares and self.is_warm else 10.0) / slots
            self.is_warm, self.at_once = shares, max(self.at_once, slots)
            self.measured.append(cell)
        return job_records.make_record(cell, "measured", where)

    def predict(self, cell, where):
        self.predicted.append(cell)
        peak = PredictedMemory(
            peak_bytes=GIB, increment_bytes=1, input_bytes=1, parameter_bytes=1, peak_operator="o"
        )
        return job_records.make_record(cell, "predicted", where, Measures(predicted=peak))

    def end(self):
        self.is_warm = False

    def spend(self, minutes, out, device="cuda", **options):
        clock = reference.Clock(limit_s=60 * minutes, now=lambda: self.now_s, **options)
        return list(reference.measured(plan(device), out, device=device, clock=clock))


def test_nine_minutes_of_a_gpu_reach_the_first_six_sides_of_the_crossover(machine, tmp_path):
    machine.spend(9, tmp_path)
    assert machine.now_s < 9 * 60 + 10
    wanted = [
        cell.id
        for cell in cells_of("cuda")
        if cell.experiment in ("table1", "fig2", "table2")
        or (
            cell.experiment == "crossover"
            and cell.size.width in OUTWARDS[:6]
            and "anchors" not in cell.axes
        )
    ]
    on_file = {item.cell for item in read_records(tmp_path) if item.source == "measured"}
    assert len(wanted) == 5 * 2 + 4 + 2 + 3 + 6 * 14
    assert set(wanted) <= on_file


@pytest.mark.parametrize(("minutes", "first"), [(1, "ceilings"), (0.1, "table1")])
def test_a_run_that_has_the_time_begins_with_the_machine(machine, tmp_path, minutes, first):
    machine.spend(minutes, tmp_path)
    assert machine.measured[0].experiment == first


def test_the_process_that_cells_share_is_started_anew_only_after_one_of_its_own(machine, tmp_path):
    machine.spend(4, tmp_path)
    alone = sum(cell.call.protocol == "paper" for cell in machine.measured)
    first_and_after_the_papers = 2
    started = alone + first_and_after_the_papers
    assert machine.now_s == pytest.approx(3.5 * (len(machine.measured) - started) + 10 * started)


def test_a_run_that_was_cut_goes_on_where_it_stopped(machine, tmp_path):
    machine.spend(2, tmp_path)
    first, machine.measured = machine.measured, []
    machine.spend(2, tmp_path, started_s=machine.now_s)
    done = [cell.id for cell in (*first, *machine.measured)]
    order = list(dict.fromkeys(cell.id for cell in (ceilings.CELL, *cells_of("cuda"))))
    twins = set(order[: order.index(done[-1])]) - set(done)
    assert done == [name for name in order if name not in twins][: len(done)]


def test_trainings_share_a_gpu_as_far_as_cores_and_memory_go(machine):
    cells = next(step for step in plan("cuda") if step.trains).cells
    assert reference.trainings_at_once(cells, device="cuda") == 5
    few = HERE.model_copy(update={"cores": 7})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_records, "_describe", lambda device: few)
        assert reference.trainings_at_once(cells, device="cuda") == 2
        stand_in(patch, environment, "available_bytes", lambda _: 2 * GIB)
        assert reference.trainings_at_once(cells, device="cuda") == 1


def test_each_training_on_a_gpu_needs_memory_for_its_process_too(machine, monkeypatch):
    cells = next(step for step in plan("cuda") if step.trains).cells
    two = 2 * (GIB + job_records.PROCESS_BYTES)
    for has, at_once in [(two, 2), (two - 1, 1)]:
        stand_in(monkeypatch, environment, "available_bytes", lambda _, has=has: has)
        assert reference.trainings_at_once(cells, device="cuda") == at_once


def test_trainings_run_at_once_in_slots(machine, tmp_path):
    machine.spend(60, tmp_path)
    assert machine.at_once == 5
    assert {cell.experiment for cell in machine.measured} == {
        *("ceilings", "table6", "table7"), *EXPERIMENTS,
    } - {"counters"}  # fmt: skip


def test_all_is_predicted_beside_a_gpu_and_on_a_processor_each_cell_before_it_runs(
    machine, tmp_path, monkeypatch
):
    machine.spend(600, tmp_path / "gpu")
    on_gpu = {cell.id for cell in machine.predicted}
    assert on_gpu == {cell.id for cell in cells_of("cuda")}
    machine.predicted, machine.measured = [], []
    behind = []

    def measure(cell, where, **given):
        seen = {one.id for one in machine.predicted} | {ceilings.CELL.id}
        behind.append(cell.id in seen)
        return Machine.measure(machine, cell, where, **given)

    monkeypatch.setattr(runner, "measured_record", measure)
    machine.spend(1, tmp_path / "cpu", device="cpu", started_s=machine.now_s)
    assert behind
    assert all(behind)
    assert len(machine.predicted) < 40


def test_what_goes_wrong_in_a_prediction_ends_the_run(machine, tmp_path, monkeypatch):
    def fail(*_):
        msg = "no space left"
        raise OSError(msg)

    stand_in(monkeypatch, job_records, "predicted_record", fail)
    with pytest.raises(OSError, match="no space left"):
        machine.spend(1, tmp_path)


def test_predictions_end_with_a_run_that_is_interrupted(machine, tmp_path, monkeypatch):
    clock = reference.Clock(limit_s=600, now=lambda: 0.0)
    cells, begun = cells_of("cuda"), threading.Event()

    def predict(cell, where):
        begun.set()
        return Machine.predict(machine, cell, where)

    def run():
        with reference.predicting(cells, tmp_path, device="cuda", clock=clock):
            assert begun.wait(60)
            raise KeyboardInterrupt

    stand_in(monkeypatch, job_records, "predicted_record", predict)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(machine.predicted) < len(cells)


def test_no_prediction_is_begun_that_a_run_on_a_gpu_would_wait_for(machine, tmp_path):
    clock = reference.Clock(limit_s=reference.LONGEST_PREDICTION_S, now=lambda: 1.0)
    with reference.predicting(cells_of("cuda"), tmp_path, device="cuda", clock=clock):
        pass
    assert machine.predicted == []


def test_nothing_is_begun_when_the_time_is_up(tmp_path):
    clock = reference.Clock(limit_s=5, now=lambda: 5.0)
    engine = reference.until(clock, at_once=1, ahead=lambda _: pytest.fail("begun"))
    assert list(engine(cells_of("cpu"), lambda cell, slot: pytest.fail("begun"))) == []


def test_a_cell_gets_a_share_of_the_time_and_a_training_what_is_left():
    clock = reference.Clock(limit_s=400, now=lambda: 100.0)
    engine = reference.until(clock, at_once=1, ahead=lambda _: None)
    trained = next(cell for cell in cells_of("cuda") if isinstance(cell, TrainingJob))
    limits = list(engine([cells_of("cuda")[0], trained], lambda cell, slot: cell.time_limit_s))
    assert limits == [100.0, 300.0]


def test_the_summary_says_what_is_missing_and_what_failed():
    records = (made(), made(failure=Failure(kind="timeout", reason="not done after 3 s; ended")))
    text = reference.summary(records, 3, clock=reference.Clock(limit_s=60, now=lambda: 50.0))
    assert text.splitlines() == [
        "1 of 3 cells measured in 50 s",
        "1 not begun: the time was up; call again to go on",
        "e nb 1x1 eval: timeout: not done after 3 s; ended",
    ]


def test_a_log_gets_a_line_for_each_record(capsys):
    clock = reference.Clock(limit_s=60, now=lambda: 7.0)
    lacks = Failure(kind="unavailable", reason="no such kernel")
    records = [made(dtype="tf32"), made(protocol="paper", failure=lacks)]
    assert list(reference._logged(iter(records), clock)) == records
    assert capsys.readouterr().err.splitlines() == [
        "    7 s  e nb 1x1 eval tf32: measured",
        "    7 s  e nb 1x1 eval paper: unavailable: no such kernel",
    ]


def test_only_files_that_have_gpu_tests_are_collected():
    files = gpu_tests.files()
    assert "tests/bench/measure/test_cuda_timer.py" in files
    assert "tests/bench/run/test_runner.py" not in files
    assert "tests/bench/test_reference.py" not in files
    assert len(files) < 15


TESTS = """
import os, time, warnings
import pytest
def test_of_a_processor(): raise RuntimeError
@pytest.mark.{mark}
def test_of_a_gpu(): {does}
"""


def written(folder, does):
    """Tests in a folder; this file's own text is none of a GPU's."""
    (folder / "tests" / "test_a.py").write_text(TESTS.format(mark="gpu", does=does))


@pytest.fixture
def run_tests(tmp_path, monkeypatch):
    """Run GPU tests of another tree than this one, whose test does what is told; the status and the log."""
    monkeypatch.setattr(gpu_tests, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\nfilterwarnings = error\n")
    log = tmp_path / "log.txt"

    def run(does, limit_s=60):
        written(tmp_path, does)
        return gpu_tests.run_gpu_tests(log, limit_s=limit_s), log

    return run


@pytest.mark.parametrize(
    ("does", "status", "said"),
    [
        ("pass", 0, "1 passed, 1 deselected"),
        ("assert False", 1, "1 failed, 1 deselected"),
        ("warnings.warn('of another version')", 0, "1 passed, 1 deselected, 1 warning"),
    ],
)
def test_the_gpu_tests_leave_their_output_and_say_how_they_ended(
    run_tests, capsys, does, status, said
):
    found, log = run_tests(does)
    assert found == status
    assert capsys.readouterr().out.startswith(f"GPU tests: {said} ")
    assert said in log.read_text()


def test_gpu_tests_that_take_too_long_are_ended_and_said_so(run_tests, capsys):
    status, _ = run_tests("time.sleep(60)", limit_s=1e-3)
    assert status == 1
    assert capsys.readouterr().out == "GPU tests: not done after 0 s; see log.txt\n"
    assert multiprocessing.active_children() == []


def test_gpu_tests_end_with_the_run(run_tests, tmp_path):
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    reader = os.open(pids, os.O_RDONLY | os.O_NONBLOCK)
    tell = f"open({str(pids)!r}, 'w').write(str(os.getpid()))"
    written(tmp_path, f"{tell}; time.sleep(60)")
    code = (
        "from pathlib import Path; from bench import gpu_tests;"
        f"gpu_tests.ROOT = Path({str(tmp_path)!r});"
        "gpu_tests.run_gpu_tests(gpu_tests.ROOT / 'log.txt', limit_s=60)"
    )
    run = subprocess.Popen([sys.executable, "-c", code])
    assert select.select([reader], [], [], 60)[0]
    tests = psutil.Process(int(os.read(reader, 99)))
    run.kill()
    run.wait()
    tests.wait(10)


def test_where_there_are_no_tests_that_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu_tests, "ROOT", tmp_path)
    assert gpu_tests.run_gpu_tests(tmp_path / "log.txt", limit_s=5) == 0
    assert capsys.readouterr().out == "GPU tests: there are none beside this code\n"


def test_the_command_measures_into_its_folder_and_says_how_far_it_came(tmp_path, capsys):
    arguments = [
        "--minutes",
        "0.0001",
        "--no-tests",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "out"),
    ]
    assert reference.main(arguments) == 0
    assert "cells measured in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "device", "status"),
    [([], "cuda", 7), (["--no-tests"], "cuda", 0), ([], "cpu", 0)],
)
def test_gpu_tests_come_first_and_their_status_is_the_commands(
    tmp_path, monkeypatch, words, device, status
):
    monkeypatch.setattr(gpu_tests, "run_gpu_tests", lambda log, limit_s: 7)
    monkeypatch.setattr(reference, "measured", lambda *given, **named: iter(()))
    options = reference.parser().parse_args(["--out", str(tmp_path), *words])
    clock = reference.Clock(limit_s=60, now=lambda: 1.0)
    assert reference.run_steps(options, Setting(), device=device, clock=clock) == status


@pytest.mark.parametrize("look", [[], ["--look"]])
def test_a_data_set_that_is_not_there_is_said_before_anything_runs(tmp_path, look):
    camvid = ["--dataset", "camvid", "--out", str(tmp_path / "out"), "--device", "cpu", *look]
    with pytest.raises(ValueError, match="data set 'camvid' is read from files; pass --root"):
        reference.main(camvid)
    with pytest.raises(ValueError, match="train is missing; camvid is expected as"):
        reference.main([*camvid, "--root", str(tmp_path)])
