"""Modules in ONNX Runtime: the same output, and a clear word where there is none."""

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
