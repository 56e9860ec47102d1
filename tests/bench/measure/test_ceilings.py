"""What a machine reaches, on copies and products that are small enough for tests."""

from dataclasses import replace

import pytest
import torch

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench import ablations, efficiency
from bench.analysis import roofline
from bench.measure import ceilings, measure
from bench.records.record import Timing
from bench.run import runner
from experiments import machine as asked
from experiments.spec import Cell, Experiment
from reports import console
from tests.standing_in import stand_in


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(ceilings, "BUDGETS_S", {"copy": 0.02, "product": 0.02})
    monkeypatch.setattr(ceilings, "LARGEST", 64)
    monkeypatch.setattr(ceilings, "SMALLEST", 64)
    monkeypatch.setitem(ceilings.COPY_BYTES, "cpu", 2**16)


def test_a_copy_counts_bytes_read_and_written():
    found = ceilings.copy("cpu")
    assert (found.kind, found.amount) == ("copy", 2 * 2**16)
    assert min(found.timing.samples_s) > 0


def test_a_product_counts_two_flops_a_mac():
    found = ceilings.product("float32", "cpu", largest=64)
    assert (found.kind, found.dtype, found.amount) == ("product", "float32", 2 * 64**3)


def test_matrices_grow_until_a_product_takes_long_enough(monkeypatch):
    seconds = {64: 0.001, 128: 0.002, 256: 0.006, 512: 0.1}
    monkeypatch.setattr(ceilings, "_seconds", lambda work, device: seconds[len(work.args[0])])
    side, _ = ceilings._grown("float32", "cpu", largest=512)
    assert side == 256


def test_matrices_grow_no_further_than_the_largest(monkeypatch):
    monkeypatch.setattr(ceilings, "_seconds", lambda work, device: 0.0)
    assert ceilings._grown("float32", "cpu", largest=128)[0] == 128


def test_a_format_that_a_device_lacks_says_so():
    found = ceilings.product("tf32", "cpu")
    assert found.timing is None
    assert "tf32 is a format of NVIDIA GPUs" in found.reason


def test_a_product_that_the_device_refuses_says_why(monkeypatch):
    def refuse(*_, **__):
        msg = '"addmm_impl_cpu_" not implemented\nfor Half'
        raise RuntimeError(msg)

    monkeypatch.setattr(torch, "mm", refuse)
    assert ceilings.product("float16", "cpu").reason == '"addmm_impl_cpu_" not implemented'


def test_a_run_begins_with_one_copy_and_a_product_in_each_format():
    found = measure.measure_cell(asked.CELL, "cpu").ceilings
    assert [(one.kind, one.dtype) for one in found] == [
        ("copy", "float32"),
        *(("product", dtype) for dtype in ceilings.FORMATS["cpu"]),
    ]
    assert roofline.measured_ceilings(found).bandwidth > 0


def test_a_gpu_is_timed_by_events_alone(monkeypatch):
    hot, wall = (Timing(clock=clock, samples_s=(1.0,)) for clock in ("cuda-events", "wall"))
    monkeypatch.setattr(
        ceilings.cuda_timer,
        "time_cuda",
        lambda work, *, budget_s, graph: () if graph else (hot, wall),
    )
    assert ceilings._time(lambda: None, "cuda", budget_s=1.0) == hot


def cell(**fields):
    usual = {"axes": {}, "subject": BLOCKS["nb"], "size": Size(width=1, height=1)}
    return Cell(experiment="e", **usual | fields)


def test_the_ceilings_come_first():
    cells = (cell(), cell(seed=1))
    assert asked.first(cells) == (asked.CELL, *cells)


@pytest.mark.parametrize(
    "cells",
    [(), (cell(budget_s=1.0), cell(budget_s=1.0)), (cell(probes=("memory",)),)],
    ids=["nothing", "shorter than they", "nothing timed"],
)
def test_a_run_that_times_less_than_they_take_goes_without(cells):
    assert asked.first(cells) == cells


@pytest.fixture
def measured(monkeypatch):
    """Cells that a command would measure; predictions are real."""
    seen, real = [], runner.run_cells

    def run(cells, out, *, source, **options):
        if source == "predicted":
            yield from real(cells, out, source=source, **options)
        seen.extend(cell for cell in cells if source == "measured")

    stand_in(monkeypatch, runner, "run_cells", run)
    return seen


TINY = ["--channels", "8", "--key-channels", "4", "--size", "9x7", "--block", "nb"]


def test_efficiency_measures_the_machine_after_its_first_table(measured, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(console, "show", lambda tables: shown.append((len(tables), len(measured))))
    efficiency.main([*TINY, "--device", "cpu", "--out", str(tmp_path)])
    assert [cell.experiment for cell in measured] == ["ceilings", "efficiency"]
    assert shown[0] == (1, 0)


def test_efficiency_measures_nothing_on_meta(measured, tmp_path):
    efficiency.main([*TINY, "--device", "meta", "--out", str(tmp_path)])
    assert measured == []


def test_an_experiment_begins_with_the_machine(measured, tmp_path):
    small = replace(cell(axes={"block": "nb"}), size=Size(width=4, height=4))
    options = ablations.parser().parse_args(["--device", "cpu", "--out", str(tmp_path)])
    ablations.run_experiments([Experiment(name="e", question="?", cells=(small,))], options)
    assert measured == [asked.CELL, small]


def test_predicting_measures_nothing(measured, tmp_path, capsys):
    assert efficiency.main([*TINY, "--predict", "h200", "--out", str(tmp_path)]) == 0
    assert measured == []
    assert "H200 SXM" in capsys.readouterr().out


def test_predictions_can_be_had_as_markdown(tmp_path, capsys):
    efficiency.main([*TINY, "--predict", "--format", "markdown", "--out", str(tmp_path)])
    assert "| V100 SXM2, floor, predicted (ms) |" in capsys.readouterr().out


def test_an_unknown_device_ends_before_torch_is_loaded(tmp_path):
    with pytest.raises(ValueError, match="unknown device 'a100'; did you mean 'a100-"):
        efficiency.main([*TINY, "--predict", "a100", "--out", str(tmp_path)])


def test_predicting_does_not_go_with_the_papers_protocol(tmp_path):
    with pytest.raises(ValueError, match="--predict knows no protocol of the paper's"):
        efficiency.main([*TINY, "--predict", "--protocol", "paper", "--out", str(tmp_path)])


def test_predicting_does_not_go_with_comparing():
    with pytest.raises(ValueError, match="--predict does not go with --compare"):
        efficiency.main(["--compare", "nb", "apnb", "--predict", "h200"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_multiplies_faster_in_bfloat16_than_in_float32(monkeypatch):
    monkeypatch.setattr(ceilings, "SMALLEST", 2048)
    rates = [
        roofline.ceiling_rate(ceilings.product(dtype, "cuda", largest=2048))
        for dtype in ("bfloat16", "float32")
    ]
    assert rates[0] > 2 * rates[1]
