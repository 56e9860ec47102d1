"""Files with free height and width: right at every size, or refused and not left."""

import importlib.util
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann import build, export, gallery
from ann.implementations import UnavailableError
from ann.layers import draw_zeros
from ann.spec import Size

RUNTIME = ("onnxscript", "onnxruntime")
pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in RUNTIME),
        reason="the group `export` is not installed",
    ),
]
IN_ALL = [Size.parse(size) for size in ("53x37", "37x83", "101x53", "37x101", "7x5", "44x38")]


class Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


def largest_difference(module, folder, *, channels, at, inputs=1):
    """A file of a map of 31x17 at another size and batch, against the module."""
    draw_zeros(module.eval())
    examples = tuple(torch.randn(1, channels, 17, 31) for _ in range(inputs))
    made = export.to_onnx(module, examples, folder / "m.onnx", dynamic=True)
    assert {*IN_ALL} <= {*made.verified}
    session = export.open_session(made.path, threads=1)
    maps = [torch.randn(at[0], channels, *at[1:]) for _ in range(inputs)]
    with torch.no_grad():
        expected = module(*maps)
    (output,) = export.run_session(session, *maps)
    return export.difference(expected, output)


POOLED = {
    "averages": lambda x: F.adaptive_avg_pool2d(x, (3, 8)),
    "maxima": lambda x: F.adaptive_max_pool2d(x, (3, 8)),
    "a line": lambda x: F.adaptive_avg_pool1d(x.flatten(2), 5),
    "strips": lambda x: x * F.adaptive_avg_pool2d(x, (None, 1)),
    "resized": lambda x: F.interpolate(F.adaptive_avg_pool2d(x, 6), x.shape[2:], mode="bilinear"),
}


