"""Exported files say what the modules say, for one size and for all; what would not is refused."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_leaves

from ann import build, export
from ann.export import files
from ann.implementations import UnavailableError

needs_runtime = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnxscript", "onnxruntime")),
    reason="the group `export` is not installed",
)


class Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


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
def test_attention_is_products_and_a_softmax(tmp_path):
    """As `reports.blocks.variants` says of the row `onnxruntime`."""
    block = build.block("nb", channels=8, key_channels=4)
    made = export.to_onnx(block, (torch.randn(1, 8, 5, 6),), tmp_path / "nb.onnx")
    assert (made.opset, made.operators["MatMul"], made.operators["Softmax"]) == (18, 2, 1)
    assert "Attention" not in made.operators


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


@needs_runtime
def test_a_file_is_written_where_a_text_says(tmp_path):
    made = export.to_onnx(nn.ReLU(), (torch.ones(1),), str(tmp_path / "r.onnx"))
    assert made.path == tmp_path / "r.onnx"
    assert [each.name for each in tmp_path.iterdir()] == ["r.onnx"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [("none/r.onnx", r"there is no folder .*none; make it"), (".", "is a folder; name a file")],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    place, reason, tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "_require_packages", lambda **_: None)
    with pytest.raises(ValueError, match=reason):
        export.to_onnx(nn.ReLU(), (torch.ones(1),), tmp_path / place)


def refused(folder, reason, inputs=None, name="r.onnx", **options):
    inputs = (torch.ones(1),) if inputs is None else inputs
    with pytest.raises(ValueError, match=reason):
        export.to_onnx(
            nn.ReLU(), inputs, name if isinstance(name, bytes) else folder / name, **options
        )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"inputs": torch.ones(1)}, r"inputs must be a tuple of tensors, as \(x,\), got Tensor"),
        ({"inputs": ("x", None)}, r"inputs must be .*, got \(str, NoneType\)"),
        ({"name": b"r.onnx"}, r"path must be a text or a pathlib.Path, got b'r\.onnx'"),
        ({"opset": "18"}, "opset must be a whole number or None .*, got '18'"),
        ({"opset": True}, "opset must be .*, got True"),
        ({"name": "r" * 300}, "rrr can't be written: File name too long; name"),
    ],
)
def test_what_is_of_another_kind_is_told(given, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_require_packages", lambda **_: None)
    refused(tmp_path, reason, **given)


def test_a_folder_that_may_not_be_written_is_told(tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_require_packages", lambda **_: None)
    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", deny)  # root may write everywhere
    refused(tmp_path, r"r\.onnx can't be written: Permission denied; name a file in a folder")


@needs_runtime
def test_a_long_name_is_written(tmp_path):
    made = export.to_onnx(nn.ReLU(), (torch.ones(1),), tmp_path / ("r" * 255))
    assert made.path.stat().st_size == made.size_bytes


@needs_runtime
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    import onnx_ir

    def save(model, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "r.onnx").write_text("before")
    monkeypatch.setattr(onnx_ir, "save", save)
    with pytest.raises(OSError, match="No space left"):
        export.to_onnx(nn.ReLU(), (torch.ones(1),), tmp_path / "r.onnx")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("r.onnx", "before")]


@needs_runtime
def test_a_file_that_the_checker_refuses_is_not_left(tmp_path, monkeypatch):
    import onnx

    def check(path, *, full_check):
        assert path.exists()
        assert full_check
        msg = "Bad node spec for node. Name: n OpType: Relu"
        raise onnx.checker.ValidationError(msg)

    monkeypatch.setattr(onnx.checker, "check_model", check)
    with pytest.raises(ValueError, match="ReLU can't be exported: of Relu at opset 20 onnx's"):
        export.to_onnx(nn.ReLU(), (torch.ones(1),), tmp_path / "r.onnx", opset=20)
    assert not [*tmp_path.iterdir()]


def deformable(x):
    vision = pytest.importorskip("torchvision", reason="torchvision has the deformable convolution")
    offset = x.new_ones(x.shape[0], 18, x.shape[2], x.shape[3]) / 3
    return vision.ops.deform_conv2d(x, offset, torch.ones(2, 2, 3, 3), padding=1)


@pytest.mark.slow
@needs_runtime
def test_the_opset_is_the_first_that_has_all_operators(tmp_path):
    inputs = (torch.randn(1, 2, 5, 6),)
    found, made = difference(Module(deformable), inputs, tmp_path)
    assert found < 1e-5
    assert (made.opset, made.operators) == (19, {"DeformConv": 1})
    assert export.to_onnx(nn.ReLU(), inputs, tmp_path / "r.onnx").opset == 18
    assert export.to_onnx(nn.ReLU(), inputs, tmp_path / "r.onnx", opset=21).opset == 21


@needs_runtime
@pytest.mark.parametrize(
    ("opset", "reason"),
    [
        (18, r"opset 18 is too low for Module: it needs DeformConv \(19\); pass opset=19 or None"),
        (17, "opset must be 18 to .*, got 17"),
        (99, "opset must be 18 to .*, got 99"),
    ],
)
def test_an_opset_that_will_not_do_is_told(opset, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        export.to_onnx(
            Module(deformable), (torch.ones(1, 2, 5, 6),), tmp_path / "d.onnx", opset=opset
        )


OUTPUTS = {
    "dict": (lambda x: {"out": x + 1, "aux": [x * 2, (x, None)]}, ("out", "aux.0", "aux.1.0")),
    "twice": (lambda x: (x + 1,) * 2, ("0", "1")),
    "names of others": (lambda x: {"x": x + 1, "add": x * 2, "mul": x * 3}, ("x_", "add", "mul")),
    "places": (
        lambda x: F.adaptive_max_pool2d(x, (3, 4), return_indices=True),
        ("0", "1"),
    ),
    "line": (lambda x: F.adaptive_max_pool1d(x[0], 4, return_indices=True), ("0", "1")),
}


@pytest.mark.slow
@needs_runtime
@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_output_is_kept_and_named(kind, tmp_path):
    function, names = OUTPUTS[kind]
    x = torch.randn(2, 2, 7, 9)
    made = export.to_onnx(Module(function), (x,), tmp_path / "o.onnx")
    session = export.open_session(made.path, threads=1)
    assert made.outputs == tuple(each.name for each in session.get_outputs()) == names
    expected = [each for each in tree_leaves(function(x)) if each is not None]
    for output, wanted in zip(export.run_session(session, x), expected, strict=True):
        torch.testing.assert_close(output, wanted)


@pytest.mark.slow
@needs_runtime
@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: F.adaptive_avg_pool3d(x, (2, 3, 4)), "aten._adaptive_avg_pool3d"),
        (lambda x: F.adaptive_max_pool3d(x, (2, 3, 4)), "aten.adaptive_max_pool3d"),
        (lambda x: torch.linalg.eigvals(x[0, :, :2, :2]), "aten.linalg_eig"),
    ],
)
def test_an_operator_without_translation_is_named(function, operator, tmp_path):
    with pytest.raises(ValueError, match=f"there is no translation of {operator} to ONNX; write"):
        export.to_onnx(Module(function), (torch.randn(1, 2, 5, 5),), tmp_path / "d.onnx")
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
@needs_runtime
def test_where_the_exporter_fails_is_told(tmp_path):
    module = Module(lambda x: torch.stack([y.mean() for y in x.split(x.shape[2] // 2, 2)]))
    with pytest.raises(ValueError, match="exported: the exporter fails at SplitToSequence; write"):
        export.to_onnx(module, (torch.ones(1, 2, 31, 17),), tmp_path / "s.onnx", dynamic=True)


def test_without_the_exporter_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UnavailableError, match="onnxscript is not installed; pip install"):
        export.to_onnx(nn.ReLU(), (torch.ones(1),), tmp_path / "r.onnx")
