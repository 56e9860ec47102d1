"""A GPU that is not there: tensors "on cuda" lie in the machine's memory, and `torch.cuda` answers for them.

What runs is the code that runs on a GPU, all of it but the kernels: the events, the graph, the allocator
and the rules that a capture must keep are stood in for. Rules are those of torch 2.11 and 2.15, read in
torch/cuda/graphs.py, torch/cuda/memory.py and aten/src/ATen/cuda/CUDAGraph.cpp:

- no capture without a call before it: what an operator loads at its first call can't be loaded in one;
- nothing that waits for the device in a capture: no synchronisation, no value read, no memory given back;
- a capture that fails leaves its side stream the current one, since its end raises before it is put back;
- replaying runs the captured operators on the captured memory.

The allocator follows every tensor that an operator makes, rounded as CUDA's rounds, so that its peaks are
those of a device whose operators take no workspace. Time goes on by a millisecond whenever a clock is read,
so that nothing depends on the machine's speed.
"""

import re
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from bench.measure.collect import HostClock
from bench.predict.live_memory import Meter

GIB = 2**30
NOT_PERMITTED = "CUDA error: operation not permitted when stream is capturing"
# Memory of an H200; a cache that is quickly overwritten.
PROPERTIES = SimpleNamespace(
    name="Pretended GPU",
    uuid="0",
    major=9,
    minor=0,
    total_memory=139 * GIB,
    L2_cache_size=2**16,
    multi_processor_count=132,
)


def _on_host(value: Any) -> Any:
    kind = type(
        value
    )  # by hand: of a million calls most hold a tensor alone, and torch's tree_map takes its time
    if kind is torch.device:
        return torch.device("cpu") if value.type == "cuda" else value
    if kind is str:
        return "cpu" if re.fullmatch(r"cuda(:\d+)?", value) else value
    return kind(map(_on_host, value)) if kind in (tuple, list) else value


class ToHost(TorchFunctionMode):
    """Makes and moves tensors in the machine's memory that are asked for on the GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:  # what the code goes by is the GPU
            return func(*args, **(kwargs or {}))
        kwargs = {name: _on_host(value) for name, value in (kwargs or {}).items()}
        return func(*map(_on_host, args), **kwargs)


class Watched(TorchDispatchMode):
    """Sees every operator: which are warm, and that none in a capture waits for the device."""

    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        shapes = tuple(
            (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, torch.Tensor) else None
            for leaf in tree_leaves((args, kwargs))
        )
        call = (func, shapes)
        if self.gpu.captured is None:
            self.gpu.warm.add(call)
            return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError(NOT_PERMITTED)
        if call not in self.gpu.warm:
            msg = f"CUDA error: {func} was not called before its capture"
            raise RuntimeError(msg)
        result = func(*args, **kwargs)
        self.gpu.captured.append((func, *tree_map(_alias, (args, kwargs, result))))
        return result


def _alias(value: Any) -> Any:
    """Another name for a tensor's memory: to hold a gradient itself would have it copied."""
    return value.detach() if isinstance(value, torch.Tensor) else value


class Event:
    """A moment; all that was queued before it is done, since nothing is queued."""

    def __init__(self, gpu):
        self.gpu, self.time_s = gpu, None

    def record(self, *_):
        self.time_s = self.gpu.wall_s()

    def synchronize(self):
        self.gpu.refuse_in_capture()

    def elapsed_time(self, end):
        self.gpu.refuse_in_capture()
        return 1e3 * (end.time_s - self.time_s)


class Graph:
    """Operators with the memory that they ran on."""

    def __init__(self):
        self.calls = ()

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Capture:
    """`torch.cuda.graph`, whose end raises after an error and then leaves the side stream."""

    def __init__(self, gpu, graph):
        self.gpu, self.graph = gpu, graph

    def __enter__(self):
        self.gpu.synchronize()
        self.gpu.empty_cache()
        self.before, self.gpu.stream = self.gpu.stream, "side stream"
        self.gpu.captured = []

    def __exit__(self, kind, error, trace):
        self.graph.calls, self.gpu.captured = tuple(self.gpu.captured), None
        if error is not None:
            msg = "CUDA error: operation failed due to a previous error during capture"
            raise RuntimeError(msg) from error
        self.gpu.stream = self.before


