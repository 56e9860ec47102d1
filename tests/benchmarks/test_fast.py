"""The fast path beside the plain one, and beside mmseg's own head where it is installed.

    python -m pytest tests/benchmarks -m slow -k fast

Calls of both alternate in one process, with the same weights, and their results are compared; the
ratio of the medians is printed for process time (all threads) and wall time. Peak memory is that of
one call in a process of its own. pytest-benchmark's table has the fast arm.

mmseg: `pip install --no-deps mmsegmentation mmcv-lite==2.1.0 mmengine` and `pip install addict ftfy
opencv-python-headless platformdirs prettytable termcolor yapf`.
"""

import subprocess
import sys
import time
import types
import warnings
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import nn

from ann.build import block, network
from ann.checkpoints import to_layout
from ann.fast import optimize
from bench.predict.live_memory import predict_memory
from bench.run.environment import processor_name

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
MIB = 2**20
# To be read on an idle machine: 2.5, 1.7 and 1.15. What fails is a fast path that is none.
LEAST = 1.0
NAMES = ("apnb", "apnb-concat", "afnb-bottleneck", "official/ann-r101")
MOST_MEMORY = {"apnb": 0.7, "afnb-bottleneck": 0.7}
ONE_CALL = """
import sys, torch
from tests.benchmarks.test_fast import arms
from bench.measure.memory import measure_memory
module, inputs = arms(sys.argv[1])[sys.argv[2]]
with torch.inference_mode():
    module(*(x[..., :33, :33] for x in inputs))
    print(measure_memory(lambda: module(*inputs), device="cpu").high_water_bytes)
"""


@torch.no_grad()
def shake(module):
    """Nothing is zero, as after a training."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1)
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.8, 1.2)
    return module


def made(name):
    """Plain module and inputs."""
    torch.manual_seed(0)
    if "/" in name:
        return shake(network(name)).eval(), (torch.randn(1, 3, 769, 769),)
    plain = shake(block(name)).eval()
    channels = filter(None, (plain.spec.channels, plain.spec.low_channels))
    return plain, tuple(torch.randn(1, width, 128, 256) for width in channels)


def arms(name):
    """Both arms, each with its inputs; only one of them is used in a process of its own."""
    plain, inputs = made(name)
    return {"plain": (plain, inputs), "fast": (optimize(plain), inputs)}


class Stopwatch:
    """Calls a function and keeps what each call took."""

    def __init__(self, work):
        self.work, self.process_s, self.wall_s = work, [], []

    def __call__(self):
        process, wall = time.process_time(), time.perf_counter()
        self.work()
        self.process_s.append(time.process_time() - process)
        self.wall_s.append(time.perf_counter() - wall)


def race(benchmark, plain, fast, rounds):
    """Alternate the two; ratios of their medians, in process time and wall time."""
    arms = Stopwatch(plain), Stopwatch(fast)
    benchmark.pedantic(arms[1], setup=arms[0], rounds=rounds, warmup_rounds=1)
    process = [median(arm.process_s[1:]) for arm in arms]
    wall = [median(arm.wall_s[1:]) for arm in arms]
    ratios = {"process": process[0] / process[1], "wall": wall[0] / wall[1]}
    benchmark.extra_info.update(ratios, process_s=process, wall_s=wall)
    return (
        f"process {process[0]:.3f} s / {process[1]:.3f} s = {ratios['process']:.2f}, "
        f"wall {wall[0]:.3f} s / {wall[1]:.3f} s = {ratios['wall']:.2f}"
    ), ratios["process"]


def high_water_bytes(name, arm):
    command = [sys.executable, "-c", ONE_CALL, name, arm]
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(result.stdout)


def predicted_bytes(name):
    with torch.device("meta"):
        return [
            predict_memory(module, inputs, mode="eval").increment_bytes
            for module, inputs in arms(name).values()
        ]


def compare(plain, fast, inputs):
    with torch.inference_mode():
        expected = plain(*inputs)
        assert (fast(*inputs) - expected).norm() / expected.norm() < 1e-5


def machine():
    return f"{processor_name()} ({torch.get_num_threads()} threads)"


def report(capsys, *lines):
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201  # the figures are what it is for


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "rounds"),
    list(zip(NAMES, (7, 7, 5, 3), strict=True)),
)
def test_fast_path_takes_less_time(name, rounds, benchmark, capsys):
    plain, inputs = made(name)
    fast = optimize(plain)
    compare(plain, fast, inputs)
    text, ratio = race(benchmark, lambda: plain(*inputs), lambda: fast(*inputs), rounds)
    report(capsys, f"{name}, {machine()}: {text}")
    assert ratio > LEAST


@pytest.mark.parametrize("name", NAMES)
def test_fast_path_takes_less_memory(name, capsys):
    measured = [high_water_bytes(name, arm) for arm in ("plain", "fast")]
    lines = [
        f"{name}, {machine()}: high-water mark over that before the call, and increment predicted"
    ]
    for kind, (plain, fast) in {"measured": measured, "predicted": predicted_bytes(name)}.items():
        lines.append(f"  {kind} {plain / MIB:.0f} MiB, {fast / MIB:.0f} MiB = {fast / plain:.2f}")
    report(capsys, *lines)
    assert measured[1] / measured[0] < MOST_MEMORY.get(name, 1)


class NoOperators(types.ModuleType):
    """Stands for `mmcv.ops`, compiled code that mmcv-lite lacks and ANN's head has no need of."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def mmseg_head(monkeypatch, net):
    """ANNHead of mmseg with the weights of ours."""
    pytest.importorskip("mmengine", reason="mmseg is not installed")
    monkeypatch.setitem(sys.modules, "mmcv.ops", NoOperators("mmcv.ops"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("mmseg", reason="mmseg is not installed")
        from mmseg.models.decode_heads.ann_head import ANNHead

        head = ANNHead(
            in_channels=[1024, 2048],
            in_index=[0, 1],
            channels=512,
            num_classes=19,
            project_channels=256,
            norm_cfg={"type": "BN"},
        )
    prefix = "decode_head."
    state = to_layout(net, "mmseg").items()
    head.load_state_dict({k.removeprefix(prefix): v for k, v in state if k.startswith(prefix)})
    return head.eval()


@torch.inference_mode()
def test_fast_path_takes_less_time_than_mmseg_s_head(benchmark, capsys, monkeypatch):
    torch.manual_seed(0)
    net = shake(network("mmseg/ann-r50")).eval()
    theirs, ours = mmseg_head(monkeypatch, net), optimize(net).head
    features = [torch.randn(1, channels, 97, 97) for channels in (1024, 2048)]
    compare(lambda *x: theirs(list(x)), ours, features)
    text, ratio = race(benchmark, lambda: theirs(features), lambda: ours(*features), 5)
    report(capsys, f"mmseg ANNHead, 97x97, {machine()}: {text}")
    assert ratio > LEAST
