"""Files as frameworks write them: containers, wrappers' names, logs beside the weights; what is refused, and how."""

import sys
from collections import OrderedDict
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from ann.catalogue import NETWORKS
from ann.checkpoints import load, open_nested, read, to_layout
from ann.checkpoints.advice import HARMLESS
from ann.network import make_network

STATE = {"decode_head.weight": torch.arange(6.0).view(2, 3), "decode_head.bias": torch.zeros(2)}


def network(**changes):
    spec = NETWORKS["mmseg/ann-r50"]
    torch.manual_seed(0)
    return make_network(replace(spec, **{"backbone": "tiny", "num_classes": 5} | changes)).eval()


def same(found, expected=STATE):
    return found.keys() == expected.keys() and all(
        map(torch.equal, found.values(), expected.values())
    )


def renamed(prefix, state=STATE):
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."),
        *("_fsdp_wrapped_module._checkpoint_wrapped_module.", "_orig_mod.module._orig_mod."),
    ],
)
def test_names_of_wrappers_are_left_out_in_any_order_and_number(prefix):
    assert same(open_nested(renamed(prefix)).state)


def test_names_of_wrappers_are_left_out_inside_of_a_path():
    inside = {"decode_head._orig_mod.weight": 1, "decode_head.module.bias": 2}
    values = iter(STATE.values())
    assert same(open_nested({key: next(values) for key in inside}).state)


def test_two_tensors_that_get_one_name_are_refused_unless_they_are_equal():
    assert same(open_nested(STATE | renamed("module.")).state)
    other = {"module.decode_head.bias": torch.ones(2)}
    with pytest.raises(ValueError, match=r"two tensors of the name 'decode_head\.bias'.*differ"):
        open_nested(STATE | other)


@pytest.mark.parametrize(
    "content",
    [
        *({"state_dict": STATE, "epoch": 3}, {"model": STATE, "best": 0.4}, {"module": STATE}),
        *({"network": STATE, "iteration": 4}, {"model_state_dict": STATE, "optimizer": {}}),
        {"model": {"state_dict": renamed("module.")}},
    ],
)
def test_containers_are_opened(content):
    assert same(open_nested(content).state)


def test_a_container_in_itself_is_refused():
    content = {}
    content["model"] = content
    with pytest.raises(ValueError, match="holds no tensor but a dict under 'model'"):
        open_nested(content)


def test_weights_averaged_by_torch_are_told():
    averaged = torch.optim.swa_utils.AveragedModel(nn.Linear(3, 2))
    averaged.update_parameters(nn.Linear(3, 2))
    opened = open_nested(averaged.state_dict())
    assert opened.state.keys() == {"weight", "bias"}
    assert opened.notes == ("weights averaged over 1 updates by AveragedModel",)


def test_weights_averaged_by_mmengine_are_told_with_the_statistics_that_are_not():
    state = STATE | {"decode_head.bn.running_mean": torch.ones(2)}
    raw = renamed("module.", {key: value + 1 for key, value in state.items()})
    kept = raw | {"module.decode_head.bn.running_mean": torch.ones(2)}
    (note,) = open_nested({"state_dict": state, "ema_state_dict": kept}).notes
    assert note.startswith("averaged weights: mmengine's EMAHook saves them as state_dict")
    assert note.endswith("batch norm's running statistics are those of the last step")
    (note,) = open_nested({"state_dict": state, "ema_state_dict": raw}).notes
    assert "statistics" not in note


def test_averaged_weights_that_were_not_read_are_told():
    opened = open_nested({"state_dict": STATE, "state_dict_ema": renamed("module.")})
    assert same(opened.state)
    assert "averaged ones too, under 'state_dict_ema', not read" in opened.notes[0]


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("tensor", ["sparse", "quantized", "meta"])
def test_tensors_that_are_not_plain_are_refused(tensor):
    made = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "quantized": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "meta": lambda: torch.empty(2, device="meta"),
    }[tensor]()
    with pytest.raises(
        ValueError, match=rf"{tensor}.* tensor under 'a'; save its values as a plain"
    ):
        open_nested({"a": made})


