"""Predicted peaks of all named blocks by three routes: ours, torch's MemTracker and inductor's estimate of a graph.

Sizes are whole here: MemTracker rounds to 512 bytes on CUDA alone, inductor never.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import fx
from torch._functorch.aot_autograd import aot_module, make_boxed_func
from torch._functorch.partitioners import default_partition
from torch._subclasses.fake_tensor import FakeTensorMode

from ann import build
from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.predict import fake, live_memory
from bench.predict.live_memory import Meter, predict_memory
from bench.predict.predict import make_fake
from bench.workloads.workload import input_widths, sum_outputs
from experiments.spec import Cell

SIZE = Size(height=24, width=32)
all_blocks = pytest.mark.parametrize("name", BLOCKS)
both_modes = pytest.mark.parametrize("mode", ["eval", "train"])


@pytest.fixture(autouse=True)
def _whole(monkeypatch):
    monkeypatch.setattr(live_memory, "rounded", lambda size_bytes: size_bytes)


def spec_of(name):
    """A named block with 64 channels, and 32 of the low-level map."""
    low = {"low_channels": 32} if BLOCKS[name].low_channels else {}
    return replace(BLOCKS[name], channels=64, key_channels=16, **low)


def make(name, mode, device):
    spec = spec_of(name)
    with torch.device(device):
        block = build.block(spec).train(mode == "train")
        maps = (torch.empty(1, width, SIZE.height, SIZE.width) for width in input_widths(spec))
        return block, tuple(maps)


def our_peak(name, mode):
    """As a cell of the processor is predicted."""
    cell = Cell(experiment="x", axes={}, subject=spec_of(name), size=SIZE, mode=mode)
    with fake.on("cpu"):
        work = make_fake(cell, "cpu")
        return predict_memory(work.module, work.inputs, mode=mode).peak_bytes


@all_blocks
@both_modes
def test_memtracker_has_the_same_peak(name, mode):
    pytest.importorskip("tabulate")
    from torch.distributed._tools.mem_tracker import MemTracker

    with FakeTensorMode():
        block, maps = make(name, mode, "cpu")
        tracker = MemTracker()
        tracker.track_external(block, *maps)
        with tracker, torch.set_grad_enabled(mode == "train"):
            outputs = block(*maps)
            if mode == "train":
                sum_outputs(outputs).backward()
        (theirs,) = tracker.get_tracker_snapshot("peak").values()
    assert our_peak(name, mode) == theirs["Total"]


@pytest.mark.parametrize("size_bytes", [0, 1, 511, 512, 513, 2**20 + 4])
def test_memtracker_rounds_as_we_do_on_cuda(monkeypatch, size_bytes):
    pytest.importorskip("tabulate")
    from torch.distributed._tools.mem_tracker import _MemRefType, _WeakRefInfo

    monkeypatch.undo()
    theirs = _WeakRefInfo(size_bytes, 1, torch.device("cuda"), _MemRefType.ACT)
    assert live_memory.rounded(size_bytes) == theirs.mem_consumed


class Graphs:
    """What autograd's ahead-of-time tracer makes of a block: a graph, in training one for each direction."""

    def __init__(self, name, mode):
        block, maps = make(name, mode, "meta")
        self.graphs = []
        traced = aot_module(
            block, fw_compiler=self.keep, bw_compiler=self.keep, partition_fn=default_partition
        )
        with torch.set_grad_enabled(mode == "train"):
            outputs = traced(*maps)
            if mode == "train":
                sum_outputs(outputs).backward()

    def keep(self, graph, _examples):
        self.graphs.append(graph)
        return make_boxed_func(graph)

    @property
    def left_out_bytes(self):
        """What goes into the forward graph alone: inductor forgets it on the way back."""
        forward, backward = (
            {node.name: node.meta["val"] for node in places(graph)} for graph in self.graphs
        )
        return sum(
            value.untyped_storage().nbytes()
            for name, value in forward.items()
            if name not in backward
        )


def places(graph):
    return graph.graph.find_nodes(op="placeholder")


def is_made(node):
    return node.op != "placeholder"


class Reversible:
    """A graph as inductor's function reads it, which takes the last item of its last node (torch 2.11 and 2.15)."""

    class Nodes(list):
        def __reversed__(self):
            return iter(([self[-1]],))

    def __init__(self, graph):
        self.nodes, self.find_nodes = self.Nodes(graph.nodes), graph.find_nodes


def their_peak(traced):
    """Inductor's peak, with what its function leaves out."""
    from torch._inductor.fx_passes import memory_estimator

    forward, *backward = (graph.graph for graph in traced.graphs)
    peak = max(memory_estimator.build_memory_profile(forward, is_made))
    for graph in backward:
        standing, kept = memory_estimator.get_fwd_bwd_interactions(Reversible(forward), graph)
        kept |= {node.name for node in graph.find_nodes(op="placeholder") if "primals" in node.name}
        profile = memory_estimator.build_memory_profile(graph, partial(is_let_go, kept))
        peak = max(peak, traced.left_out_bytes + standing + max(profile))
    return peak


def is_let_go(kept, node):
    return node.name not in kept


def empty_like(node):
    value = node.meta["val"]
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def metered_peak(traced):
    """Our peak of the graphs, each node executed and let go after its last use."""
    forward, *backward = traced.graphs
    meter = Meter()
    standing = {node.name: empty_like(node) for node in places(forward)}
    meter.hold(standing.values())
    with torch.no_grad(), meter:
        results = fx.Interpreter(forward).boxed_run([*standing.values()])
        nodes = forward.graph.output_node().args[0]
        made = {node.name: item for node, item in zip(nodes, results, strict=True) if node}
        del results
        for graph in backward:
            arguments, gradients = arguments_of(graph, made, standing)
            stay = fx.Interpreter(graph).boxed_run(arguments), gradients
            assert stay
    return meter.peak_bytes


def arguments_of(graph, made, standing):
    """What the backward graph is called with: what was saved is handed over, weights and gradients stay."""
    gradients = {node.name: empty_like(node) for node in places(graph) if "tangents" in node.name}
    known = gradients | standing
    names = [node.name for node in places(graph)]
    return [known[name] if name in known else made.pop(name) for name in names], gradients


@all_blocks
@both_modes
def test_inductor_has_the_same_peak_for_the_same_graph(name, mode):
    traced = Graphs(name, mode)
    assert metered_peak(traced) == their_peak(traced)


@all_blocks
def test_a_graph_has_whole_gradients_and_new_statistics_where_a_module_has_not(name):
    traced = Graphs(name, "train")
    gradients = [empty_like(node) for node in places(traced.graphs[1]) if "tangents" in node.name]
    whole_bytes = sum(gradient.untyped_storage().nbytes() for gradient in gradients)
    block, _ = make(name, "train", "meta")
    new_bytes = sum(buffer.nbytes for buffer in block.buffers())
    scalars_bytes = 8  # the sum of the outputs, and its gradient
    more_bytes = metered_peak(traced) - our_peak(name, "train") + scalars_bytes - whole_bytes
    assert 0 <= more_bytes <= new_bytes
