"""Checkpoints: published ones read into our networks, and our networks' weights in the published layouts.

Read are the official layout (MendelXu/ANN), mmseg's, semseg's PSANet, DenseASPP's, and our own `state_dict`. Nothing is
unpickled, and nothing is loaded unless everything fits.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from ann.checkpoints.keys import fold_biases, layout_keys, tell_layout

# Batch norm counts its batches; old files don't, and nothing here reads the count.
COUNTER = ".num_batches_tracked"
SHOWN = 8

State = dict[str, Tensor]


def load(net: nn.Module, source: str | PathLike[str] | Mapping[str, object]) -> str:
    """Load a whole checkpoint into a network made by `ann.build.network`.

    Batch norm's counters of batches may be missing. A query that is the key's module stands in the file twice, and
    both must be the same. The network is changed only if everything fits.

    Args:
        net: the network.
        source: a file (`.pth`, `.pt` or `.safetensors`) or what it holds.

    Returns:
        The layout of the file: `own`, `official`, `mmseg`, `semseg` or `denseaspp`.

    Raises:
        ValueError: the file can't be read without unpickling, its layout is unknown, or a tensor is missing, left
            over or of another shape; the message lists them.
    """
    state = read(source) if isinstance(source, str | PathLike) else open_nested(source)
    layout = tell_layout(state)
    fill(net, state, layout_keys(net, layout))
    return layout


def to_layout(net: nn.Module, layout: str) -> State:
    """Return the network's weights under the names of a layout; the tensors share memory with the network's.

    For `mmseg` and `semseg`, which have no biases ahead of batch norms, those of the official form are folded into the
    running means, so that in eval mode the function stays the same.

    Raises:
        ValueError: the layout is unknown, or has no name for a part of this network.
    """
    keys = layout_keys(net, layout)
    state = {key: tensor.detach() for key, tensor in net.state_dict().items()}
    if layout in ("mmseg", "semseg"):
        state = fold_biases(state)
    return {name: state[key] for name, key in keys.items() if key in state}


def fill(module: nn.Module, state: Mapping[str, Tensor], keys: Mapping[str, str]) -> None:
    """Copy the state of a file into a module if it fits to the last tensor.

    `keys` maps names in the file to keys of the module. What further names of one key hold, as a shared query's do,
    must be equal to what its first one holds. The ValueError lists what is missing, left over, of another shape or
    unequal.
    """
    current = module.state_dict()
    if any(tensor.is_meta for tensor in current.values()):
        msg = "the network is on the meta device and holds no weights; build it on a real one to load a checkpoint"
        raise ValueError(msg)
    names: dict[str, str] = {}
    for name, key in keys.items():
        names.setdefault(key, name)
    at_hand = {name: key for name, key in keys.items() if name in state}
    problems = {
        "missing": [
            name for key, name in names.items() if name not in at_hand and not key.endswith(COUNTER)
        ],
        "left over": sorted(set(state) - set(keys)),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(current[key].shape)}"
            for name, key in at_hand.items()
            if state[name].shape != current[key].shape
        ],
        "different although query and key are one": [
            name
            for name, key in at_hand.items()
            if names[key] in at_hand and not key.endswith(COUNTER)
            if not torch.equal(state[name], state[names[key]])
        ],
    }
    _refuse_misfits(problems)
    loaded = {key: state[name] for key, name in names.items() if name in at_hand}
    module.load_state_dict(current | loaded)


def _refuse_misfits(problems: Mapping[str, list[str]]) -> None:
    lines = []
    for kind, items in problems.items():
        if items:
            more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
            lines.append(f"{len(items)} {kind}: {', '.join(items[:SHOWN])}{more}")
    if lines:
        msg = (
            f"the checkpoint does not fit the network, nothing was loaded; {'; '.join(lines)}; "
            "build the network that it was saved from (same name, num_classes, backbone and auxiliary head)"
        )
        raise ValueError(msg)


def read(path: str | PathLike[str]) -> State:
    """Read the tensors of a checkpoint file, without unpickling, whatever they are nested in.

    A file that is not there, is no checkpoint or holds more than tensors and plain data is a ValueError.
    """
    file = Path(path)
    if not file.is_file():
        msg = f"no checkpoint at {file}; pass the path of a .pth, .pt or .safetensors file"
        raise ValueError(msg)
    try:
        return open_nested(_read_file(file))
    except ValueError as error:
        msg = f"{file}: {error}"
        raise ValueError(msg) from error


def _read_file(file: Path) -> object:
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError  # comes with timm, only for such files
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            msg = f"is no safetensors file ({error}); get it again"
            raise ValueError(msg) from error
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        msg = (
            "holds more than tensors and plain data, or is no checkpoint; only unpickling could read it, which may run "
            "code; where you trust it, save its state_dict alone again: torch.save(dict(state_dict), PATH)"
        )
        raise ValueError(msg) from error
    except Exception as error:  # a file that is something else makes torch's reader fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        msg = f"is no checkpoint, or not a whole one ({reason}); get it again"
        raise ValueError(msg) from error


def open_nested(content: object) -> State:
    """Take the named tensors out of what a file holds: open `state_dict`, strip `module.` from the keys."""
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state:
        msg = f"holds no named tensors but {_kind_of(state)}; pass a state_dict"
        raise ValueError(msg)
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            msg = f"holds no tensor but {_kind_of(value)} under {key!r}; pass a state_dict alone"
            raise ValueError(msg)
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def _kind_of(value: object) -> str:
    return f"an empty {type(value).__name__}" if value == {} else f"a {type(value).__name__}"
