"""Predicted peaks against the measured table, and the measuring protocols with stand-ins."""

import subprocess
import sys
from collections import deque

import pytest
import torch
from torch import nn

from ann import build
from bench.measure import memory
from bench.predict import live_memory
from bench.predict.live_memory import Meter, rounded
from tests.bench.predict.naive import naive

MIB = 2**20
PYRAMID = (1, 3, 6, 8)


def predicted(module, *shape, mode="eval"):
    return live_memory.predict_memory(
        module.to("meta"), (torch.empty(shape, device="meta"),), mode=mode
    )


def on_meta(factory):
    with torch.device("meta"):
        return factory()


@pytest.mark.parametrize(
    ("grids", "shape", "mode", "mib"),
    [
        ((), (128, 256), "eval", 8288.00),
        ((), (128, 256), "train", 12642.01),
        ((), (64, 128), "eval", 536.00),
        ((), (64, 128), "train", 858.01),
        (PYRAMID, (128, 256), "eval", 333.96),
        (PYRAMID, (128, 256), "train", 450.22),
    ],
)
def test_increments_of_the_naive_blocks(grids, shape, mode, mib):
    found = predicted(naive(grids), 1, 2048, *shape, mode=mode)
    assert round(found.increment_bytes / MIB, 2) == mib


def test_totals_of_the_naive_block_to_the_byte():
    block = naive()
    peaks = [
        predicted(block, 1, 2048, 128, 256, mode=mode).peak_bytes for mode in ("eval", "train")
    ]
    assert peaks == [8_967_433_216, 13_532_942_336]


@pytest.mark.parametrize(
    ("name", "mode", "mib"),
    [
        # Query, key and value are 3 x 32 MiB here too, and two maps of 4096 stand at the peak.
        ("nb", "eval", 8288.0),
        # The norms keep the outputs of both convolutions beside query and key: 64 MiB more than the
        # naive block, and their statistics.
        ("nb", "train", 12706.01),
        # The output (256), query and mixed values (2 x 32), map (13.75), samples: the naive block's.
        ("apnb", "eval", 333.96),
        # Both convolutions' and both ReLUs' outputs and the value are kept (160), of the naive block key
        # and value (64).
        ("apnb", "train", 546.23),
    ],
)
def test_increments_of_the_named_blocks(name, mode, mib):
    found = predicted(on_meta(lambda: build.block(name)), 1, 2048, 128, 256, mode=mode)
    assert round(found.increment_bytes / MIB, 2) == mib


def test_the_live_set_is_the_increment():
    found = predicted(on_meta(lambda: build.block("nb")), 1, 2048, 24, 32)
    assert sum(tensor.size_bytes for tensor in found.live) == found.increment_bytes
    assert sum(found.by_module.values()) == found.increment_bytes
    assert found.peak_bytes == found.increment_bytes + found.input_bytes + found.parameter_bytes


def test_the_peak_names_operator_module_and_shape():
    found = predicted(on_meta(lambda: build.block("nb")), 1, 2048, 128, 256)
    assert found.peak_operator == "aten.mul"
    assert [tensor.operator for tensor in found.live[:2]] == ["aten.bmm", "aten.mul"]
    assert found.live[0].shape == (1, 128 * 256, 128 * 256)
    assert {"value", "key.relu"} <= set(found.by_module)


def test_what_the_backward_pass_makes_is_called_so():
    found = predicted(on_meta(lambda: build.block("nb")), 1, 2048, 128, 256, mode="train")
    assert found.peak_operator == "aten._softmax_backward_data"
    assert found.by_module["(backward)"] > 2 * 4096 * MIB


