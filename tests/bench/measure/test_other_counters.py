"""Other counters: what they were found to say of the same call, which a new version may change."""

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest
import torch

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.measure import other_counters
from bench.predict import ledger
from bench.records import Failure
from bench.run import process
from bench.workloads import workload
from experiments.spec import Cell
from tests.bench.workers.answering import call

NB = Cell(
    experiment="test",
    axes={"block": "nb"},
    subject=replace(BLOCKS["nb"], channels=32, key_channels=8),
    size=Size(width=24, height=24),
)
N = 24 * 24
CONVOLUTIONS, PRODUCTS = 4 * 32 * 8 * N, 2 * 8 * N * N
PACKAGES = {tool.name: tool.package for tool in other_counters.TOOLS}


@pytest.fixture(scope="module")
def told():
    """What each tool says, forked from a process in which nothing has run."""
    outcome = call("bench.measure.other_counters:count_with_other_tools", NB, limit_s=300)
    return {count.tool: count for count in outcome}


def reported(told, tool):
    if importlib.util.find_spec(PACKAGES[tool]) is None:
        pytest.skip(f"{PACKAGES[tool]} is not installed; it is in the group `counters`")
    assert told[tool].reason is None
    return told[tool].reported


def test_the_ledger_has_convolutions_and_products():
    work = workload.make_workload(NB, "meta")
    assert ledger.count(work.module, work.inputs, mode="eval").macs == CONVOLUTIONS + PRODUCTS


def test_torch_counts_two_for_a_mac_and_all_of_them(told):
    assert told["torch"].unit == "FLOP"
    assert reported(told, "torch") == 2 * (CONVOLUTIONS + PRODUCTS)


def test_deepspeed_counts_all_of_them(told):
    assert reported(told, "DeepSpeed") == CONVOLUTIONS + PRODUCTS


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("torch.nn.GRU(8, 8)", "DeepSpeed says 0 MACs for recurrent layers"),
        ("Product()", "DeepSpeed says 0 MACs for einsum"),
    ],
)
def test_what_deepspeed_says_0_for_is_no_part_of_a_count(module, why):
    pytest.importorskip("deepspeed")
    code = (
        "import torch\n"
        "from bench.measure.other_counters import _deepspeed\n"
        "class Product(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(8, 8)\n"
        "    def forward(self, x):\n"
        "        return torch.einsum('bij,bkj->bik', super().forward(x), x)\n"
        f"print(_deepspeed({module}, (torch.ones(2, 6, 8),)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert why in done.stderr


@pytest.mark.parametrize("tool", ["thop", "torchinfo", "ptflops"])
def test_what_hooks_layers_sees_no_product(told, tool):
    # Biases, norms and ReLUs are a few percent of so narrow a block.
    assert 0.98 * CONVOLUTIONS < reported(told, tool) < 1.15 * CONVOLUTIONS


@pytest.mark.parametrize("tool", ["fvcore", "ptflops, aten"])
def test_what_sees_operators_sees_the_products(told, tool):
    assert reported(told, tool) == pytest.approx(CONVOLUTIONS + PRODUCTS, rel=0.02)


def test_every_tool_has_a_row_with_a_version_or_a_reason(told):
    assert list(told) == [tool.name for tool in other_counters.TOOLS]
    assert all(
        rival.version if rival.reported else "not installed" in rival.reason
        for rival in told.values()
    )


def test_fvcore_as_it_comes_misses_fused_attention():
    pytest.importorskip("fvcore")
    cell = replace(NB, implementation="sdpa")
    bare = call("tests.bench.measure.fvcore_alone:count", cell, limit_s=300)
    assert bare.reported == pytest.approx(CONVOLUTIONS, rel=0.1)


def count_with(count, package="pytest"):
    return other_counters.count_with(other_counters.Tool("own", package, count), NB)


def test_a_tool_that_fails_is_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(other_counters, "_count_here", lambda _: {}["no such thing"])
    assert count_with(len).reason.startswith("KeyError: 'no such thing' (")


def test_a_tool_that_is_not_installed_is_a_row_with_the_reason():
    found = count_with(float, "no-such-package")
    assert (found.reported, found.reason) == (None, "no-such-package is not installed")


def test_a_tool_that_does_not_end_is_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(other_counters, "TOOL_LIMIT_S", 0)
    monkeypatch.setattr(other_counters, "_count_here", lambda _: time.sleep(60))
    assert count_with(len).reason == "not done after 0 s; ended"


def test_a_tool_that_dies_is_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(other_counters, "_count_here", lambda _: os._exit(1))
    assert count_with(len).reason == "the process died with exit status 1"


def test_a_tool_counts_a_call_of_the_cell_in_inference():
    def count(module, inputs):
        return 0.6 if module.training or torch.is_grad_enabled() else inputs[0].numel()

    tool = other_counters.Tool("own", "pytest", count)
    assert other_counters._count_here((tool, NB)) == 32 * N


def test_a_process_that_counts_and_dies_is_the_cells_failure(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, executable="/bin/false"))
    outcome = process.run_task(process.Task(cell=NB, device="cpu"))
    assert outcome == Failure(kind="error", reason="the process died with exit status 1")


def test_training_is_refused():
    with pytest.raises(ValueError, match="inference alone"):
        other_counters.count_with_other_tools(replace(NB, mode="train"))
