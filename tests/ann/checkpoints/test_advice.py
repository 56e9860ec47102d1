"""Files in which something is wrong or is not what it seems: each is told by its kind, and what is advised works."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ann.backbones import make_backbone
from ann.backbones.pretrained import load_backbone
from ann.catalogue import NETWORKS
from ann.checkpoints import load, open_nested, read, to_layout
from ann.network import make_network


def network(**changes):
    spec = NETWORKS["mmseg/ann-r50"]
    torch.manual_seed(0)
    return make_network(replace(spec, **{"backbone": "tiny", "num_classes": 5} | changes)).eval()


@pytest.fixture(scope="module")
def state():
    return to_layout(network(), "mmseg")


def renamed(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def test_weights_that_are_not_finite_are_loaded_and_told(state):
    damaged = dict(state)
    damaged["decode_head.conv_seg.bias"] = torch.full((5,), float("nan"))
    _, (note,) = load(network(), damaged)
    assert note == "numbers that are not finite, in head.classifier.bias"


def test_averages_inside_of_a_module_are_told(state):
    averaged = renamed("model.module.", state) | {"model.n_averaged": torch.tensor(3)}
    assert load(network(), averaged).notes == ("weights averaged over 3 updates by AveragedModel",)


def test_what_is_said_of_several_networks_works_behind_wrappers_too(state, tmp_path):
    both = renamed("module.model.", state) | renamed("module.ema.module.", state)
    both["module.ema.n_averaged"] = torch.tensor(3)
    with pytest.raises(ValueError, match=r"under ema\., model\.;") as caught:
        load(network(), both)
    line = str(caught.value).split("take one of them out: ")[1].replace("'weights.pth'", "kept")
    exec(line, {"torch": torch, "state_dict": both, "kept": tmp_path / "weights.pth"})
    assert load(network(), tmp_path / "weights.pth").layout == "mmseg"


def test_averages_of_lightning_are_told(state):
    content = {"state_dict": state, "current_model_state": state, "averaging_state": {}}
    (note,) = load(network(), content).notes
    assert note.startswith("averaged weights: Lightning's WeightAveraging")


def test_averages_beside_another_container_are_told(state):
    opened = open_nested({"model": state, "ema_state_dict": state})
    assert "under 'ema_state_dict', not read" in opened.notes[0]


def test_extra_state_and_what_lies_outside_is_left_aside(state):
    content = renamed("net.", state) | {
        "net.decode_head._extra_state": {"a": 1},
        "metric.scores": [1],
    }
    assert load(network(), content).notes == ("left aside, outside of 'net': metric.scores",)


def test_what_is_no_tensor_among_the_weights_is_named_with_the_line_that_leaves_it_out(state):
    with pytest.raises(
        ValueError, match=r"holds no tensor but a list under 'scores'; leave it out"
    ):
        load(network(), state | {"scores": [1]})


def test_arrays_are_told(tmp_path):
    torch.save({"model": {"a": np.ones(3)}}, tmp_path / "arrays.pth")
    with pytest.raises(ValueError, match=r"but a ndarray under 'a'.*torch\.as_tensor"):
        read(tmp_path / "arrays.pth")


def test_another_protocol_of_pickle_is_told_and_its_line_works(state, tmp_path):
    path = tmp_path / "four.pth"
    torch.save(state, path, pickle_protocol=4)
    with pytest.raises(ValueError, match="is pickled by protocol 4") as caught:
        read(path)
    line = str(caught.value).split("save it again: ")[1].replace("'weights.pth'", "kept")
    exec(line, {"torch": torch, "kept": tmp_path / "two.pth"})
    assert load(network(), tmp_path / "two.pth").layout == "mmseg"


def test_a_module_in_a_dict_is_told_apart_from_one_alone(tmp_path):
    torch.save({"net": nn.Linear(2, 2), "epoch": 1}, tmp_path / "held.pth")
    with pytest.raises(
        ValueError, match=r"take its network out of torch\.load\(.*network\.state_dict"
    ):
        read(tmp_path / "held.pth")


def test_parts_of_torch_files_are_read_by_their_index(state, tmp_path):
    parts = {key: f"pytorch_model-0000{at % 2 + 1}-of-00002.bin" for at, key in enumerate(state)}
    for name in set(parts.values()):
        torch.save({key: state[key] for key in state if parts[key] == name}, tmp_path / name)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": parts}))
    assert load(network(), index).layout == "mmseg"
    with pytest.raises(ValueError, match=r"one of several files: pass the index beside it"):
        load(network(), tmp_path / "pytorch_model-00001-of-00002.bin")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html><title>404</title>", "is a page of the web"),
        (b"\x1f\x8b\x08", "is compressed by gzip; unpack it first"),
    ],
)
def test_a_file_of_another_kind_is_told(content, reason, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "a.pth")


def test_the_kind_of_a_file_is_what_it_is_and_not_its_name(state, tmp_path):
    from safetensors.torch import save_file

    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "a.bin")
    torch.save(state, tmp_path / "a.safetensors")
    for name in ("a.bin", "a.safetensors"):
        assert read(tmp_path / name).state.keys() == state.keys()


def test_a_folder_of_distributed_checkpoints_is_told(tmp_path):
    (tmp_path / "__0_0.distcp").touch()
    with pytest.raises(ValueError, match="dcp_to_torch_save"):
        read(tmp_path)


class Spread(torch.Tensor):
    """Of a class of its own, as FSDP's are."""


