"""Checkpoints: published ones read into our networks, and our networks' weights in the published layouts.

Read are the official layout (MendelXu/ANN), mmseg's, semseg's PSANet, DenseASPP's, and our own `state_dict`, in what
mmengine, Lightning, DeepSpeed, accelerate, torch's wrappers and our own trainings put around them. Nothing foreign is
unpickled, and nothing is loaded unless everything fits.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ann.checkpoints.advice import Misfits, advise_on_network, is_part, listed, shown
from ann.checkpoints.keys import fold_biases, layout_keys, tell_layout
from ann.checkpoints.reading import Opened, State, open_nested, read, same

# Batch norm counts its batches; old files don't, and nothing here reads the count.
COUNTER = ".num_batches_tracked"


class Loaded(NamedTuple):
    """The layout of what was loaded, and what a user should know about it."""

    layout: str
    notes: tuple[str, ...]


def load(net: nn.Module, source: str | PathLike[str] | Mapping[str, object]) -> Loaded:
    """Load a whole checkpoint into a network made by `ann.build.network`.

    Batch norm's counters of batches may be missing. A query that is the key's module stands in the file twice, and
    both must be the same; one may be missing. What lies outside of the module in which the file has the network, such
    as the weights of a loss, is left aside. The network is changed only if everything fits.

    Args:
        net: the network.
        source: a file (`.pth`, `.pt` or `.safetensors`) or what it holds.

    Returns:
        The layout of the file (`own`, `official`, `mmseg`, `semseg` or `denseaspp`), and notes, such as that the
        weights are averaged ones.

    Raises:
        ValueError: the file can't be read without unpickling, its layout is unknown, or a tensor is missing, left
            over or of another shape; the message lists them.
    """
    if not isinstance(source, str | PathLike):
        return _load_opened(net, open_nested(source))
    opened = read(source)
    try:
        return _load_opened(net, opened)
    except ValueError as error:
        part = "; it is one of several files: pass the index beside it (*.index.json)"
        msg = f"{source}: {error}{part if is_part(source) else ''}"
        raise ValueError(msg) from error


def _load_opened(net: nn.Module, opened: Opened) -> Loaded:
    layout, prefix = tell_layout(opened.state)
    state = {key: value for key, value in opened.state.items() if key.startswith(prefix)}
    inside = [key for key in opened.others if key.startswith(prefix)]
    if inside:
        msg = (
            f"holds no tensor but {opened.others[inside[0]]} under {shown(inside[0])!r}; leave it out: torch.save("
            "{k: v for k, v in state_dict.items() if isinstance(v, torch.Tensor)}, 'weights.pth')"
        )
        raise ValueError(msg)
    notes = list(opened.notes)
    aside = sorted({*opened.state, *opened.others} - set(state))
    if aside:
        notes.append(f"left aside, outside of {prefix.rstrip('.')!r}: {listed(aside)}")
    state = {key.removeprefix(prefix): value for key, value in state.items()}
    fill(net, state, layout_keys(net, layout), advise=advise_on_network)
    odd = [key for key, value in net.state_dict().items() if not value.isfinite().all()]
    if odd:
        notes.append(f"numbers that are not finite, in {listed(odd)}")
    return Loaded(layout, tuple(notes))


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


def fill(
    module: nn.Module,
    state: Mapping[str, Tensor],
    keys: Mapping[str, str],
    *,
    advise: Callable[[Misfits, Mapping[str, Tensor]], str],
) -> None:
    """Copy the state of a file into a module if it fits to the last tensor.

    `keys` maps names in the file to keys of the module. What further names of one key hold, as a shared query's do,
    must be equal to what its first one holds. The ValueError lists what is missing, left over, of another shape or
    kind, or unequal, and ends in what `advise` says to those lists and the state.
    """
    current = module.state_dict()
    if any(tensor.is_meta for tensor in current.values()):
        msg = "the network is on the meta device and holds no weights; build it on a real one to load a checkpoint"
        raise ValueError(msg)
    # One name of each key, that of the layout's first which the file has, or of its first.
    first: dict[str, str] = {}
    for name, key in sorted(keys.items(), key=lambda pair: pair[0] not in state):
        first.setdefault(key, name)
    at_hand = {name: key for name, key in keys.items() if name in state}
    weighed = {name: key for name, key in at_hand.items() if not key.endswith(COUNTER)}
    misfits = {
        "missing": [
            name for key, name in first.items() if name not in at_hand and not key.endswith(COUNTER)
        ],
        "left over": sorted(set(state) - set(keys)),
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(current[key].shape)}"
            for name, key in at_hand.items()
            if state[name].shape != current[key].shape
        ],
        "of another kind of numbers": [
            f"{name} {state[name].dtype} instead of {current[key].dtype}"
            for name, key in weighed.items()
            if _kind(state[name]) != _kind(current[key])
        ],
        "different although query and key are one": [
            name
            for name, key in weighed.items()
            if name != first[key] and not same(state[name], state[first[key]])
        ],
    }
    if any(misfits.values()):
        lines = (
            f"{len(items)} {kind}: {listed(items)}" for kind, items in misfits.items() if items
        )
        msg = (
            f"the checkpoint does not fit the network, nothing was loaded; {'; '.join(lines)}; "
            f"{advise(misfits, state)}"
        )
        raise ValueError(msg)
    loaded = {
        key: state[name].to(current[key].dtype) for key, name in first.items() if name in at_hand
    }
    module.load_state_dict(current | loaded)


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()
