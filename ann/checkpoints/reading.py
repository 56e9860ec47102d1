"""Checkpoint files to named tensors: what frameworks put around a state dict is opened, and nothing foreign is run.

A file is read by torch's restricted unpickler, which builds tensors and plain data alone. A few classes that frameworks
keep beside the weights, such as mmengine's log of a training, are replaced by stand-ins that hold nothing.
"""

import json
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.serialization import safe_globals

from ann.checkpoints.advice import GATHER, HARMLESS, failure, missing_file, refusal, shown

State = dict[str, Tensor]

# Under which names files keep the state dict: most of them, accelerate and timm, DeepSpeed, our own trainings, others.
CONTAINERS = (
    *("state_dict", "model", "module", "network", "net"),
    *("model_state_dict", "model_state"),
)
DEEPEST = 4  # containers in containers
# Under which names files keep a second state, of weights averaged over a training or, by mmengine's hook, not averaged.
MMENGINE_OTHERS = "ema_state_dict"
AVERAGES = ("state_dict_ema", "model_ema", "ema_model", "ema")
AVERAGED_MODEL = "n_averaged"  # torch's AveragedModel counts in it
EXTRA_STATE = "_extra_state"
LIGHTNING_AVERAGES = (
    "averaged weights: Lightning's WeightAveraging saves them as state_dict, those of the last step as "
    "current_model_state"
)
# What wraps a module puts its own name into the path: DDP, DataParallel and AveragedModel; torch.compile; FSDP;
# activation checkpointing.
WRAPPERS = {
    *("module", "_orig_mod"),
    *("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
}

# How files begin that are something else, and what to do about them.
_OTHERS = {
    b"version https://git-lfs": "is a pointer of Git LFS and no checkpoint; get the file itself (git lfs pull)",
    b"<": "is a page of the web and no checkpoint; get the file itself",
    b"\x1f\x8b": "is compressed by gzip; unpack it first (gunzip)",
}


class Opened(NamedTuple):
    """The named tensors of a file, what a user should know about them, and kinds of what else stood among them."""

    state: State
    notes: tuple[str, ...] = ()
    others: Mapping[str, str] = MappingProxyType({})


class Inert:
    """In the place of an object whose class is not loaded: takes any arguments and state, and keeps none."""

    def __new__(cls, *_: object) -> Self:
        """Take whatever a file passes."""
        return object.__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# A function's stand-in is that of what it makes.
_MADE = {"_reconstruct": "ndarray", "scalar": "numpy number"}
_STAND_INS = [
    (type(_MADE.get(last := name.rpartition(".")[2], last), (Inert,), {}), name)
    for name in HARMLESS
]


def read(path: str | PathLike[str]) -> Opened:
    """Read the tensors of a checkpoint file, without unpickling, whatever they are nested in.

    A file that is not there, is no checkpoint or holds more than tensors and plain data is a ValueError.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(missing_file(file))
    try:
        return open_nested(_read_file(file))
    except ValueError as error:
        msg = f"{file}: {error}"
        raise ValueError(msg) from error


def _read_file(file: Path) -> object:
    if file.name.endswith(".index.json"):
        return _read_parts(file)
    with file.open("rb") as opened:
        head = opened.read(64)
    for start, reason in _OTHERS.items():
        if head.startswith(start):
            raise ValueError(reason)
    # By what it is where that shows, else by its name.
    if head[8:9] == b"{" or (file.suffix == ".safetensors" and not head.startswith(b"PK")):
        return _read_safetensors(file)
    try:
        with warnings.catch_warnings(), safe_globals(_STAND_INS):  # type: ignore[arg-type]  # its own form of a pair
            warnings.simplefilter("ignore")  # what it warns of ends as an error
            _check_sums(file)
            with file.open("rb") as opened:  # by a path torch goes by its suffix
                return torch.load(opened, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(refusal(file, str(error))) from error
    except Exception as error:  # a file that is something else makes torch's reader fail in any way
        raise ValueError(failure(file, error)) from error


def _check_sums(file: Path) -> None:
    """Compare each record of a zip archive with its checksum, which torch does not."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        # All are 0 where they were switched off (torch.serialization.set_crc32_options).
        damaged = any(record.CRC for record in archive.infolist()) and archive.testzip()
    if damaged:
        msg = f"{damaged} is not what its checksum says"
        raise zipfile.BadZipFile(msg)


def _read_safetensors(file: Path) -> State:
    from safetensors import SafetensorError  # comes with timm, only for such files
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        msg = f"is no safetensors file ({error}); get it again"
        raise ValueError(msg) from error


def _read_parts(index: Path) -> State:
    """Read the files that an index of Hugging Face's lists; all lie beside it."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in listed.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"is no index of files ({type(error).__name__}: {error}); get it again"
        raise ValueError(msg) from error
    state: State = {}
    for name in names:
        part = index.parent / Path(name).name
        if not part.is_file():
            msg = f"lists {name}, which is not beside it; get that file too"
            raise ValueError(msg)
        state |= open_nested(_read_file(part)).state
    return state


def open_nested(content: object) -> Opened:
    """Take the named tensors out of what a file holds: open containers, strip what wrappers add to the names.

    ValueError where there are none, where one is not of plain numbers in memory, or where two get one name.
    """
    notes: list[str] = []
    for _ in range(DEEPEST):
        holder = content
        if not isinstance(holder, Mapping):
            break
        inner = next((key for key in CONTAINERS if isinstance(holder.get(key), Mapping)), None)
        if inner is None:
            break
        content = holder[inner]
        notes += _averages_beside(holder, inner)
    named, others = _named_tensors(content)
    state = _unwrapped(named)
    counts = [name for name in state if name.rpartition(".")[2] == AVERAGED_MODEL]
    for name in [name for name in counts if state[name].numel() == 1]:
        count = state.pop(name)
        notes.append(f"weights averaged over {int(count)} updates by AveragedModel")
    return Opened(state, tuple(notes), others)


def _named_tensors(content: object) -> tuple[State, dict[str, str]]:
    """The tensors, and of what is none its kind; extra state of modules, which is of no weight, is left out."""
    if not isinstance(content, Mapping) or not content:
        msg = f"holds no named tensors but {_kind_of(content)}; pass a state_dict"
        raise ValueError(msg)
    state: State = {}
    others: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            _require_plain(key, value)
            state[key] = value
        elif not str(key).endswith(EXTRA_STATE):
            others[str(key)] = _kind_of(value)
    if not state:
        key, kind = next(iter(others.items()), ("", "extra state"))
        arrays = kind == "a ndarray"
        advice = (
            "make tensors of them: torch.save({k: torch.as_tensor(v) for k, v in arrays.items()}, 'weights.pth')"
            if arrays
            else "pass a state_dict alone"
        )
        msg = (
            f"holds no tensor but {kind} under {shown(key)!r}, and no state dict under any of "
            f"{', '.join(CONTAINERS)}; {advice}"
        )
        raise ValueError(msg)
    return state, others


def _require_plain(key: str, value: Tensor) -> None:
    if "_flat_param" in key:
        msg = f"holds FSDP's flat parameters ({shown(key)}); {GATHER}"
        raise ValueError(msg)
    if type(value) not in (Tensor, nn.Parameter):
        msg = f"holds a {type(value).__name__} under {shown(key)!r} and no plain tensor; {GATHER}"
        raise ValueError(msg)
    if value.is_meta or value.layout != torch.strided or value.is_quantized:
        kind = "meta" if value.is_meta else "quantized" if value.is_quantized else value.layout
        msg = f"holds a {kind} tensor under {shown(key)!r}; save its values as a plain one (dense, dequantized)"
        raise ValueError(msg)


def _unwrapped(state: State) -> State:
    """Leave out of the names what wrappers put there, in whatever order and number."""
    bare: State = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part not in WRAPPERS) or key
        if name in bare and not same(bare[name], value):
            msg = (
                f"holds two tensors of the name {shown(name)!r} (one as {shown(key)!r}) that differ; save the state "
                "dict of one network alone"
            )
            raise ValueError(msg)
        bare[name] = value
    return bare


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and numbers, NaN in the same places."""
    if one.shape != other.shape:
        return False
    if not one.is_complex() and not other.is_complex():
        one, other = one.double(), other.double()
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _averages_beside(holder: Mapping[object, object], inner: object) -> list[str]:
    """What to know where a file has two states: which was read."""
    if "current_model_state" in holder and inner == "state_dict":
        return [LIGHTNING_AVERAGES]
    other, mine = holder.get(MMENGINE_OTHERS), holder[inner]
    if inner == "state_dict" and isinstance(other, Mapping) and isinstance(mine, Mapping):
        note = "averaged weights: mmengine's EMAHook saves them as state_dict, those of the last step as ema_state_dict"
        statistics = [key for key in mine if str(key).endswith(("running_mean", "running_var"))]
        if statistics and all(
            _is_same(mine[key], other.get(f"module.{key}")) for key in statistics
        ):
            note += "; batch norm's running statistics are those of the last step"
        return [note]
    beside = next(
        (key for key in (*AVERAGES, MMENGINE_OTHERS) if isinstance(holder.get(key), Mapping)), None
    )
    if beside is None:
        return []
    return [f"weights of the last step; the file has averaged ones too, under {beside!r}, not read"]


def _is_same(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and same(one, other)


def _kind_of(value: object) -> str:
    if isinstance(value, Mapping) and not value:
        return "an empty dict"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