@pytest.fixture
def history_buffer(monkeypatch):
    """A class of mmengine's name that keeps arrays and names of its own functions, as that of mmengine does."""

    class HistoryBuffer:
        def __init__(self):
            self.log_history = np.arange(4.0)
            self.methods = {"mean": HistoryBuffer.mean}

        def mean(self):
            return self.log_history.mean()

    name = "mmengine.logging.history_buffer"
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = name, "HistoryBuffer"
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = name, "HistoryBuffer.mean"
    module = ModuleType(name)
    module.HistoryBuffer = HistoryBuffer
    for each in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, each, ModuleType(each))
    monkeypatch.setitem(sys.modules, name, module)
    return HistoryBuffer


def test_a_log_beside_the_weights_is_dropped(history_buffer, tmp_path):
    hub = {"log_scalars": OrderedDict(loss=history_buffer()), "eta": np.float64(3)}
    torch.save({"state_dict": OrderedDict(STATE), "message_hub": hub}, tmp_path / "runner.pth")
    history_buffer.__setstate__ = lambda *_: pytest.fail("the foreign class was used")
    assert same(read(tmp_path / "runner.pth").state)


def test_a_stand_in_is_no_tensor(tmp_path):
    torch.save({"a": np.ones(3)}, tmp_path / "array.pth")
    with pytest.raises(ValueError, match="holds no tensor but a ndarray under 'a'"):
        read(tmp_path / "array.pth")


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_whose_weights_are_damaged_is_refused_where_it_has_checksums(checked, tmp_path):
    path = tmp_path / "damaged.pth"
    torch.serialization.set_crc32_options(checked)
    try:
        torch.save(STATE, path)
    finally:
        torch.serialization.set_crc32_options(True)
    content = bytearray(path.read_bytes())
    content[content.find(STATE["decode_head.weight"].numpy().tobytes()) + 6] ^= 0x40
    path.write_bytes(content)
    if checked:
        with pytest.raises(
            ValueError, match=r"not a whole one \(.*data/0 is not what its checksum"
        ):
            read(path)
    else:
        assert not same(read(path).state)


