"""Checkpoints: names and numbers of keys, the way between layouts, and what is refused."""

import pickle
import re
from collections import Counter, OrderedDict
from dataclasses import replace

import pytest
import torch

from ann.catalogue import NETWORKS
from ann.checkpoints import load, open_nested, read, to_layout
from ann.network import make_network


def tiny(name, **changes):
    spec = replace(NETWORKS[name], **{"backbone": "tiny", "num_classes": 5} | changes)
    return make_network(spec).eval()


def randomised(net, seed=0):
    """Give every tensor random contents; variances stay positive."""
    torch.manual_seed(seed)
    for key, tensor in net.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.fill_(3)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        else:
            tensor.normal_(std=0.3)
    return net


@pytest.fixture
def official():
    return randomised(tiny("official/ann-r101"))


def test_official_file_is_opened_and_its_prefix_stripped(official, tmp_path):
    state = {f"module.{key}": value for key, value in to_layout(official, "official").items()}
    runner = {"iters": 60000, "max_performance": 0.799}
    content = {
        "config_dict": {"lr": 0.01},
        "state_dict": OrderedDict(state),
        "runner_state": runner,
    }
    torch.save(content, tmp_path / "ann.pth")
    other = tiny("official/ann-r101")
    assert load(other, tmp_path / "ann.pth").layout == "official"
    assert torch.equal(other.head.classifier.weight, official.head.classifier.weight)


def test_mmseg_file_is_opened(tmp_path):
    net, other = randomised(tiny("mmseg/psp-r50")), tiny("mmseg/psp-r50")
    torch.save({"meta": {"epoch": 1}, "state_dict": to_layout(net, "mmseg")}, tmp_path / "psp.pth")
    assert load(other, str(tmp_path / "psp.pth")).layout == "mmseg"
    assert torch.equal(other.head.classifier.weight, net.head.classifier.weight)


def test_counters_of_batches_may_be_missing(official):
    state = {k: v for k, v in to_layout(official, "official").items() if "tracked" not in k}
    other = tiny("official/ann-r101")
    load(other, state)
    assert torch.equal(other.head.classifier.weight, official.head.classifier.weight)


def broken(net, change):
    state = dict(to_layout(net, "official"))
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("cls.bias"), r"1 missing: cls\.bias"),
        (lambda s: s.update(extra=torch.ones(1)), r"1 left over: extra"),
        (
            lambda s: s.update({"cls.bias": torch.ones(9)}),
            r"1 of another shape: cls\.bias \(9,\) instead of \(5,\)",
        ),
        (
            lambda s: s.update(
                {"context.2.stages.0.f_query.0.bias": torch.ones(16), "cls.bias": torch.ones(9)}
            ),
            r"1 different although query and key are one: context\.2\.stages\.0\.f_query\.0\.bias",
        ),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_loaded(official, change, message):
    other = tiny("official/ann-r101")
    before = {key: tensor.clone() for key, tensor in other.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load(other, broken(official, change))
    for key, tensor in other.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_long_lists_are_cut_short(official):
    other = tiny("official/ann-r101", num_classes=7, auxiliary_channels=None)
    with pytest.raises(ValueError, match="left over") as caught:
        load(other, broken(official, lambda s: [s.pop(k) for k in list(s) if "fusion" in k]))
    text = str(caught.value)
    assert re.search(r"and \d+ more", text)
    assert "\n" not in text
    assert len(text) < 2000


def test_another_number_of_classes_is_seen_in_both_classifiers(official):
    spec = replace(NETWORKS["official/ann-r101"], backbone="tiny", num_classes=7)
    with pytest.raises(ValueError, match=r"4 of another shape: cls\.weight .*dsn\.3\.bias"):
        load(make_network(spec), to_layout(official, "official"))


def test_keys_of_no_known_layout_are_shown(official):
    with pytest.raises(ValueError, match=r"the keys \(conv1\.weight, \.\.\.\).*pretrained="):
        load(official, {"conv1.weight": torch.ones(1)})


def test_a_network_on_meta_is_refused(official):
    with torch.device("meta"):
        net = tiny("official/ann-r101")
    with pytest.raises(ValueError, match="on the meta device"):
        load(net, to_layout(official, "official"))


class Sneaky:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_nothing_is_unpickled(tmp_path, capsys):
    torch.save({"state_dict": {"cls.weight": Sneaky()}}, tmp_path / "bad.pth")
    with pytest.raises(
        ValueError,
        match=r"bad\.pth: holds objects of builtins.print, which only.*torch\.save\(dict",
    ):
        read(tmp_path / "bad.pth")
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short", bytes(range(256)) * 40]
)
def test_a_file_that_is_no_checkpoint_gets_one_line(content, tmp_path):
    file = tmp_path / "bad.pth"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.pth: (is|holds)") as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_a_plain_pickle_is_not_read(tmp_path):
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Counter(a=1)))
    with pytest.raises(ValueError, match=r"bad\.pth: (is|holds)"):
        read(tmp_path / "bad.pth")


def test_a_safetensors_file_that_is_none_gets_one_line(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.safetensors: is no safetensors file"):
        read(tmp_path / "bad.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint at .*absent\.pth; pass the path"):
        read(tmp_path / "absent.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "no named tensors but a list"),
        ({}, "an empty dict"),
        ({"epoch": 3}, "no tensor but an int under 'epoch'"),
        ({"state_dict": {"a": "b"}}, "no tensor but a str under 'a'"),
    ],
)
def test_content_without_tensors_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        open_nested(content)
