"""Checkpoint files to named tensors: what frameworks put around a state dict is opened, and nothing foreign is run.

A file is read by torch's restricted unpickler, which builds tensors and plain data alone. A few classes that frameworks
keep beside the weights, such as mmengine's log of a training, are replaced by stand-ins that hold nothing.
"""

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

State = dict[str, Tensor]

# Under which names files keep the state dict: most of them, accelerate and timm, DeepSpeed, our own trainings, others.
CONTAINERS = (
    *("state_dict", "model", "module", "network", "net"),
    *("model_state_dict", "model_state"),
)
SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
DEEPEST = 4  # containers in containers
# Under which names files keep a second state, of weights averaged over a training or, by mmengine's hook, not averaged.
MMENGINE_OTHERS = "ema_state_dict"
AVERAGES = ("state_dict_ema", "model_ema", "ema_model", "ema")
AVERAGED_MODEL = "n_averaged"  # torch's AveragedModel counts in it
# What wraps a module puts its own name into the path: DDP, DataParallel and AveragedModel; torch.compile; FSDP;
# activation checkpointing.
WRAPPERS = {
    *("module", "_orig_mod"),
    *("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
}

# Classes and functions beside the weights that only keep a log or settings, by the names under which files know them.
HARMLESS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",  # the buffer's list of its own statistics
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
    *("numpy.ndarray", "numpy.dtype"),
    *("argparse.Namespace", "datetime.datetime"),
    *(f"pathlib.{name}" for name in ("PosixPath", "WindowsPath", "PurePosixPath")),
    "pathlib._local.PosixPath",
)
_REFUSED = re.compile(r"GLOBAL (\S+)")
_WHOLE_MODULE = "torch.nn.modules."


class Opened(NamedTuple):
    """The named tensors of a file, and what a user should know about them."""

    state: State
    notes: tuple[str, ...] = ()


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
        inside = sorted(each.name for each in file.glob("*") if each.suffix in SUFFIXES)[:8]
        of_folder = f", a folder (in it: {', '.join(inside) or 'none'})" if file.is_dir() else ""
        msg = (
            f"no checkpoint at {file}{of_folder}; pass the path of a .pth, .pt or .safetensors file"
        )
        raise ValueError(msg)
    try:
        return open_nested(_read_file(file))
    except ValueError as error:
        msg = f"{file}: {error}"
        raise ValueError(msg) from error


def _read_file(file: Path) -> object:
    if file.name.endswith(".safetensors.index.json"):
        return _read_parts(file)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    try:
        with warnings.catch_warnings(), safe_globals(_STAND_INS):  # type: ignore[arg-type]  # its own form of a pair
            warnings.simplefilter("ignore")  # what it warns of ends as an error
            _check_sums(file)
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(_refusal(file, str(error))) from error
    except Exception as error:  # a file that is something else makes torch's reader fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        msg = f"is no checkpoint, or not a whole one ({reason}); get it again"
        if "TorchScript" in reason:
            msg = (
                "is a TorchScript archive, a program with its weights; where you trust it, take the weights out: "
                f"torch.save(dict(torch.jit.load({str(file)!r}).state_dict()), 'weights.pth')"
            )
        raise ValueError(msg) from error


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


def _refusal(file: Path, text: str) -> str:
    """Say what a file holds besides tensors and plain data, and how to take the tensors out."""
    named = _REFUSED.search(text)
    if named is None:
        return (
            "holds more than tensors and plain data, is no checkpoint, or is damaged; get it again, or where you trust "
            "it, save its state_dict alone: torch.save(dict(state_dict), 'weights.pth')"
        )
    try:
        names = sorted(get_unsafe_globals_in_checkpoint(file))
    except Exception:  # noqa: BLE001  # only for a better sentence, of a file that may be anything
        names = []
    foreign = [name for name in names if name not in HARMLESS] or [named[1]]
    whole = any(name.startswith(_WHOLE_MODULE) for name in foreign)
    taken = ".state_dict()" if whole else "['state_dict']"
    shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
    return (
        f"holds {'a whole module' if whole else 'objects'} of {shown}, which only unpickling could read, and that may "
        "run code; where you trust it, take the tensors out: "
        f"torch.save(dict(torch.load({str(file)!r}, weights_only=False){taken}), 'weights.pth')"
    )


def _read_safetensors(file: Path) -> State:
    from safetensors import SafetensorError  # comes with timm, only for such files
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        msg = f"is no safetensors file ({error}); get it again"
        raise ValueError(msg) from error


def _read_parts(index: Path) -> State:
    """Read the files that an index lists; all lie beside it."""
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in listed.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"is no index of safetensors files ({type(error).__name__}: {error}); get it again"
        raise ValueError(msg) from error
    state: State = {}
    for name in names:
        part = index.parent / Path(name).name
        if not part.is_file():
            msg = f"lists {name}, which is not beside it; get that file too"
            raise ValueError(msg)
        state |= _read_safetensors(part)
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
    named = _named_tensors(content)
    state = _unwrapped(named)
    count = state.get(AVERAGED_MODEL)
    if count is not None and count.numel() == 1:
        del state[AVERAGED_MODEL]
        notes.append(f"weights averaged over {int(count)} updates by AveragedModel")
    return Opened(state, tuple(notes))


def _named_tensors(content: object) -> State:
    if not isinstance(content, Mapping) or not content:
        msg = f"holds no named tensors but {_kind_of(content)}; pass a state_dict"
        raise ValueError(msg)
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            msg = (
                f"holds no tensor but {_kind_of(value)} under {key!r}, and no state dict under any of "
                f"{', '.join(CONTAINERS)}; pass a state_dict alone"
            )
            raise ValueError(msg)
        if value.is_meta or value.layout != torch.strided or value.is_quantized:
            kind = "meta" if value.is_meta else "quantized" if value.is_quantized else value.layout
            msg = f"holds a {kind} tensor under {key!r}; save its values as a plain one (dense, dequantized)"
            raise ValueError(msg)
    return dict(content)


def _unwrapped(state: State) -> State:
    """Leave out of the names what wrappers put there, in whatever order and number."""
    bare: State = {}
    for key, value in state.items():
        name = ".".join(part for part in key.split(".") if part not in WRAPPERS) or key
        if name in bare and not torch.equal(bare[name], value):
            msg = (
                f"holds two tensors of the name {name!r} (one as {key!r}) that differ; save the state dict of one "
                "network alone"
            )
            raise ValueError(msg)
        bare[name] = value
    return bare


def _averages_beside(holder: Mapping[object, object], inner: object) -> list[str]:
    """What to know where a file has two states: which was read."""
    other, mine = holder.get(MMENGINE_OTHERS), holder[inner]
    if inner == "state_dict" and isinstance(other, Mapping) and isinstance(mine, Mapping):
        note = "averaged weights: mmengine's EMAHook saves them as state_dict, those of the last step as ema_state_dict"
        statistics = [key for key in mine if str(key).endswith(("running_mean", "running_var"))]
        if statistics and all(_same(mine[key], other.get(f"module.{key}")) for key in statistics):
            note += "; batch norm's running statistics are those of the last step"
        return [note]
    beside = next((key for key in AVERAGES if isinstance(holder.get(key), Mapping)), None)
    if beside is None:
        return []
    return [f"weights of the last step; the file has averaged ones too, under {beside!r}, not read"]


def _same(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


def _kind_of(value: object) -> str:
    if isinstance(value, Mapping) and not value:
        return "an empty dict"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
