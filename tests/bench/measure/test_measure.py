"""Readings of cells in other number formats and implementations."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ann.catalogue import NETWORKS
from ann.spec import BlockSpec, Size, UnavailableError
from bench.measure import cpu_timer, measure
from bench.predict.predict import predict_cell
from bench.records.record import ToolCount
from bench.run import job_records
from bench.workloads import workload
from experiments.paper import table1
from experiments.spec import Cell, MachineCheck, OwnModule
from tests.standing_in import stand_in

SPEC = BlockSpec(channels=16, key_channels=8)
APNB = BlockSpec(channels=16, key_channels=8, sampler="pyramid-average", grids=(1, 3))


def cell(**changes):
    fields = {"probes": (), "subject": SPEC, "size": Size(width=24, height=17), **changes}
    return Cell(experiment="x", axes={"block": "a"}, **fields)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("implementation", ["sdpa", "sdpa-math", "chunked", "compiled"])
def test_an_implementation_does_the_products_of_the_plain_block(implementation, mode):
    plain = predict_cell(cell(mode=mode)).counts
    found = predict_cell(cell(mode=mode, implementation=implementation)).counts
    again = 24 * 17 * 24 * 17 * 8  # going back, the similarity is computed again
    is_again = mode == "train" and implementation in ("sdpa", "chunked")
    assert found.macs == plain.macs + (again if is_again else 0)
    assert found.parameters == plain.parameters


def test_the_fast_path_does_less_and_its_count_agrees_with_the_second_opinion():
    plain = predict_cell(cell(subject=APNB)).counts
    fast = predict_cell(cell(subject=APNB, implementation="fast")).counts
    assert fast.macs < plain.macs
    assert fast.analytic_macs is None
    assert plain.analytic_macs == plain.macs
    assert fast.fvcore_macs == fast.small_macs


def test_what_is_compiled_is_predicted_as_its_source():
    for compiled, source in (("compiled", "plain"), ("fast-compiled", "fast")):
        found, expected = (
            predict_cell(cell(implementation=one)).predicted for one in (compiled, source)
        )
        assert found == expected


def test_a_runtime_of_its_own_has_no_prediction_of_memory():
    found = predict_cell(cell(implementation="onnxruntime"))
    assert found.predicted is None
    assert found.counts == predict_cell(cell()).counts.model_copy(
        update={"analytic_macs": None, "paper_operations": None}
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"dtype": "bfloat16"}, None),
        ({"dtype": "autocast-bfloat16"}, "cpu"),
        ({"dtype": "autocast-bfloat16", "device": "cuda"}, "cuda"),
        ({"implementation": "sdpa"}, "cpu"),
        ({"implementation": "sdpa-efficient", "device": "cuda"}, "cuda"),
    ],
)
def test_a_prediction_says_whose_rules_it_follows(changes, expected):
    assert predict_cell(cell(**changes), "cpu").predicted.device == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dtype": "tf32", "device": "cpu"}, "tf32 is a format of NVIDIA GPUs"),
        (
            {"implementation": "sdpa-efficient", "device": "cpu"},
            "sdpa-efficient: torch has no such",
        ),
        ({"implementation": "sdpa-cudnn"}, "attention on cuda: what is forced has no kernel"),
        ({"implementation": "sdpa-flash", "device": "cuda"}, "attention on cuda: what is forced"),
    ],
)
def test_what_the_meant_device_lacks_is_unavailable(changes, reason):
    with pytest.raises(UnavailableError, match=reason):
        predict_cell(cell(**changes), "cpu")


@pytest.mark.parametrize("changes", [{"dtype": "tf32"}, {"implementation": "sdpa-efficient"}])
def test_what_the_processor_lacks_is_predicted_for_cuda(changes):
    assert predict_cell(cell(**changes), "cpu").predicted.device == "cuda"


def test_a_prediction_that_is_unavailable_is_a_record_that_says_so():
    asked = cell(dtype="tf32", device="cpu")
    made = job_records.predicted_record(asked, job_records.environment_of("meta", asked))
    assert made.failure.kind == "unavailable"
    assert made.failure.reason.startswith("tf32 is a format")


def test_the_kernel_that_ran_is_read_with_time_and_memory():
    found = measure.measure_cell(
        cell(implementation="sdpa", probes=("timing",), budget_s=0.01), "cpu"
    )
    assert found.kernels == ("_scaled_dot_product_flash_attention_for_cpu",)
    assert found.timings


@pytest.mark.parametrize("subject", [SPEC, APNB, NETWORKS["mmseg/nl-r50"]])
def test_what_is_timed_has_no_weight_at_zero(subject, monkeypatch):
    seen = []
    monkeypatch.setattr(cpu_timer, "time_cpu", lambda work, **_: seen.append(work.module) or ())
    asked = cell(subject=subject, size=Size(width=33, height=33), probes=("timing",))
    measure.measure_cell(asked, "cpu")
    assert all(weight.any() for weight in seen[0].parameters())


class Unusual(torch.nn.Module):
    """A layer that learns its width in its first call, and weights that hold nothing."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.LazyConv2d(4, 1)
        self.none = torch.nn.Parameter(torch.empty(0, 3))
        self.narrow = torch.nn.Parameter(torch.empty(3, 0))

    def forward(self, x):
        return self.layer(x)