def test_stand_ins_are_gone_after_a_file(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    read(tmp_path / "a.pth")
    left = [item for item in torch.serialization.get_safe_globals() if isinstance(item, tuple)]
    assert not {name for _, name in left} & set(HARMLESS)


class Foreign:
    """Of nobody that a reader knows."""


def test_a_foreign_object_is_named_with_the_line_that_takes_the_tensors_out(tmp_path):
    path = tmp_path / "foreign.pth"
    torch.save({"state_dict": STATE, "settings": Foreign()}, path)
    with pytest.raises(ValueError, match="which only unpickling could read") as caught:
        read(path)
    assert f"objects of {Foreign.__module__}.Foreign, which" in str(caught.value)
    line = str(caught.value).split("take the tensors out: ")[1].replace("'weights.pth'", "kept")
    kept = tmp_path / "kept.pth"
    exec(line, {"torch": torch, "kept": kept})  # what the user is told to type
    assert same(read(kept).state)


def test_a_whole_module_is_told_and_its_line_works(tmp_path):
    path, kept = tmp_path / "whole.pth", tmp_path / "kept.pth"
    torch.save(nn.Linear(3, 2), path)
    with pytest.raises(
        ValueError, match="holds a whole module of torch.nn.modules.linear"
    ) as caught:
        read(path)
    line = str(caught.value).split("take the tensors out: ")[1].replace("'weights.pth'", "kept")
    exec(line, {"torch": torch, "kept": kept})  # what the user is told to type
    assert read(kept).state.keys() == {"weight", "bias"}


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_scripted_module_is_told(tmp_path):
    torch.jit.script(nn.Linear(3, 2)).save(tmp_path / "scripted.pt")
    with pytest.raises(ValueError, match=r"is a TorchScript archive.*torch\.jit\.load"):
        read(tmp_path / "scripted.pt")


def test_a_folder_is_answered_with_what_lies_in_it(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"a folder \(in it: model\.safetensors\)"):
        read(tmp_path)


def test_a_file_that_does_not_fit_is_named(tmp_path):
    torch.save(to_layout(network(num_classes=7), "mmseg"), tmp_path / "seven.pth")
    with pytest.raises(ValueError, match=r"seven\.pth: the checkpoint does not fit"):
        load(network(), tmp_path / "seven.pth")


def test_parts_of_safetensors_are_read_by_their_index(tmp_path):
    parts = {key: f"part{at}.safetensors" for at, key in enumerate(STATE)}
    for key, name in parts.items():
        save_file({key: STATE[key]}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(str({"weight_map": parts}).replace("'", '"'))
    assert same(dict(sorted(read(index).state.items(), reverse=True)))
    (tmp_path / "part1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lists part1\.safetensors, which is not beside it"):
        read(index)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match="is no index of files"):
        read(tmp_path / "model.safetensors.index.json")


class Tied(nn.Module):
    """A network whose tensors stand in it twice, under the names of a layout."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            self.register_buffer(name.replace(".", "/"), value)


def test_tied_weights_of_which_a_file_has_one_name_are_loaded(tmp_path):
    net, other = network(), network()
    state = to_layout(net, "mmseg")
    save_model(Tied(state), str(tmp_path / "tied.safetensors"))
    kept = {
        key.replace("/", "."): value
        for key, value in read(tmp_path / "tied.safetensors").state.items()
    }
    assert len(kept) < len(state)
    nn.init.zeros_(other.head.context.key.conv.weight)
    assert load(other, kept).layout == "mmseg"
    assert torch.equal(other.head.context.key.conv.weight, net.head.context.key.conv.weight)


@pytest.mark.parametrize("prefix", ["model.", "net.", "segmentor.network."])
def test_a_network_is_found_in_the_module_that_holds_it(prefix):
    net = network()
    state = renamed(prefix, to_layout(net, "mmseg")) | {"loss.weight": torch.ones(5)}
    loaded = load(network(), state)
    assert loaded == ("mmseg", (f"left aside, outside of '{prefix.rstrip('.')}': loss.weight",))


def test_two_networks_in_one_file_are_refused():
    state = to_layout(network(), "mmseg")
    with pytest.raises(ValueError, match=r"several networks, under student\., teacher\.; take one"):
        load(network(), renamed("teacher.", state) | renamed("student.", state))


def without(state, *prefixes):
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (lambda s: without(s, "auxiliary_head."), r"no auxiliary head; .*auxiliary_channels=None"),
        (
            lambda s: s | {"ema_decode_head_bias": s["decode_head.conv_seg.bias"]},
            "mmcv 1's EMA hook",
        ),
        (lambda s: {k: v[:0] for k, v in s.items() if v.ndim}, "ZeRO-3 .*zero_to_fp32"),
        (lambda s: to_layout(network(num_classes=7), "mmseg"), "it has 7 classes; .*num_classes=7"),
        (lambda s: without(s, "backbone.layer1"), "build the network that it was saved from"),
        (
            lambda s: {
                k: v.to(torch.int8) if k.endswith("conv_seg.bias") else v for k, v in s.items()
            },
            r"of another kind of numbers: .*conv_seg\.bias torch\.int8 instead of torch\.float32",
        ),
    ],
)
def test_advice_fits_what_is_wrong(change, advice):
    net = network()
    with pytest.raises(ValueError, match=advice):
        load(net, change(to_layout(net, "mmseg")))


def test_a_file_with_an_auxiliary_head_too_many_is_told():
    state = to_layout(network(), "mmseg")
    with pytest.raises(ValueError, match="it has an auxiliary head; build the network with one"):
        load(network(auxiliary_channels=None), state)


def test_a_head_alone_is_told():
    net = network()
    state = {key: value for key, value in net.state_dict().items() if key.startswith("head.")}
    with pytest.raises(ValueError, match="it is of a head alone, trained on a frozen backbone"):
        load(network(auxiliary_channels=None), {"network": state})


def test_unknown_keys_are_answered_by_how_known_ones_begin():
    with pytest.raises(ValueError, match=r"mmseg \(decode_head\.\*\).*rename the keys"):
        load(network(), {"segmentation_head.0.weight": torch.ones(1)})
