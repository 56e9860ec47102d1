"""Every kind of cell on a pretended GPU, of fake tensors, and on a real GPU; and the command that looks at them."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ann import build
from ann.catalogue import BLOCKS, NETWORKS
from ann.implementations import implement
from ann.spec import BlockSpec, Size, UnavailableError
from bench import look
from bench.measure import collect, cuda_timer, exactness, memory
from bench.measure import measure as readings
from bench.measure.cuda_stream import TorchGpu
from bench.predict import live_memory
from bench.predict.fake import tensor
from bench.predict.predict import make_fake
from bench.records.record import MeasuredMemory
from bench.run import process
from bench.workloads import unswitched, workload
from experiments import reference
from experiments.spec import Cell
from experiments.training import Setting
from tests.host import HostTraffic, traffic
from tests.pretended_gpu import PretendedGpu
from tests.standing_in import stand_in

KINDS = look.kinds("cuda")
# The modes that stand for the GPU are not what a compiler can see through; ONNX Runtime is the processor's.
RUN = [
    cell
    for cell in KINDS
    if not reference.is_compiled(cell) and cell.implementation != "onnxruntime"
]
CLOCKS = ["cuda-events", "cuda-events", "wall", "cuda-graph"]
# What a processor has no kernel for.
LACKING = ("sdpa-efficient", "sdpa-cudnn", "triton")
# What a processor's operators leave out: the random state of fused attention, and in inference the
# statistics that a batch norm keeps for going back.
BESIDE_BYTES = {"block": 2048, "network": 2 * 4 * 2048}


def narrow(cell):
    """The kind with few channels, which is quick on a processor."""
    if not isinstance(cell.subject, BlockSpec):
        return cell
    small = replace(cell.subject, channels=32, key_channels=16)
    return replace(cell, subject=small, size=Size(width=23, height=17))


def ids(cells):
    return [look.name(cell) for cell in cells]


def test_kinds_are_blocks_by_implementation_mode_format_protocol_and_probe():
    assert len(KINDS) == len(set(ids(KINDS))) == 115
    assert {cell.implementation for cell in KINDS} == {
        cell.call.implementation for step in reference.steps(Setting()) for cell in step.cells
    }
    assert ids(KINDS)[0] == "nb eval float32"
    assert reference.is_compiled(KINDS[-1])


BLOCKS_RUN = [cell for cell in RUN if isinstance(cell.subject, BlockSpec)]


# Each way to compute a block in float32, and one block in each format; the rest takes a minute.
PARTED = [
    cell
    if cell.dtype == "float32" or look.name(cell).startswith("apnb ")
    else pytest.param(cell, marks=pytest.mark.slow)
    for cell in BLOCKS_RUN
]


@pytest.mark.parametrize("cell", PARTED, ids=ids(BLOCKS_RUN))
def test_each_kind_of_block_runs_on_a_pretended_gpu(cell, monkeypatch):
    read_briefly(monkeypatch)
    check_on_pretended_gpu(narrow(cell))


@pytest.mark.slow
@pytest.mark.parametrize("cell", [cell for cell in RUN if cell not in BLOCKS_RUN])
def test_each_kind_of_network_runs_on_a_pretended_gpu(cell):
    check_on_pretended_gpu(cell)


def read_briefly(monkeypatch):
    """Two readings of each clock: what is asked here is whether a kind runs, not how long it takes."""
    monkeypatch.setattr(collect, "collect_samples", partial(collect.collect_samples, most=2))
    monkeypatch.setattr(cuda_timer, "WARM_SHARE", 0.0)


def check_on_pretended_gpu(cell):
    with PretendedGpu().installed() as gpu:
        if cell.implementation in LACKING:
            with pytest.raises(UnavailableError):
                readings.measure_cell(cell, "cuda")
            return
        found = readings.measure_cell(cell, "cuda")
    assert gpu.stream == "default stream"
    if cell.protocol == "paper":
        assert [one.clock for one in found.timings] == ["wall"]
        assert found.memory.paper_bytes > 0
        return
    if "timing" in cell.probes:
        assert [one.clock for one in found.timings] == CLOCKS
        assert [one.notes for one in found.timings] == [()] * 4
    if "memory" in cell.probes:
        kind = "block" if isinstance(cell.subject, BlockSpec) else "network"
        assert 0 <= predicted_bytes(cell) - found.memory.requested_bytes <= BESIDE_BYTES[kind]


def predicted_bytes(cell):
    """By the rules of the processor, on which the pretended GPU computes."""
    with tensor.on("cpu"):
        work = make_fake(cell, "cpu")
        predicted = live_memory.predict_memory(
            work.module, work.inputs, mode=cell.mode, numbers=work.numbers
        )
    return predicted.increment_bytes


ARMS = [
    (name, implementation, mode)
    for name in BLOCKS
    for implementation in ("plain", "fast", "sdpa", "chunked", "triton")
    for mode in ("eval", "train")
    if name != "common-fusion" or implementation in ("plain", "fast")
    if implementation != "triton" or name.startswith(("apnb", "afnb"))
]


@pytest.mark.parametrize(("name", "implementation", "mode"), ARMS)
def test_no_arm_copies_from_the_host_or_waits(name, implementation, mode):
    low = 8 if BLOCKS[name].is_fusion else None
    subject = replace(BLOCKS[name], channels=32, key_channels=16, low_channels=low)
    cell = arm(subject, implementation, mode)
    with tensor.on("cuda"):
        assert traffic(make_fake(cell, "cuda")) == []


@pytest.mark.parametrize("name", ["official/ann-r101", "denseaspp/161", "mmseg/dnl-r50"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_no_network_copies_from_the_host_or_waits(name, mode):
    work = workload.make_workload(arm(NETWORKS[name], "plain", mode, size=look.IMAGE), "meta")
    assert traffic(work) == []


def arm(subject, implementation, mode, size=None):
    return Cell(
        experiment="test",
        axes={},
        subject=subject,
        size=size or Size(width=23, height=17),
        implementation=implementation,
        mode=mode,
        batch=2,
    )


@pytest.mark.skipif(
    torch.version.cuda is None, reason="this torch knows no CUDA tensors, not even fake ones"
)
@pytest.mark.parametrize("implementation", ["plain", "fast", "sdpa", "chunked"])
@pytest.mark.parametrize("name", ["nb", "apnb", "apnb-bottleneck", "afnb", "dnl"])
def test_no_arm_copies_from_the_host_on_fake_cuda_tensors(name, implementation):
    low = {"low_channels": 8} if BLOCKS[name].is_fusion else {}
    with FakeTensorMode(), torch.device("cuda"), torch.no_grad():
        block = build.block(name, channels=32, key_channels=16, **low).eval()
        widths = (32, *low.values())
        inputs = [torch.empty(1, width, 17, 23) for width in widths]
        # Fake weights can't be copied, as inference would; training shares them.
        made = implement(block, implementation, "training")
        with HostTraffic() as watched:
            made(*inputs)
    assert watched.seen == []


@pytest.fixture
def two_kinds(monkeypatch):
    cells = [narrow(KINDS[0]), narrow(next(one for one in KINDS if one.dtype == "tf32"))]
    cells = [replace(one, budget_s=0.05) for one in cells]
    monkeypatch.setattr(look, "kinds", lambda device: tuple(cells))
    monkeypatch.setattr(
        look, "_train", lambda setting, device: look.KindResult(what="", reason="trained")
    )
    return cells


def see(tmp_path, left_s=9.0):
    return look.run(tmp_path, Setting(), device="cpu", has_time=lambda: left_s > 0)[0]


def test_looking_says_a_line_for_each_kind_and_a_summary(tmp_path, capsys, two_kinds):
    (tmp_path / look.FILE).write_text("of an earlier look\n")
    assert see(tmp_path) == 0
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.startswith("ok     nb eval float32 ")
    assert "error " in first
    assert second.startswith("lacks  nb eval tf32 ")
    assert third.endswith("trained")
    assert last == "2 right, 0 wrong, 0 failed, 1 not on this device; see look.jsonl"
    lines = [json.loads(line) for line in (tmp_path / look.FILE).read_text().splitlines()]
    assert [line["state"] for line in lines] == ["ok", "lacks", "ok"]
    assert 0 < lines[0]["error"] < 1e-5


def test_kinds_that_time_does_not_reach_are_counted_and_a_training_is_looked_at(
    tmp_path, capsys, two_kinds
):
    assert see(tmp_path, left_s=0.0) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "1 right, 0 wrong, 0 failed, 0 not on this device, 2 not looked at: the time was up; see look.jsonl"
    )


def test_what_fails_is_a_line_and_exit_status_1(tmp_path, capsys, two_kinds, monkeypatch):
    def fail(*_):
        msg = "no kernel image is available"
        raise RuntimeError(msg)

    stand_in(monkeypatch, readings, "measure_cell", fail)
    assert see(tmp_path) == 1
    said = capsys.readouterr().out
    assert "failed nb eval float32" in said
    assert "RuntimeError: no kernel image is available" in said


def refused(*_):
    msg = "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`"
    raise RuntimeError(msg)


def test_what_a_library_refuses_keeps_no_other_kind_from_being_looked_at(
    tmp_path, capsys, two_kinds, monkeypatch
):
    stand_in(monkeypatch, readings, "measure_cell", refused)
    assert see(tmp_path) == 1
    assert "1 right, 0 wrong, 2 failed" in capsys.readouterr().out


def test_a_device_that_is_gone_is_asked_no_more(tmp_path, capsys, two_kinds, monkeypatch):
    stand_in(monkeypatch, readings, "measure_cell", refused)
    stand_in(monkeypatch, process, "tidy_process", lambda: False)
    assert see(tmp_path) == 1
    assert "1 not looked at: the device computes no more" in capsys.readouterr().out


def test_what_is_wrong_is_exit_status_1(tmp_path, capsys, two_kinds, monkeypatch):
    monkeypatch.setattr(
        look, "look", lambda *_: look.KindResult(what="", state="wrong", error=math.inf)
    )
    assert see(tmp_path) == 1
    assert "1 right, 2 wrong" in capsys.readouterr().out


def test_each_kind_begins_with_the_precision_of_the_process():
    backend = torch.backends.cuda.matmul
    before = backend.fp32_precision

    def act():
        backend.fp32_precision = "tf32"
        return look.KindResult(what="")

    assert look._attempt("x", act).state == "ok"
    assert backend.fp32_precision == before


@pytest.mark.parametrize(("after_s", "state"), [(1.1e-5, "ok"), (1.3e-5, "wrong")])
def test_launches_that_are_slower_after_the_profiler_are_wrong(monkeypatch, after_s, state):
    monkeypatch.setattr(look, "_launch_s", lambda: after_s)
    assert look._launches(1e-5).state == state


def test_the_workspace_is_read_with_cudnn_and_without_which_is_on_again_after_it(monkeypatch):
    stand_in(monkeypatch, workload, "make_workload", lambda cell, device: None)
    monkeypatch.setattr(look, "_predicted_bytes", lambda cell: 334 * look.MEBI)

    def measure(work, *, device):
        requested = (590 if torch.backends.cudnn.enabled else 334) * look.MEBI
        return MeasuredMemory(requested_bytes=requested)

    stand_in(monkeypatch, memory, "measure_memory", measure)
    assert (
        look._workspace("apnb").reason
        == "334.0 MiB predicted, 590.0 with cuDNN, 334.0 without cuDNN"
    )
    assert torch.backends.cudnn.enabled


def test_memory_is_told_as_a_share_of_the_prediction(pretended_gpu, monkeypatch):
    read_briefly(monkeypatch)
    seen = look._attempt("x", lambda: look.look(narrow(KINDS[0]), "cuda"))
    assert seen.memory == 1.0


def test_a_wrong_output_is_found(monkeypatch):
    cell = replace(narrow(KINDS[0]), implementation="chunked", budget_s=0.05)
    assert look.look(cell, "cpu").state == "ok"
    mix = look_up_mix()
    monkeypatch.setattr("ann.attention._mix", lambda *given: 1.01 * mix(*given))
    seen = look.look(cell, "cpu")
    assert (seen.state, seen.reason) == (
        "wrong",
        "outputs differ from float64 by more than 0.0001 of the largest",
    )


def test_a_wrong_gradient_is_found(monkeypatch):
    cell = replace(narrow(KINDS[0]), mode="train", implementation="chunked", budget_s=0.05)
    assert look.look(cell, "cpu").state == "ok"
    mix = look_up_mix()
    monkeypatch.setattr("ann.attention._mix", lambda query, *given: mix(query.detach(), *given))
    seen = look.look(cell, "cpu")
    assert (seen.state, seen.reason[:14]) == ("wrong", "gradients diff")


def look_up_mix():
    from ann import attention

    return attention._mix


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
@pytest.mark.parametrize("cell", RUN, ids=ids(RUN))
def test_each_kind_is_right_on_a_real_gpu_and_can_be_captured(cell):
    if cell.protocol == "paper":
        pytest.skip("the released script's procedure is its own")
    try:
        with unswitched():
            error, gradient_error = exactness.float64_errors(cell, "cuda")
            replayed = replay(cell)
    except UnavailableError as error:
        pytest.skip(str(error))
    seen = look.KindResult(what="", error=error, gradient_error=gradient_error)
    assert look._wrong(cell, seen) == ""
    assert replayed


def replay(cell):
    """Whether a graph of the call can be captured and gives what the call gives."""
    work = workload.make_workload(cell, "cuda")
    if cell.mode == "train":
        for _ in range(3):
            work()
        TorchGpu().capture(work)()
        torch.cuda.synchronize()
        return True
    seen = []

    def call():
        with torch.no_grad(), work.numbers():
            seen.append(work.module(*work.inputs))

    with work.numbers():
        for _ in range(3):
            call()
        again = TorchGpu().capture(call)
        for leaf in torch.utils._pytree.tree_leaves(seen[-1]):
            leaf.zero_()
        again()
    torch.cuda.synchronize()
    pairs = zip(*(torch.utils._pytree.tree_leaves(seen[at]) for at in (-2, -1)), strict=True)
    return all(torch.allclose(one, other, rtol=1e-2, atol=1e-2) for one, other in pairs)