class PretendedGpu:
    """State of the device, and what `torch.cuda` and a few others are replaced by."""

    def __init__(self):
        self.warm, self.captured, self.stream = set(), None, "default stream"
        self.meter, self.watched = Meter(), Watched(self)
        self.captures, self.now_s = 0, 0.0

    def wall_s(self, *_):
        self.now_s += 1e-3
        return self.now_s

    def refuse_in_capture(self):
        if self.captured is not None:
            raise RuntimeError(NOT_PERMITTED)

    def synchronize(self, *_):
        self.refuse_in_capture()

    def empty_cache(self):
        self.refuse_in_capture()

    def reset_peak_memory_stats(self):
        self.refuse_in_capture()
        self.meter.peak_bytes = self.meter.live_bytes

    def memory_stats(self):
        live, peak = self.meter.live_bytes, self.meter.peak_bytes
        kinds = ("requested", "allocated", "reserved")
        return {f"{kind}_bytes.all.current": live for kind in kinds} | {
            f"{kind}_bytes.all.peak": peak for kind in kinds
        }

    def mem_get_info(self):
        self.refuse_in_capture()
        return PROPERTIES.total_memory - self.meter.live_bytes, PROPERTIES.total_memory

    def graph(self, graph, **_):
        self.captures += 1
        return Capture(self, graph)

    @contextmanager
    def on_stream(self, stream):
        before, self.stream = self.stream, stream
        try:
            yield
        finally:
            self.stream = before

    def replaced(self):
        """What is put in place of what, as (object, name, replacement)."""
        of_cuda = {
            "is_available": lambda: True,
            "is_initialized": lambda: False,  # seeds are for GPUs that are asleep
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "get_device_properties": lambda *_: PROPERTIES,
            "get_device_capability": lambda *_: (PROPERTIES.major, PROPERTIES.minor),
            "is_bf16_supported": lambda *_: True,
            "synchronize": self.synchronize,
            "empty_cache": self.empty_cache,
            "reset_peak_memory_stats": self.reset_peak_memory_stats,
            "memory_stats": self.memory_stats,
            "memory_allocated": lambda: self.meter.live_bytes,
            "memory_reserved": lambda: self.meter.live_bytes,
            "max_memory_allocated": lambda: self.meter.peak_bytes,
            "mem_get_info": self.mem_get_info,
            "Event": lambda **_: Event(self),
            "_sleep": lambda _: None,
            "CUDAGraph": Graph,
            "graph": self.graph,
            "current_stream": lambda *_: self.stream,
            "stream": self.on_stream,
            "is_current_stream_capturing": lambda: self.captured is not None,
        }
        autocast, profile = torch.autocast, torch.profiler.profile
        loader = torch.utils.data.DataLoader.__init__
        host = torch.profiler.ProfilerActivity.CPU
        return [
            *((torch.cuda, name, found) for name, found in of_cuda.items()),
            (HostClock, "wall_s", self.wall_s),
            (torch, "autocast", lambda device, **given: autocast(_on_host(device), **given)),
            (
                torch.profiler,
                "profile",
                lambda *, activities, **given: profile(activities=[host], **given),
            ),
            # An optimiser asks the driver whether it is captured.
            (
                torch.optim.Optimizer,
                "_accelerator_graph_capture_health_check",
                lambda *_: None,
            ),
            # To pin memory takes a driver.
            (
                torch.utils.data.DataLoader,
                "__init__",
                lambda *given, **named: loader(*given, **{**named, "pin_memory": False}),
            ),
        ]

    @contextmanager
    def answering(self):
        """Have `torch.cuda` answer as if there were a GPU; nothing that is executed changes."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in self.replaced()]
        for owner, name, found in self.replaced():
            setattr(owner, name, found)
        try:
            yield self
        finally:
            for owner, name, found in before:
                setattr(owner, name, found)

    @contextmanager
    def installed(self):
        """Execute on the pretended GPU what is asked for on `cuda`."""
        with self.answering(), ToHost(), self.meter, self.watched:
            yield self
