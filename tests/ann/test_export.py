"""Exported files say what the modules say; pooling becomes products of matrices."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann import build, export
from ann.implementations import UnavailableError

needs_runtime = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnxscript", "onnxruntime")),
    reason="the group `export` is not installed",
)
SIZES = [(31, 17), (97, 97), (12, 24), (5, 3)]


def filled(module):
    """W_o starts as zero, with which every output would be right."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return module


def difference(module, inputs, folder):
    import onnxruntime

    made = export.to_onnx(module, inputs, folder / "module.onnx")
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    given = {one.name: x.numpy() for one, x in zip(session.get_inputs(), inputs, strict=True)}
    (found,) = session.run(None, given)
    with export.inference(module), torch.no_grad():
        expected = module(*inputs)
    return float((torch.from_numpy(found) - expected).abs().max() / expected.abs().max()), made


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("grid", [1, 3, 8])
def test_average_pooling_by_matrices_is_adaptive_pooling(height, width, grid):
    x = torch.randn(2, 3, height, width)
    expected = F.adaptive_avg_pool2d(x, (grid, 6))
    torch.testing.assert_close(export.average_pool(x, [grid, 6]), expected)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_max_pooling_by_rows_and_columns_is_adaptive_pooling(height, width):
    x = torch.randn(2, 3, height, width)
    assert torch.equal(export.max_pool(x, [3, 8])[0], F.adaptive_max_pool2d(x, (3, 8)))


@pytest.mark.slow
@needs_runtime
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("nb", {}),
        ("apnb-bottleneck", {}),
        ("apnb", {"sampler": "pyramid-max"}),
        ("apnb", {"sampler": "pyramid-random-cells"}),
        ("afnb-bottleneck", {"low_channels": 8}),
        ("dnl", {}),
    ],
)
def test_a_block_exports(name, changes, tmp_path):
    block = filled(build.block(name, channels=16, key_channels=4, **changes))
    widths = (16, 8) if "low_channels" in changes else (16,)
    inputs = tuple(torch.randn(2, width, 31, 17) for width in widths)
    assert difference(block, inputs, tmp_path)[0] < 1e-5


@needs_runtime
def test_pyramid_pooling_stays_small_where_cells_do_not_divide_the_map(tmp_path):
    apnb = filled(build.block("apnb", channels=4, key_channels=2))
    found, made = difference(apnb, (torch.randn(1, 4, 128, 256),), tmp_path)
    assert found < 1e-5
    assert made.nodes <= 45  # PyTorch's own translation of one 3x3 pool has 7619 at this size
    assert made.size_bytes == made.path.stat().st_size < 100_000


@pytest.mark.slow
@needs_runtime
@pytest.mark.parametrize(
    "name",
    ["official/ann-r101", "mmseg/ann-r50", "paper/afnb+apnb", "mmseg/dnl-r50", "mmseg/psp-r50"],
)
def test_a_network_exports(name, tmp_path):
    network = filled(build.network(name, backbone="tiny"))
    found, made = difference(network, (torch.randn(1, 3, 65, 97),), tmp_path)
    assert found < 1e-5
    assert made.nodes < 150


@needs_runtime
def test_export_leaves_the_mode_of_a_module(tmp_path):
    fusion = build.block("common-fusion", channels=8, low_channels=4).train()
    fusion.lift.norm.eval()
    export.to_onnx(fusion, (torch.randn(1, 8, 5, 6), torch.randn(1, 4, 5, 6)), tmp_path / "f.onnx")
    assert fusion.training
    assert not fusion.lift.norm.training


@pytest.mark.slow
@needs_runtime
def test_an_operator_without_translation_is_named(tmp_path):
    class Determinant(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x)

    with pytest.raises(ValueError, match="Determinant can't be exported"):
        export.to_onnx(Determinant(), (torch.randn(3, 3),), tmp_path / "d.onnx")


def test_without_the_exporter_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UnavailableError, match="onnxscript is not installed; pip install"):
        export.to_onnx(nn.ReLU(), (torch.ones(1),), tmp_path / "r.onnx")
