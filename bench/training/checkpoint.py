"""Files from which a killed training goes on: written whole or not at all, read without unpickling."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

KEYS = {"iteration", "identity", "network", "optimiser", "trained"}


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Put a state of tensors and plain data in the place of the one before, in one step.

    A process that dies or a disk that fills up on the way leaves the earlier file as it was.

    Raises:
        OSError: the file can't be written; the message names it.
    """
    content = io.BytesIO()
    torch.save(dict(state), content)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        msg = (
            f"{path}: the checkpoint could not be saved ({error.strerror}); make room or choose another "
            "folder and call again, the last whole checkpoint is kept"
        )
        raise OSError(error.errno, msg) from error
    _sweep(path)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed while writing have left."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def load_training(path: Path) -> dict[str, Any] | None:
    """Read a state on the CPU; None where there is none.

    Raises:
        ValueError: the file is no such state.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # A file that is something else makes torch's reader fail in any way.
    except Exception as error:
        msg = f"{path}: is no checkpoint of a training ({_first_line(error)}); delete it to begin anew"
        raise ValueError(msg) from error
    if not isinstance(state, dict) or not state.keys() >= KEYS:
        msg = f"{path}: holds no training to go on with; delete it to begin anew"
        raise ValueError(msg)
    return state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
