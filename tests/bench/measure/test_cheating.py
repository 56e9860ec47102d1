"""Ways to cheat a timer: each is refused, or shown for what it is; and what only looks like one is left alone."""

import ctypes
import threading
import time

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from ann import build
from bench.compare import turns
from bench.measure import cuda_stream, watched
from bench.measure.cheating import MisleadingCallError, threads, watch
from bench.measure.cpu_timer import probe
from bench.workloads import Workload
from experiments.spec import Cell, OwnModule, Size
from tests.bench.measure.cheats import (
    Block,
    Cached,
    CachedFromTheSecond,
    Constant,
    CountsInBuffer,
    Empty,
    FewCalls,
    HalfResult,
    Infinite,
    InPlace,
    Lazy,
    Named,
    NotANumber,
    OneSize,
    OtherType,
    OtherTypeLate,
    OwnNumbers,
    Promising,
    Random,
    Ruled,
    Skipped,
    Square,
    Table,
    Views,
    WithoutBackward,
    WorksOn,
    WrittenLater,
)
from tests.pretended_gpu import PretendedGpu


def look(module, *, mode="eval", calls=5, device="cpu", size=(2, 4, 6, 5), dtype="float32"):
    """Caveats of so many calls that would be timed."""
    torch.manual_seed(0)
    inputs = (torch.randn(size),)
    work = Workload(module=module.train(mode == "train"), inputs=inputs, mode=mode, dtype=dtype)
    with watched(work, cuda_stream.TorchGpu() if device == "cuda" else None) as caveats:
        for _ in range(calls):
            work()
    return caveats


REFUSED = {
    Cached: "gives the result of an earlier input",
    CachedFromTheSecond: "gives the result of an earlier input",
    FewCalls: "gives another result after many calls, of the same input",
    OtherType: "gives float16 where its first call gave float32",
    OtherTypeLate: "gives float16 where its first call gave float32",
    NotANumber: "gives NaN or infinity where its first call did not",
    Lazy: "gives a LazyTensor, which need not hold its values",
    Empty: "gives a Wrapped, which need not hold its values",
    Promising: "gives a Promise, which need not hold its values",
}


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_a_call_that_its_time_does_not_stand_for_is_refused(kind):
    with pytest.raises(MisleadingCallError, match=f"its time would mislead: it {REFUSED[kind]}"):
        look(kind())


def test_a_gradient_that_is_skipped_is_refused():
    with pytest.raises(MisleadingCallError, match=r"no gradient for conv\.weight any more"):
        look(Skipped(), mode="train")


def test_a_function_without_backward_is_shown():
    assert look(WithoutBackward(), mode="train") == ["has no gradient for weight"]


@pytest.mark.skipif(not threads.TASKS.exists(), reason="only Linux tells what a thread does")
def test_a_thread_that_works_on_is_refused():
    stop = threading.Event()
    try:
        with pytest.raises(
            MisleadingCallError, match="has a thread, 'hidden worker', that works on"
        ):
            look(WorksOn(stop))
    finally:
        stop.set()


def test_a_thread_that_waits_is_left_alone():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert look(Block()) == []
    finally:
        stop.set()
        thread.join()


def test_a_result_that_is_written_after_the_call_is_refused(monkeypatch):
    block = WrittenLater()

    def wait():
        block.pending()

    monkeypatch.setattr(watch, "busy_thread", wait)
    with pytest.raises(MisleadingCallError, match="gives a result that was not there yet"):
        look(block)


SHOWN = {
    nn.Identity: "returns its input",
    nn.Flatten: "returns a view of its input",
    Views: "returns a view of its input",
    InPlace: "changes its input",
    HalfResult: "gives float16, shorter than its input",
    Constant: "gives the same result for another input",
    Infinite: "gives NaN or infinity",
    OwnNumbers: "gives another result each time, of the same input and random numbers",
    CountsInBuffer: "follows its buffers, which calls change",
}


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_what_may_be_but_is_no_usual_call_is_shown(kind):
    assert look(kind()) == [SHOWN[kind]]


LEFT_ALONE = {
    "norm": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)),
    "dropout": lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout2d(0.5)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
    "table": Table,
    "random": Random,
    "ruled": Ruled,
    "apnb": lambda: shaken("apnb", grids=(1, 2)),
    "nl": lambda: shaken("nl"),
    "bottleneck": lambda: shaken("apnb-bottleneck", grids=(1, 2), dropout=0.5),
}


