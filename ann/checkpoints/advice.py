"""Messages about checkpoints: what is wrong with a file, by its kind, and what to do about it."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

# How keys of an auxiliary head begin, in any of them.
AUXILIARY = ("auxiliary.", "auxiliary_head.", "dsn.", "aux.")
Misfits = Mapping[str, Sequence[str]]

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
_PART = re.compile(r"-\d{5}-of-\d{5}\.")
LONGEST_NAME = 100  # characters of a name in a message
SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".index.json")
GATHER = (
    "save whole tensors: torch.distributed.checkpoint.state_dict.get_model_state_dict(net, "
    "options=StateDictOptions(full_state_dict=True, cpu_offload=True))"
)
SHOWN = 8  # items of a list in a message


def shown(name: str) -> str:
    """Return a name from a file as a message may have it: printable, and not endless."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name[: LONGEST_NAME + 1])
    return text if len(name) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def listed(items: Sequence[str]) -> str:
    """Join names from a file, the first few of many."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(shown, items[:SHOWN])) + more


def is_part(file: str | PathLike[str]) -> bool:
    """Tell by its name whether a file is one of several, with an index beside it."""
    return _PART.search(Path(file).name) is not None


def missing_file(file: Path) -> str:
    """Say that there is no file at a path, and of a folder what is in it."""
    if not file.is_dir():
        return f"no checkpoint at {file}; pass the path of a .pth, .pt or .safetensors file"
    names = sorted(each.name for each in file.iterdir())
    if any(name.endswith(".distcp") for name in names):
        return (
            f"{file} is a folder of torch.distributed.checkpoint; gather it into one file: "
            f"torch.distributed.checkpoint.format_utils.dcp_to_torch_save({str(file)!r}, 'weights.pth')"
        )
    inside = [name for name in names if name.endswith(SUFFIXES)][:8]
    return (
        f"no checkpoint at {file}, a folder (in it: {', '.join(inside) or 'none'}); pass the path of a .pth, .pt or "
        ".safetensors file"
    )


def failure(file: Path, error: Exception) -> str:
    """Say why torch's reader failed at a file."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if "TorchScript" in reason:
        return (
            "is a TorchScript archive, a program with its weights; where you trust it, take the weights out: "
            f"torch.save(dict(torch.jit.load({str(file)!r}).state_dict()), 'weights.pth')"
        )
    if "process group" in reason or "DTensor" in reason:
        return f"holds tensors that are spread over processes; {GATHER}"
    if "Invalid magic number" in reason or ".tar" in reason:
        return "is no file of torch.save, or one of a torch before 1.0; save its tensors again: torch.save(state_dict)"
    return f"is no checkpoint, or not a whole one ({reason}); get it again"


def refusal(file: Path, text: str) -> str:
    """Say what a file holds besides tensors and plain data, and how to take the tensors out."""
    loaded = f"torch.load({str(file)!r}, weights_only=False)"
    begins = _pickle_of(file)[:3]
    if begins[1:2] > b"\x02":
        return (
            f"is pickled by protocol {begins[1]}, which torch's restricted reader does not have; where you trust it, "
            f"save it again: torch.save({loaded}, 'weights.pth')"
        )
    named = _REFUSED.search(text)
    if "distributed.tensor" in text:
        return f"holds tensors that are spread over processes; {GATHER}"
    if named is None:
        return (
            "holds more than tensors and plain data, is no checkpoint, or is damaged; get it again, or where you trust "
            f"it, save its state_dict alone: torch.save(dict({loaded}['state_dict']), 'weights.pth')"
        )
    try:
        names = sorted(get_unsafe_globals_in_checkpoint(file))
    except Exception:  # noqa: BLE001  # only for a better sentence, of a file that may be anything
        names = []
    foreign = [name for name in names if name not in HARMLESS] or [named[1]]
    whole = any(name.startswith(_WHOLE_MODULE) for name in foreign)
    if "optim_states" in file.name:
        taken = "DeepSpeed keeps the weights in the file mp_rank_00_model_states.pt beside it"
    elif whole and begins[2:] == b"}":
        saved = "torch.save(dict(network.state_dict()), 'weights.pth')"
        taken = f"take its network out of {loaded}, and save that: {saved}"
    else:
        part = ".state_dict()" if whole else "['state_dict']"
        taken = f"take the tensors out: torch.save(dict({loaded}{part}), 'weights.pth')"
    more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
    return (
        f"holds {'a whole module' if whole else 'objects'} of {', '.join(map(shown, foreign[:3]))}{more}, which only "
        f"unpickling could read, and that may run code; where you trust it, {taken}"
    )


def _pickle_of(file: Path) -> bytes:
    """How the pickle of a file of torch's begins; nothing where there is none."""
    if not zipfile.is_zipfile(file):
        return b""
    with zipfile.ZipFile(file) as archive:
        name = next((each for each in archive.namelist() if each.endswith("/data.pkl")), None)
        return archive.open(name).read(3) if name else b""


def advise_on_network(misfits: Misfits, state: Mapping[str, Tensor]) -> str:
    """Say what to do about a file that does not fit a network, by what is wrong with it."""
    missing, left_over, shapes, *others = misfits.values()
    advice = _of_habits(left_over, state)
    if not advice and missing and not any((left_over, shapes, *others)):
        advice = _of_missing(missing, state)
    elif not advice and left_over and not any((missing, shapes, *others)):
        advice = _of_left_over(left_over)
    elif not advice and shapes and not any((missing, left_over, *others)):
        classes = {int(size) for item in shapes for size in re.findall(r" \((\d+)", item)[:1]}
        if len(classes) == 1:
            count = classes.pop()
            advice = f"it has {count} classes; build the network with num_classes={count}, or pass its data set"
    return advice or (
        "build the network that it was saved from (same name, num_classes, backbone and auxiliary head)"
    )


def _of_habits(left_over: Sequence[str], state: Mapping[str, Tensor]) -> str:
    if any(not tensor.numel() for tensor in state.values()):
        return (
            "its tensors are empty, as where DeepSpeed's ZeRO-3 keeps them in other files; gather them with the "
            "zero_to_fp32.py that it puts beside them"
        )
    if any(name.startswith("ema_") for name in left_over):
        return (
            "names that begin with ema_ are the second set of weights of mmcv 1's EMA hook; leave them out: "
            "torch.save({k: v for k, v in state_dict.items() if not k.startswith('ema_')}, 'weights.pth')"
        )
    return ""


def _of_missing(missing: Sequence[str], state: Mapping[str, Tensor]) -> str:
    if all(name.startswith(AUXILIARY) for name in missing):
        return "it has no auxiliary head; build the network without one (auxiliary_channels=None)"
    if all(name.endswith(("running_mean", "running_var")) for name in missing):
        return "it has parameters alone; save state_dict(), which has the statistics of batch norms too"
    if all(name.startswith("head.") for name in state):
        return "it is of a head alone, trained on a frozen backbone; save the whole network's state_dict"
    return ""


def _of_left_over(left_over: Sequence[str]) -> str:
    if all(name.startswith(AUXILIARY) for name in left_over):
        return "it has an auxiliary head; build the network with one"
    first = {name.partition(".")[0] for name in left_over}
    if len(first) == 1 and all("." in name for name in left_over):
        return (
            f"leave out what begins with '{shown(first.pop())}.', which is no part of this network"
        )
    return ""
