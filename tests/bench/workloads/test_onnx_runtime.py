"""Modules in ONNX Runtime: the same output, and a clear word where there is none."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ann import build
from ann.implementations import UnavailableError
from bench.workloads import onnx_runtime

ort = pytest.importorskip("onnxruntime", reason="the group `export` is not installed")
pytest.importorskip("onnxscript", reason="the group `export` is not installed")


@pytest.fixture(scope="module")
def fusion():
    torch.manual_seed(0)
    module = build.block("common-fusion", channels=8, low_channels=4).eval()
    return module, (torch.randn(2, 8, 5, 6), torch.randn(2, 4, 5, 6))


@pytest.fixture(scope="module")
def session(fusion):
    return onnx_runtime.make_session_module(*fusion)


def test_a_session_stands_for_its_module(fusion, session):
    module, inputs = fusion
    torch.testing.assert_close(session(*inputs), module(*inputs).detach())


class Heads(nn.Module):
    def forward(self, x):
        return {"out": x.relu(), "aux": [x * 2, None]}, x.argmax(1)


def test_a_session_returns_what_its_module_returns():
    x = torch.randn(2, 3, 5, 6)
    session = onnx_runtime.make_session_module(Heads().eval(), (x,))
    torch.testing.assert_close(session(x), Heads()(x))


def test_a_second_output_that_differs_is_seen():
    right, wrong = {"out": torch.ones(2), "aux": torch.ones(2)}, {"out": torch.ones(2)}
    apart = onnx_runtime._difference(right, {**wrong, "aux": torch.zeros(2)})
    assert apart == 1


@pytest.mark.slow
@pytest.mark.parametrize(("opset", "operator"), [(18, "Softmax"), (23, "Attention")])
def test_the_whole_map_of_weights_is_built(opset, operator, tmp_path):
    """Peak of a call in a process of its own; torch's fused attention adds 3 MiB at this size."""
    program = f"""
import torch
from ann import export
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
class Attend(nn.Module):
    def forward(self, x):
        return scaled_dot_product_attention(x, x, x)
x = torch.randn(1, 1, 64 * 64, 64)
made = export.to_onnx(Attend(), (x,), {str(tmp_path / "a.onnx")!r}, opset={opset})
assert {operator!r} in made.operators, made.operators
session = export.open_session(made.path, threads=1)
def peak(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
before = peak("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
export.run_session(session, x)
print(peak("VmHWM") - before)
"""
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert int(output) > 4 * (64 * 64) ** 2  # bytes of one map


def test_a_session_has_as_many_threads_as_torch(session):
    options = session.session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL


def test_a_file_that_says_something_else_is_refused(fusion, monkeypatch):
    monkeypatch.setattr(
        onnx_runtime.OnnxRuntime, "forward", lambda self, x, low: x * 1.01 + low.mean()
    )
    with pytest.raises(ValueError, match="differs from torch by"):
        onnx_runtime.make_session_module(*fusion)


@pytest.mark.parametrize("change", ["mode", "dtype", "device"])
def test_what_is_not_supported_is_unavailable(change):
    module, x = nn.ReLU().eval(), torch.ones(1, 2)
    if change == "mode":
        module.train()
    x = {"dtype": x.double(), "device": x.to("meta")}.get(change, x)
    with pytest.raises(UnavailableError, match="inference in float32 on the CPU"):
        onnx_runtime.make_session_module(module, (x,))


def test_without_the_runtime_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match="onnxruntime is not installed; pip install"):
        onnx_runtime.make_session_module(nn.ReLU().eval(), (torch.ones(1),))
