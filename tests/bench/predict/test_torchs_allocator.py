"""The replay against torch itself, whose operators and allocator run here on a pretended driver without a GPU."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ann.spec import Size
from bench.predict import fake, live_memory, make_fake
from bench.predict.allocator import Allocator, DeviceFullError
from experiments import select
from tests.bench.predict.test_allocator import call_of

MIB = 2**20
ROOT = Path(__file__).parents[3]
DRIVER = ROOT / "tests" / "pretended" / "driver.c"
WHOLE = 80 * 2**30

# Under the pretended driver: follow each trace and write what is allocated and reserved after each step.
THEIRS = """
import json, sys
import torch

own = torch._C
own._cuda_init()
answers = []
for expandable, trace in json.load(sys.stdin):
    torch.cuda.memory._set_allocator_settings(f"expandable_segments:{expandable}")
    blocks, steps = {}, []
    for name, size in trace:
        full = 0
        if size > 0:
            try:
                blocks[name] = own._cuda_cudaCachingAllocator_raw_alloc(size, 0)
            except torch.OutOfMemoryError:
                full = 1
        elif size < 0:
            own._cuda_emptyCache()
        elif name in blocks:
            own._cuda_cudaCachingAllocator_raw_delete(blocks.pop(name))
        stats = own._cuda_memoryStats(0)
        steps.append((stats["allocated_bytes"]["all"]["current"], stats["reserved_bytes"]["all"]["current"], full))
    for block in blocks.values():
        own._cuda_cudaCachingAllocator_raw_delete(block)
    own._cuda_emptyCache()
    answers.append(steps)
json.dump(answers, sys.stdout)
"""


def ours(capacity, expandable, trace):
    allocator, blocks = Allocator(expandable=expandable, capacity_bytes=capacity), {}
    for name, size in trace:
        full = 0
        if size > 0:
            try:
                blocks[name] = allocator.allocate(size)
            except DeviceFullError:
                full = 1
        elif size < 0:
            allocator.empty_cache()
        elif name in blocks:
            allocator.free(blocks.pop(name))
        yield [allocator.allocated_bytes, allocator.device.reserved_bytes, full]


def random_trace(draw, steps=300):
    trace, standing = [], []
    for name in range(steps):
        choice = draw.random()
        if choice < 0.02:
            trace.append((0, -1))
        elif choice < 0.55 or not standing:
            most = draw.choice([3000, MIB + 512, 10 * MIB + 512, 40 * MIB, 700 * MIB])
            standing.append(name)
            trace.append((name, draw.randint(1, most)))
        else:
            trace.append((standing.pop(draw.randrange(len(standing))), 0))
    return trace


@pytest.fixture(scope="module")
def on_driver(tmp_path_factory):
    """Run a program of torch's on the pretended driver: JSON in, JSON out."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or torch.version.cuda is None or compiler is None:
        pytest.skip("needs Linux, a C compiler, and a torch that was built for CUDA")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, DRIVER, "-ldl"], check=True)
    (folder / "libnvidia-ml.so.1").symlink_to(library)
    preload = {"LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(folder)}

    def run(program, cases, capacity=WHOLE, **environment):
        where = {**os.environ, **preload, "PRETENDED_BYTES": str(capacity), **environment}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            input=json.dumps(cases),
            capture_output=True,
            text=True,
            check=False,
            env=where,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("capacity", [WHOLE, 2**30])
def test_the_replay_is_what_torchs_own_allocator_does(on_driver, capacity):
    draw = random.Random(0)
    calls = [call_of(*case) for case in (("nb", "train"), ("apnb", "train"))]
    blocks = [
        [*call.events[: call.call_at], (0, -1), *call.events[call.call_at :]] for call in calls
    ]
    traces = (*blocks, *(random_trace(draw) for _ in range(30)))
    cases = [(expandable, trace) for trace in traces for expandable in (False, True)]
    for case, steps in zip(cases, on_driver(THEIRS, cases, capacity), strict=True):
        assert list(ours(capacity, *case)) == steps, case[0]


# Measure blocks as on a GPU; cuDNN, which would want one, is off.
MEASURED = """
import gc, json, sys
import torch
from ann.spec import Size
from bench.measure.memory import measure_cuda
from bench.workloads import workload
from experiments import select

torch.backends.cudnn.enabled = False
workload.draw_zeros = lambda module: None  # reads values, of which there are none
readings = []
for name, mode, dtype in json.load(sys.stdin):
    settings = {"channels": 512, "key_channels": 64, "batch": 2, "dtype": dtype, "mode": mode}
    cell = select.arm_cell(name, Size(width=128, height=64), experiment="test", **settings)
    work = workload.make_workload(cell, "cuda")
    with work.numbers() if mode == "eval" else torch.enable_grad():
        readings.append(measure_cuda(work, others=None).model_dump())
    del work
    gc.collect()
    torch.cuda.empty_cache()
json.dump(readings, sys.stdout)
"""
CALLS = [
    *((name, "eval", "float32") for name in ("nb", "apnb", "apnb-concat", "dnl", "nl", "afnb")),
    *((name, "eval", "autocast-bfloat16") for name in ("nb", "apnb")),
    *((name, "eval", "autocast-float16") for name in ("nb", "dnl")),
    # Of others the peak in training is at a convolution, which without cuDNN is another one.
    *(
        (name, "train", dtype)
        for name in ("nb", "dnl")
        for dtype in ("float32", "autocast-float16")
    ),
]


def foreseen(name, mode, dtype):
    settings = {"channels": 512, "key_channels": 64, "batch": 2, "dtype": dtype, "mode": mode}
    cell = select.arm_cell(name, Size(width=128, height=64), experiment="test", **settings)
    with fake.on("cuda"):
        work = make_fake(cell, "cuda")
        return live_memory.predict_memory(work.module, work.inputs, mode=mode, numbers=work.numbers)


needs_cuda_13 = pytest.mark.skipif(
    not (torch.version.cuda or "").startswith("13."), reason="the driver has CUDA 13's properties"
)


@needs_cuda_13
def test_what_is_predicted_is_what_torchs_own_operators_allocate_and_reserve(on_driver):
    readings = on_driver(MEASURED, CALLS, CUBLAS_WORKSPACE_CONFIG=":0:1")
    for call, reading in zip(CALLS, readings, strict=True):
        memory = foreseen(*call)
        sizes = (memory.allocated_bytes, memory.reserved_bytes)
        assert sizes == (reading["allocated_bytes"], reading["reserved_bytes"]), call
        assert reading["requested_bytes"] <= memory.allocated_bytes


@needs_cuda_13
def test_a_workspace_of_cublas_comes_on_top_of_it(on_driver):
    (reading,) = on_driver(MEASURED, [("apnb", "eval", "float32")])
    extra = reading["allocated_bytes"] - foreseen("apnb", "eval", "float32").allocated_bytes
    assert extra == (32 * MIB if torch.__version__ >= "2.15" else 0)
