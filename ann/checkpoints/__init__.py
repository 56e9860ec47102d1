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

from ann.checkpoints.keys import fold_biases, layout_names, shared_queries, tell_layout

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
    fill(net, state, layout_names(net, layout), copies=shared_queries(net))
    return layout


def to_layout(net: nn.Module, layout: str) -> State:
    """Return the network's weights under the names of a layout; the tensors share memory with the network's.

    For `mmseg` and `semseg`, which have no biases ahead of batch norms, those of the official form are folded into the
    running means, so that in eval mode the function stays the same.

    Raises:
        ValueError: the layout is unknown, or has no name for a part of this network.
    """
    renamed = layout_names(net, layout)
    state = {key: tensor.detach() for key, tensor in net.state_dict().items()}
    if layout in ("mmseg", "semseg"):
        state = fold_biases(state)
    copies = shared_queries(net)
    sources = {name: copies.get(key, key) for key, name in renamed.items()}
    return {name: state[key] for name, key in sources.items() if key in state}


def fill(
    module: nn.Module,
    state: Mapping[str, Tensor],
    renamed: Mapping[str, str],
    *,
    copies: Mapping[str, str],
) -> None:
    """Copy the state of a file into a module if it fits to the last tensor.

    `copies` maps keys that the module doesn't have to those that they must be equal to, and `renamed`
    these and the module's to names in the file.

    Raises:
        ValueError: it does not fit; the message lists what is missing, left over, of another shape or unequal.
    """
    current = module.state_dict()
    if any(tensor.is_meta for tensor in current.values()):
        msg = "the network is on the meta device and holds no weights; build it on a real one to load a checkpoint"
        raise ValueError(msg)
    whole = current | {key: current[original] for key, original in copies.items()}
    at_hand = {key: name for key, name in renamed.items() if name in state}
    problems = {
        "missing": [
            name
            for key, name in renamed.items()
            if key not in at_hand and key not in copies and not key.endswith(COUNTER)
        ],
        "left over": sorted(set(state) - set(renamed.values())),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(whole[key].shape)}"
            for key, name in at_hand.items()
            if state[name].shape != whole[key].shape
        ],
        "different although query and key are one": [
            at_hand[key]
            for key, original in copies.items()
            if key in at_hand and original in at_hand and not key.endswith(COUNTER)
            if not torch.equal(state[at_hand[key]], state[at_hand[original]])
        ],
    }
    _refuse_misfits(problems)
    loaded = {key: state[name] for key, name in at_hand.items() if key in current}
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

    Raises:
        ValueError: there is no such file, or it is no checkpoint, or holds more than tensors and plain data.
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
