"""Pretrained backbones: from a file, from timm's cache, and what is said when there is neither."""

import time
from dataclasses import replace

import pytest
import torch

from ann.backbones import make_backbone
from ann.catalogue import NETWORKS
from ann.network import make_network


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
    with pytest.raises(ValueError, match=r"neither 'timm:TAG' nor 'file:PATH'"):
        make_backbone("tiny", pretrained=source)


def test_unknown_tag_names_the_allowed_ones():
    with pytest.raises(ValueError, match=r"no weights 'v7' for resnet50c; allowed are gluon_in1k"):
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