def test_lazy_and_empty_weights_are_counted_and_timed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lazy", SimpleNamespace(made=lambda channels: Unusual()))
    asked = cell(subject=OwnModule(factory="lazy:made", channels=16), budget_s=0.01)
    found = predict_cell(asked)
    assert found.counts.parameters == 16 * 4 + 4
    assert found.predicted.parameter_bytes == 512 * 2  # what the allocator hands out for two
    assert measure.measure_cell(replace(asked, probes=("timing",)), "cpu").timings


def test_weights_that_a_first_call_casts_stand_before_the_one_that_is_meant(monkeypatch):
    wide = SimpleNamespace(made=lambda channels: torch.nn.Conv2d(channels, 4096, 1, bias=False))
    monkeypatch.setitem(sys.modules, "wide", wide)
    asked = cell(
        subject=OwnModule(factory="wide:made", channels=512),
        size=Size(width=1, height=1),
        dtype="autocast-bfloat16",
    )
    casts = 2 * 512 * 4096
    for aim in ("cpu", "cuda"):
        found = predict_cell(asked, aim).predicted
        assert found.increment_bytes < casts < found.peak_bytes


def test_training_what_has_no_gradient_says_so(monkeypatch):
    stand_in(monkeypatch, workload, "build_subject", lambda _: torch.nn.ReLU())
    with pytest.raises(ValueError, match="no output depends on a parameter.*--mode eval"):
        predict_cell(cell(mode="train"))
    with pytest.raises(ValueError, match="no output depends on a parameter.*--mode eval"):
        measure.measure_cell(cell(mode="train", probes=("timing",)), "cpu")


def test_plain_blocks_are_not_run_again_for_a_kernel():
    assert measure.measure_cell(cell(probes=("timing",), budget_s=0.01), "cpu").kernels == ()


def test_a_kernel_that_is_not_there_ends_the_cell():
    with pytest.raises(UnavailableError, match="sdpa-efficient: torch has no such"):
        measure.measure_cell(cell(implementation="sdpa-efficient", probes=("timing",)), "cpu")


def test_under_the_papers_protocol_the_prediction_is_of_what_ran_before_too():
    asked = [one for one in table1.EXPERIMENT.cells if one.protocol == "paper"]
    mebi = {
        (one.axes["block"], one.axes["size"]): predict_cell(one).predicted.paper_bytes / 2**20
        for one in asked
    }
    assert {row: round(value, 2) for row, value in mebi.items()} == {
        ("apnb-concat", "96x96"): 150.01,
        ("nb", "96x96"): 609.01,
        ("apnb-concat", "256x128"): 277.00,
        ("nb", "256x128"): 7797.00,
    }


def test_under_the_papers_protocol_twenty_calls_are_timed_and_no_memory_of_a_processor():
    found = measure.measure_cell(cell(protocol="paper", size=Size(width=8, height=8)), "cpu")
    (timing,) = found.timings
    assert (timing.clock, len(timing.samples_s)) == ("wall", 20)
    assert found.memory is None


def test_each_operator_of_a_profiled_block_has_a_sample_of_each_call():
    found = measure.measure_cell(cell(probes=("operations",)), "cpu").operations
    assert {"matmul", "softmax"} <= {one.group for one in found}
    assert {len(one.samples_s) for one in found} == {5}


def test_other_counters_are_asked_where_they_are_the_probe(monkeypatch):
    told = (ToolCount(tool="own", unit="MAC", reason="not asked"),)
    monkeypatch.setattr(measure.other_counters, "count_with_other_tools", lambda cell: told)
    check = MachineCheck(
        experiment="x", axes={}, subject=SPEC, size=Size(width=4, height=4), reads="counters"
    )
    assert measure.measure_cell(check, "cpu").counters == told


@pytest.mark.parametrize("words", measure.NO_COMPILER)
def test_a_compiler_that_does_not_work_is_unavailable(words):
    def call():
        msg = f"{words}: g++ is not there"
        raise RuntimeError(msg)

    with pytest.raises(UnavailableError, match=r"install a C\+\+ compiler"):
        measure._compile(call)


def test_an_error_of_what_is_compiled_stays_what_it_is():
    def call():
        msg = "sizes of tensors must match"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="sizes of tensors"):
        measure._compile(call)


@pytest.mark.slow
def test_a_process_says_that_a_kernel_is_unavailable():
    asked = cell(implementation="sdpa-efficient", probes=("timing",))
    made = job_records.measured_record(asked, job_records.environment_of("cpu", asked))
    assert made.failure.kind == "unavailable"
    assert made.implementation == "sdpa-efficient"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the compiler is found by CXX here")
def test_without_a_compiler_compiled_code_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    asked = cell(implementation="compiled", probes=("timing",))
    made = job_records.measured_record(asked, job_records.environment_of("cpu", asked))
    assert made.failure.kind == "unavailable"
    assert "install a C++ compiler" in made.failure.reason


def test_the_environment_of_a_gpu_has_the_precision_of_the_cell(monkeypatch):
    here = job_records.environment_of("cpu", cell())
    monkeypatch.setattr(job_records, "_describe", lambda device: here)
    for dtype, expected in (("tf32", "tf32"), ("float32", "ieee")):
        flags = job_records.environment_of("cuda", cell(dtype=dtype)).flags
        assert (flags["matmul_precision"], flags["conv_precision"]) == (expected, expected)
    assert job_records.environment_of("cuda", cell(dtype="bfloat16")).flags == here.flags


def test_ids_of_plain_cells_are_those_of_before():
    assert cell().id != cell(implementation="sdpa").id
    assert cell(dtype="tf32").id != cell().id