def test_half_the_bytes_a_number_is_half_the_memory():
    whole, half = (
        live_memory.predict_memory(
            naive().to(dtype),
            (torch.empty(1, 2048, 64, 128, device="meta", dtype=dtype),),
            mode="eval",
        )
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.increment_bytes * 2 == whole.increment_bytes


def test_a_size_is_rounded_up_to_512_bytes():
    assert [rounded(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]


def test_views_cost_nothing_and_what_is_dropped_is_free_again():
    meter = Meter()
    with meter:
        x = torch.empty(1024, device="meta")
        view = x.view(32, 32).mT
        assert meter.live_bytes == 4096
        del x
        assert meter.live_bytes == 4096
        del view
    assert (meter.live_bytes, meter.peak_bytes) == (0, 4096)


class Table(nn.Module):
    """A table that is no buffer, read through a view, and one that the first call makes."""

    def __init__(self):
        super().__init__()
        self.table, self.weight = torch.ones(2**20), nn.Parameter(torch.ones(2**10))
        self.made = None

    def forward(self, x):
        if self.made is None:
            self.made = self.weight.detach() * torch.tensor(2.0)
        return x + self.table[: 2**10] * self.made * self.weight


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_tensors_of_a_module_stand_whatever_they_are(mode):
    def need(make):
        x = torch.empty(2**10, device="meta")
        return live_memory.predict_memory(on_meta(make), (x,), mode=mode)

    found = need(Table)
    assert found.peak_bytes - found.increment_bytes == 2**22 + 3 * 2**12
    most = 6 * 2**12  # of short lines
    assert found.increment_bytes <= most


def test_a_weight_that_a_first_call_made_is_trained():
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.made = nn.Parameter(torch.ones(8)), None

        def forward(self, x):
            self.made = self.weight * 2 if self.made is None else self.made
            return x * self.made

    found = live_memory.predict_memory(
        on_meta(Kept), (torch.empty(8, device="meta"),), mode="train"
    )
    assert found.increment_bytes > 0


def test_a_hook_that_stays_would_show_in_the_module():
    block = on_meta(lambda: build.block("nb", channels=8, key_channels=4))
    predicted(block, 1, 8, 4, 4)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in block.modules())


def test_predicting_puts_gradients_and_mode_back():
    block = on_meta(lambda: build.block("nb", channels=8, key_channels=4)).eval()
    predicted(block, 1, 8, 4, 4, mode="train")
    assert not block.training
    assert all(parameter.grad is None for parameter in block.parameters())


class FakeCuda:
    """An allocator with a workspace of its own, and a driver that gives 2 MiB pages."""

    def __init__(self):
        self.current = {"requested": 1000, "allocated": 1024, "reserved": 2 * MIB}
        self.peak = {"requested": 99 * MIB, "allocated": 99 * MIB, "reserved": 99 * MIB}
        self.free = 500 * MIB
        self.log = []

    def synchronize(self):
        self.log.append("synchronize")

    def empty_cache(self):
        self.log.append("empty_cache")

    def reset_peak_memory_stats(self):
        self.log.append("reset")
        self.peak = dict(self.current)

    def memory_stats(self):
        return {f"{kind}_bytes.all.current": size for kind, size in self.current.items()} | {
            f"{kind}_bytes.all.peak": size for kind, size in self.peak.items()
        }

    def mem_get_info(self):
        return self.free, 1000 * MIB

    def work(self):
        self.log.append("work")
        for kind, size in (("requested", 700), ("allocated", 1024), ("reserved", 4 * MIB)):
            self.peak[kind] = max(self.peak[kind], self.current[kind] + size)
        if self.log.count("reset"):
            self.free -= 4 * MIB


def test_cuda_reads_the_rise_over_the_base_of_one_call_after_warm_ones():
    cuda = FakeCuda()
    found = memory.measure_cuda(cuda.work, cuda, others=0)
    assert (found.requested_bytes, found.allocated_bytes) == (700, 1024)
    assert (found.reserved_bytes, found.driver_bytes) == (4 * MIB, 4 * MIB)
    assert found.high_water_bytes is None
    assert cuda.log == [
        *["work"] * memory.WARM_CALLS,
        "synchronize",
        "empty_cache",
        "reset",
        "work",
        "synchronize",
    ]


@pytest.mark.parametrize("others", [2, None])
def test_the_drivers_bytes_are_left_out_where_others_may_have_taken_them(others):
    cuda = FakeCuda()
    found = memory.measure_cuda(cuda.work, cuda, others=others)
    assert (found.requested_bytes, found.driver_bytes) == (700, None)


def test_cpu_reads_the_high_water_mark_of_a_second_call_over_what_was_resident(
    tmp_path, monkeypatch
):
    status = tmp_path / "status"
    status.write_text("VmHWM:\t  9999 kB\nVmRSS:\t  1000 kB\n")
    monkeypatch.setattr(memory, "NOTHING_KEPT", {})
    marks = deque((1900, 1500))
    work = lambda: status.write_text(f"VmHWM:\t  {marks.popleft()} kB\nVmRSS:\t  1000 kB\n")
    found = memory.measure_cpu(work, tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert found.high_water_bytes == 500 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is read from /proc")
def test_a_long_call_is_made_once_and_read_itself(tmp_path, monkeypatch):
    status = tmp_path / "status"
    status.write_text("VmHWM:\t  9999 kB\nVmRSS:\t  1000 kB\n")
    marks = deque((1900,))
    work = lambda: status.write_text(f"VmHWM:\t  {marks.popleft()} kB\nVmRSS:\t  1000 kB\n")
    monkeypatch.setattr(memory, "NOTHING_KEPT", {})
    monkeypatch.setattr(memory, "LONG_CALL_S", 0.0)
    assert memory.measure_cpu(work, tmp_path).high_water_bytes == 900 * 1024


def test_cpu_without_a_mark_to_reset_has_no_reading_and_makes_no_call(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "NOTHING_KEPT", {})
    calls = deque()
    found = memory.measure_cpu(lambda: calls.append(1), tmp_path / "absent")
    assert (found.high_water_bytes, len(calls)) == (None, 0)


FRESH = """
import torch
from bench.measure import memory

def work():
    torch.ones(64 * 2**20 // 4)

print(memory.measure_memory(work, device="cpu").high_water_bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is read from /proc")
def test_cpu_sees_a_real_allocation_in_a_process_of_its_own():
    # In a process that has freed much, an allocation may be served from what it kept.
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("/proc/self/clear_refs can't be written here")
    assert int(done.stdout) == pytest.approx(64 * MIB, abs=MIB)


def test_meta_can_not_be_measured():
    with pytest.raises(ValueError, match="device 'meta'.*pass cpu or cuda"):
        memory.measure_memory(lambda: None, device="meta")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_requested_bytes_are_at_least_what_was_predicted(mode):
    from ann.catalogue import BLOCKS
    from ann.spec import Size
    from bench.workloads import workload
    from experiments.spec import Cell

    cell = Cell(
        experiment="test", axes={}, subject=BLOCKS["nb"], size=Size(height=48, width=64), mode=mode
    )
    work = workload.make_workload(cell, "cuda")
    found = memory.measure_memory(work, device="cuda")
    made = workload.make_workload(cell, "meta")
    foreseen = live_memory.predict_memory(made.module, made.inputs, mode=mode)
    workspace = 128 * MIB
    assert found.requested_bytes >= 0.95 * foreseen.increment_bytes
    assert found.requested_bytes <= foreseen.increment_bytes + workspace
    assert found.allocated_bytes >= found.requested_bytes


def test_a_record_is_made_of_what_is_live_at_the_peak_alone(monkeypatch):
    made = []
    live_tensor = live_memory.LiveTensor
    monkeypatch.setattr(
        live_memory, "LiveTensor", lambda **row: made.append(row) or live_tensor(**row)
    )
    block = on_meta(lambda: nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(9))))
    outcome = predicted(block, 1, 4, 16, 16, mode="train")
    assert len(made) == len(outcome.live) > 0


def test_what_was_live_at_the_peak_is_listed_when_it_is_gone_in_the_order_in_which_it_was_made():
    with Meter() as meter:
        first = torch.ones(1024, device="meta")
        second = first + first
        third = torch.cat([first, second])
        del second
        fourth = torch.ones(256, device="meta")
        del first
        assert meter.live_bytes < meter.peak_bytes
    operators = [tensor.operator for tensor in meter.peak_live]
    assert operators == ["aten.ones", "aten.add", "aten.cat"]
    assert sum(tensor.size_bytes for tensor in meter.peak_live) == meter.peak_bytes
    del third, fourth
