"""Pretrained weights of a backbone: from timm's cache by tag, or from a file.

Nothing is downloaded and nothing is guessed. A download that fails is retried for most of a minute,
so that only the cache is looked at: what is not there is named, with the command that gets it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from ann.checkpoints import fill, read
from ann.checkpoints.keys import rename, stem

# What a classification network has and a backbone has not.
CLASSIFIERS = ("fc.", "classifier.", "features.norm5.")
# What DenseASPP adds to a DenseNet, and no pretrained weights hold.
ADDED = ("features.transition4.", "features.norm5.")
CACHED = ("model.safetensors", "pytorch_model.bin")


def find_weights(model: str, source: str) -> Path:
    """Find the file with the weights of a backbone by its name in timm, empty where that has none.

    The source is `timm:TAG`, such as `timm:gluon_in1k`, or `file:PATH`. A source of another form is a ValueError, and
    so are weights that are not on this machine: the message names the file and the command that gets it.
    """
    kind, _, place = source.partition(":")
    if kind == "timm" and place:
        return _cached(model, place)
    if kind != "file" or not place:
        msg = f"pretrained={source!r} is neither 'timm:TAG' nor 'file:PATH'; pass e.g. 'timm:gluon_in1k'"
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
    as mmseg's ResNetV1c (`stem.0`, ...); a classifier is left aside. A file that is no checkpoint is a ValueError, and
    so are weights that don't fit: the message lists what does not.
    """
    state = {_bare(key): tensor for key, tensor in read(path).items()}
    state = {key: tensor for key, tensor in state.items() if not key.startswith(CLASSIFIERS)}
    current = features.state_dict()
    state |= {key: current[key] for key in current if key.startswith(ADDED)}
    try:
        fill(features, state, _keys_by_name(current, state))
    except ValueError as error:
        msg = f"{path} as weights of a backbone: {error}"
        raise ValueError(msg) from error


def _keys_by_name(keys: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, str]:
    """Map the names that a file has to the keys of a backbone."""
    if "stem.0.weight" in state:
        layout = "mmseg"
    elif "conv3.weight" in state:
        layout = "official"
    else:
        return {key: key for key in keys}
    full = {f"backbone.{key}": key for key in keys}
    table = stem(full, layout)
    return {_bare(rename(long, table)): key for long, key in full.items()}


def _bare(key: str) -> str:
    return key.removeprefix("backbone.").removeprefix("prefix.")


def _cached(model: str, tag: str) -> Path:
    """Find the weights in the cache of the Hugging Face hub, from where timm takes them."""
    import timm  # seconds, only for timm's own weights
    from huggingface_hub import constants, try_to_load_from_cache

    tags = [name.partition(".")[2] for name in timm.list_models(f"{model}.*", pretrained=True)]
    if not model or tag not in tags:
        msg = (
            f"timm has no weights {tag!r} for {model or 'the tiny backbone'}; "
            f"allowed are {', '.join(tags) or 'none'}, or 'file:PATH'"
        )
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
