"""Readings of a processor's memory against the events of torch's allocator, and what they leave alone."""

import ctypes
import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.measure import memory

ROOT = Path(__file__).resolve().parents[3]
GLIBC = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc",
    reason="the mark is read from /proc, over the heap of glibc",
)


class Spelled(nn.Module):
    """Fused attention, the defaults of its call spelled out: most of its memory is in small tensors."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(64, 192)

    def forward(self, x):
        query, key, value = (
            self.qkv(x.flatten(2).mT).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=None, is_causal=False)
        return mixed.permute(0, 1, 3, 2).reshape(x.shape)


class Rows(nn.Module):
    """Attention along rows, whose many maps are small."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Conv2d(64, 16, 1), nn.Conv2d(64, 16, 1)

    def forward(self, x):
        query, key, value = (item.transpose(1, 2) for item in (self.query(x), self.key(x), x))
        return (value @ (key.mT @ query).softmax(dim=-2)).transpose(1, 2)


class Small(nn.Module):
    """Little more than the map that comes out, 1 MiB."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(64, 64, 1, groups=64)

    def forward(self, x):
        return self.conv(x).relu_()


BLOCKS = {"spelled": (Spelled, False), "rows in training": (Rows, True), "small": (Small, False)}


def call(name):
    """One call of a block on a map of 64 channels at 64x64."""
    make, trains = BLOCKS[name]
    module, x = make(), torch.rand(1, 64, 64, 64)

    def work():
        with torch.set_grad_enabled(trains):
            result = module(x)
            if trains:
                result.sum().backward()
                module.zero_grad()

    return work


def allocated_bytes(work):
    """Peak of what torch's allocator has given and not got back within a call."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    events = [
        event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def read_all():
    """Readings and the allocator's peaks by block."""
    readings = {}
    for name in BLOCKS:
        work = call(name)
        reading = memory.measure_cpu(work)
        readings[name] = (reading.high_water_bytes, allocated_bytes(work))
    return readings


@pytest.fixture(scope="module")
def readings():
    """In a process of its own, since its heap is another one afterwards."""
    script = "import json; from tests.bench.measure import test_memory; print(json.dumps(test_memory.read_all()))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@GLIBC
@pytest.mark.parametrize("name", BLOCKS)
def test_a_reading_is_what_the_allocator_gave(readings, name):
    reading, truth = readings[name]
    if reading is None:
        pytest.skip("/proc/self/clear_refs can't be written here")
    assert reading == pytest.approx(truth, rel=0.1)


def test_a_c_library_without_the_switches_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not memory.set_malloc(memory.NOTHING_KEPT)