def test_a_pool_is_right_at_every_size(tmp_path):
    module = Module(POOLED["averages"])
    assert largest_difference(module, tmp_path, channels=2, at=(4, 64, 23)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", POOLED)
def test_pooling_is_right_at_every_size(kind, tmp_path):
    module = Module(POOLED[kind])
    for at in ((1, 1, 1), (4, 64, 23), (2, 3, 90)):
        assert largest_difference(module, tmp_path, channels=2, at=at) < 1e-6


@pytest.mark.slow
def test_places_of_maxima_are_torchs_at_every_size(tmp_path):
    module = Module(lambda x: F.adaptive_max_pool2d(x, (3, 8), return_indices=True))
    made = export.to_onnx(module, (torch.randn(1, 2, 17, 31),), tmp_path / "m.onnx", dynamic=True)
    session = export.open_session(made.path, threads=1)
    for height, width in ((1, 1), (64, 23), (3, 90)):
        x = torch.randn(3, 2, height, width)
        for output, expected in zip(export.run_session(session, x), module(x), strict=True):
            assert torch.equal(output, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nb", "apnb", "apnb-bottleneck", "dnl"])
def test_a_block_is_right_at_every_size(name, tmp_path):
    block = build.block(name, channels=16, key_channels=4)
    assert largest_difference(block, tmp_path, channels=16, at=(2, 41, 60)) < 1e-5


@pytest.mark.slow
def test_two_maps_have_the_same_free_size(tmp_path):
    block = build.block("afnb", channels=16, key_channels=4, low_channels=16)
    assert largest_difference(block, tmp_path, channels=16, at=(2, 41, 60), inputs=2) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PyramidPooling", "PooledAttention", "CrissCross"])
def test_a_block_of_the_gallery_is_right_at_every_size(name, tmp_path):
    block = getattr(gallery, name)(16)
    assert largest_difference(block, tmp_path, channels=16, at=(1, 41, 60)) < 1e-5


@pytest.mark.slow
def test_a_network_is_right_at_every_size(tmp_path):
    network = build.network("mmseg/psp-r50", backbone="tiny", num_classes=5)
    assert largest_difference(network, tmp_path, channels=3, at=(2, 129, 70)) < 1e-5


@pytest.mark.slow
def test_a_batch_that_is_a_number_in_the_module_stays_fixed(tmp_path):
    module = Module(lambda x: x.reshape(2, 3, x.shape[2], x.shape[3]) * 2)
    made = export.to_onnx(module, (torch.randn(1, 6, 5, 7),), tmp_path / "m.onnx", dynamic=True)
    (entry,) = export.open_session(made.path, threads=1).get_inputs()
    assert entry.shape == [1, 6, "height", "width"]


REFUSED = {
    "a torch pool's kernel": (
        lambda x: F.avg_pool2d(x, x.shape[2] // 3),
        "is off by|makes a number",
    ),
    "parity": (lambda x: x + 1 if x.shape[2] % 2 else x - 1, "is off by .* on maps of 53x37"),
    "a branch far off": (
        lambda x: x + 1 if x.shape[2] < 140 else x - 1,
        "is off by .* on maps of 7x140",
    ),
    "a square": (lambda x: x.mT * 1 if x.shape[2] == x.shape[3] else x * 1, "is off by"),
    "flipped where tall": (lambda x: x.flip(3) if x.shape[2] > 3 * x.shape[3] else x * 1, "is off"),
    "a long line": (lambda x: x.softmax(2) if x.shape[3] > 4 * x.shape[2] else x * 1, "is off by"),
    "an edge cut": (lambda x: x[:, :, :150, :120] * 1, "is off by inf"),
    "a long side": (lambda x: x + 1 if max(x.shape[2:]) > 300 else x - 1, "is off by"),
    "a line": (lambda x: x + 1 if x.shape[2] == 1 else x - 1, "takes for at least 2"),
    "landscape": (lambda x: x + 1 if x.shape[3] > x.shape[2] else x - 1, "is off by"),
    "windows": (lambda x: x.unflatten(2, (4, x.shape[2] // 4)).sum(2), "takes no maps of 53x37"),
    "a table": (lambda x: x + torch.ones(16, 32), "makes a number, 16, of the height of 'x'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_what_holds_for_the_example_alone_is_refused(kind, tmp_path):
    function, reason = REFUSED[kind]
    with pytest.raises(ValueError, match=f"{reason}.*; export it for one size"):
        export.to_onnx(
            Module(function), (torch.ones(1, 2, 16, 32),), tmp_path / "m.onnx", dynamic=True
        )
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_a_refused_map_can_be_exported_for_one_size(tmp_path):
    module, inputs = Module(REFUSED["a table"][0]), (torch.ones(1, 2, 16, 32),)
    with pytest.raises(ValueError, match="dynamic=False"):
        export.to_onnx(module, inputs, tmp_path / "m.onnx", dynamic=True)
    assert export.to_onnx(module, inputs, tmp_path / "m.onnx").nodes == 1


@pytest.mark.slow
def test_a_map_that_is_changed_in_place_is_compared_as_it_was(tmp_path):
    module = Module(lambda x: x.add_(1) * 2)
    assert (
        largest_difference(Module(lambda x: module(x.clone())), tmp_path, channels=2, at=(1, 9, 8))
        < 1e-6
    )
    export.to_onnx(module, (torch.ones(1, 2, 16, 32),), tmp_path / "m.onnx", dynamic=True)


@pytest.mark.slow
def test_random_places_are_refused(tmp_path):
    block = build.block("apnb", channels=8, key_channels=4, sampler="pyramid-random")
    with pytest.raises(ValueError, match="makes a number, 17, of the height"):
        export.to_onnx(block, (torch.ones(1, 8, 17, 31),), tmp_path / "m.onnx", dynamic=True)


def test_without_the_runtime_free_sizes_are_unavailable(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError, match=r"onnxruntime is not installed; .*dynamic=False"):
        export.to_onnx(nn.ReLU(), (torch.ones(1, 1, 4, 4),), tmp_path / "r.onnx", dynamic=True)