def test_tensors_of_other_classes_are_refused_and_nothing_is_changed(state):
    net = network()
    before = net.state_dict()["head.classifier.bias"].clone()
    spread = {key: value.clone().as_subclass(Spread) for key, value in state.items()}
    with pytest.raises(ValueError, match=r"holds a Spread under .*full_state_dict=True"):
        load(net, spread)
    assert torch.equal(net.state_dict()["head.classifier.bias"], before)


def test_flat_parameters_are_told():
    with pytest.raises(ValueError, match=r"FSDP's flat parameters"):
        open_nested({"_fsdp_wrapped_module._flat_param": torch.ones(3)})


def test_parameters_without_statistics_are_told(state):
    parameters = {key: value for key, value in state.items() if "running" not in key}
    with pytest.raises(ValueError, match="it has parameters alone; save state_dict"):
        load(network(), parameters)


def test_a_second_network_beside_the_first_is_told(state):
    with pytest.raises(ValueError, match=r"leave out what begins with 'ema\.'"):
        load(network(), state | renamed("ema.", state))


def test_eight_bit_floats_are_loaded_as_what_the_network_has(state):
    if not hasattr(torch, "float8_e4m3fn"):
        pytest.skip("this torch has no float8")
    small = {k: v.to(torch.float8_e4m3fn) if v.is_floating_point() else v for k, v in state.items()}
    net = network()
    assert load(net, small).layout == "mmseg"
    assert net.head.classifier.weight.dtype == torch.float32


def test_names_in_messages_are_printable_and_not_endless():
    with pytest.raises(ValueError, match="known layout") as caught:
        load(network(), {"\x1b[31mred": torch.ones(1), "a" * 10**6: torch.ones(1)})
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("prefix", ["model.", "encoder.", "module.encoder_q.", "model.backbone."])
def test_a_backbone_is_found_in_the_module_that_holds_it(prefix, tmp_path):
    torch.manual_seed(1)
    features, other = make_backbone("tiny"), make_backbone("tiny")
    torch.save(
        renamed(prefix, features.state_dict()) | {"head.weight": torch.ones(1)}, tmp_path / "a.pth"
    )
    load_backbone(other, tmp_path / "a.pth")
    assert torch.equal(other.conv1.weight, features.conv1.weight)


def test_two_backbones_in_one_file_are_refused(tmp_path):
    state = make_backbone("tiny").state_dict()
    both = renamed("encoder_q.", state) | renamed("encoder_k.", state)
    torch.save(both, tmp_path / "two.pth")
    with pytest.raises(ValueError, match=r"it holds several, under encoder_k\., encoder_q\.;"):
        load_backbone(make_backbone("tiny"), tmp_path / "two.pth")


@pytest.mark.parametrize("prefix", ["prefix.", "backbone.prefix."])
def test_the_official_code_s_module_around_its_stem_is_no_backbone_of_its_own(prefix, tmp_path):
    features, other = make_backbone("tiny"), make_backbone("tiny")
    outer = prefix.removesuffix("prefix.")
    state = {
        f"{prefix if key.startswith(('conv', 'bn')) else outer}{key}": value
        for key, value in features.state_dict().items()
    }
    torch.save(state, tmp_path / "official.pth")
    load_backbone(other, tmp_path / "official.pth")
    assert torch.equal(other.layer1[0].conv1.weight, features.layer1[0].conv1.weight)


def test_a_convolution_of_a_head_is_no_second_backbone(tmp_path):
    features, other = make_backbone("tiny"), make_backbone("tiny")
    state = renamed("backbone.", features.state_dict()) | {
        "head.branches.0.conv1.weight": torch.ones(1)
    }
    torch.save(state, tmp_path / "whole.pth")
    load_backbone(other, tmp_path / "whole.pth")
    assert torch.equal(other.conv1.weight, features.conv1.weight)
