"""Checkpoints: published ones read into our networks, and our networks' weights in the published layouts.

Read are the official layout (MendelXu/ANN), mmseg's, semseg's PSANet, DenseASPP's, and our own `state_dict`, in what
mmengine, Lightning, DeepSpeed, accelerate, torch's wrappers and our own trainings put around them. Nothing foreign is
unpickled, and nothing is loaded unless everything fits.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ann.checkpoints.keys import (
    AUXILIARY,
    fold_biases,
    layout_keys,
    tell_layout,
)
from ann.checkpoints.reading import Opened, State, open_nested, read

# Batch norm counts its batches; old files don't, and nothing here reads the count.
COUNTER = ".num_batches_tracked"
SHOWN = 8

Misfits = Mapping[str, Sequence[str]]


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
        msg = f"{os.fspath(source)}: {error}"
        raise ValueError(msg) from error


def _load_opened(net: nn.Module, opened: Opened) -> Loaded:
    layout, prefix = tell_layout(opened.state)
    state = {key: value for key, value in opened.state.items() if key.startswith(prefix)}
    notes, aside = list(opened.notes), sorted(set(opened.state) - set(state))
    if aside:
        notes.append(f"left aside, outside of {prefix.rstrip('.')!r}: {_listed(aside)}")
    state = {key.removeprefix(prefix): value for key, value in state.items()}
    fill(net, state, layout_keys(net, layout), advise=_advise_on_network)
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
    first: dict[
        str, str
    ] = {}  # names of keys in a layout, and those that the file has before those that it has not
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
            name for name, key in weighed.items() if not torch.equal(state[name], state[first[key]])
        ],
    }
    if any(misfits.values()):
        lines = (
            f"{len(items)} {kind}: {_listed(items)}" for kind, items in misfits.items() if items
        )
        msg = (
            f"the checkpoint does not fit the network, nothing was loaded; {'; '.join(lines)}; "
            f"{advise(misfits, state)}"
        )
        raise ValueError(msg)
    loaded = {key: state[name] for key, name in first.items() if name in at_hand}
    module.load_state_dict(current | loaded)


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    return tensor.is_floating_point(), tensor.is_complex()


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def _advise_on_network(misfits: Misfits, state: Mapping[str, Tensor]) -> str:
    """Say what to do about a file that does not fit a network, by what is wrong with it."""
    missing, left_over, shapes, *others = misfits.values()
    advice = ""
    if any(not tensor.numel() for tensor in state.values()):
        advice = (
            "its tensors are empty, as where DeepSpeed's ZeRO-3 keeps them in other files; gather them with the "
            "zero_to_fp32.py that it puts beside them"
        )
    elif any(name.startswith("ema_") for name in left_over):
        advice = (
            "names that begin with ema_ are the second set of weights of mmcv 1's EMA hook; leave them out: "
            "torch.save({k: v for k, v in state_dict.items() if not k.startswith('ema_')}, 'weights.pth')"
        )
    elif missing and not any((left_over, shapes, *others)):
        if all(name.startswith(AUXILIARY) for name in missing):
            advice = (
                "it has no auxiliary head; build the network without one (auxiliary_channels=None)"
            )
        elif all(name.startswith("head.") for name in state):
            advice = "it is of a head alone, trained on a frozen backbone; save the whole network's state_dict"
    elif left_over and not any((missing, shapes, *others)):
        if all(name.startswith(AUXILIARY) for name in left_over):
            advice = "it has an auxiliary head; build the network with one"
    elif shapes and not any((missing, left_over, *others)):
        classes = {int(size) for item in shapes for size in re.findall(r" \((\d+)", item)[:1]}
        if len(classes) == 1:
            count = classes.pop()
            advice = f"it has {count} classes; build the network with num_classes={count}, or pass its data set"
    return advice or (
        "build the network that it was saved from (same name, num_classes, backbone and auxiliary head)"
    )