def shaken(name, **changes):
    block = build.block(name, channels=4, key_channels=2, **changes)
    for weight in block.parameters():
        nn.init.normal_(weight)
    return block


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_honest_has_no_caveat(name, mode):
    assert look(LEFT_ALONE[name](), mode=mode) == []


@pytest.mark.parametrize("kind", [Named, Square])
def test_unusual_results_that_follow_their_input_have_no_caveat(kind):
    assert look(kind()) == []


def test_a_block_of_one_size_is_looked_at_in_that_size():
    assert look(OneSize(), size=(1, 4, 128, 128)) == []


def test_long_calls_are_looked_at_on_a_part_of_their_maps(monkeypatch):
    sizes = []

    class Noted(Block):
        def cheat(self, x, out):
            sizes.append(tuple(x.shape[2:]))
            return out

    monkeypatch.setattr(watch, "LONG_CALL_S", 0.0)
    monkeypatch.setattr(watch.time, "perf_counter", lambda: 0.0)
    look(Noted(), size=(1, 4, 128, 64), calls=1)
    assert sizes.count((128, 64)) == 1
    assert set(sizes) == {(32, 16), (128, 64)}


def test_inputs_buffers_and_random_numbers_are_left_as_they_were():
    block, x = Table(), torch.randn(1, 4, 6, 5)
    kept, state = x.clone(), torch.get_rng_state()
    with watched(Workload(module=block, inputs=(x,), mode="eval")):
        assert torch.equal(x, kept)
        assert block.number == 0
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is not there; what it does when it is waited for can be changed."""
    with PretendedGpu().installed():
        yield monkeypatch


class OnSideStream(Block):
    """Of each call the device works on for two milliseconds."""

    works = False

    def cheat(self, x, out):
        self.works = True
        return out

    def wait(self, *_):
        until_s = time.perf_counter() + 2e-3 * self.works
        while time.perf_counter() < until_s:
            self.works = False


def test_work_on_a_side_stream_is_refused(gpu):
    block = OnSideStream()
    gpu.setattr(torch.cuda, "synchronize", block.wait)
    with pytest.raises(MisleadingCallError, match="works on for .* ms on other streams"):
        look(block, device="cuda")


def test_work_that_is_deferred_past_the_last_event_is_refused(gpu):
    block = WrittenLater()
    gpu.setattr(torch.cuda, "synchronize", lambda *_: block.pending())
    with pytest.raises(MisleadingCallError, match="gives a result that was not there yet"):
        look(block, device="cuda")


def test_an_honest_block_on_a_gpu_has_no_caveat(gpu):
    assert look(Block(), device="cuda") == []


class Driver:
    """What CUDA's driver says of the limit; status 1 is an error."""

    def __init__(self, size_bytes, status=0):
        self.size_bytes, self.status = size_bytes, status

    def cuCtxGetLimit(self, size, limit):  # CUDA's own name
        assert limit == 6
        ctypes.cast(size, ctypes.POINTER(ctypes.c_size_t))[0] = self.size_bytes
        return self.status


def test_a_persisting_window_of_the_cache_is_shown(gpu):
    gpu.setattr(cuda_stream.ctypes, "CDLL", lambda _: Driver(2**23))
    shown = "keeps 8.0 MiB of the GPU's second-level cache for itself, so that it is never cold"
    assert look(Block(), device="cuda") == [shown]


@pytest.mark.parametrize("driver", [Driver(0), Driver(2**23, status=1)])
def test_a_driver_that_says_nothing_has_no_window(gpu, driver):
    gpu.setattr(cuda_stream.ctypes, "CDLL", lambda _: driver)
    assert cuda_stream.TorchGpu().persisting_l2_bytes() == 0


CELL = Cell(
    experiment="x",
    axes={"block": "a"},
    subject=OwnModule(factory="torch.nn:Identity", channels=4, key_channels=2),
    size=Size(width=6, height=5),
    budget_s=0.01,
)


def test_a_timing_bears_the_caveats_of_its_call():
    work = Workload(module=nn.Identity(), inputs=(torch.randn(1, 4, 5, 6),), mode="eval")
    assert {each.caveats for each in probe(work, CELL, "cpu")["timings"]} == {
        ("returns its input",)
    }


def test_an_arm_bears_the_caveats_of_its_call(monkeypatch):
    monkeypatch.setattr(turns, "WARM_S", {"cpu": 0.0})
    ready = next(turns.take_turns(turns.ArmTask(cell=CELL, device="cpu")))
    assert ready.caveats == ("returns its input",)
