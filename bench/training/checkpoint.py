"""Checkpoints of trainings: written whole or not at all, read without unpickling."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.records import write_whole

STATE_KEYS = {"iteration", "identity", "network", "optimiser", "trained"}


def save_training(path: Path, state: Mapping[str, Any]) -> None:
    """Put a state of tensors and plain data in the place of the one before, in one step, or keep that one."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_whole(
        path,
        content.getbuffer(),
        failure="the checkpoint could not be saved ({}); make room or choose another folder and call "
        "again, the last whole checkpoint is kept",
    )
    for unfinished in path.parent.glob(f"{path.name}.*.tmp"):  # of processes that were killed
        unfinished.unlink(missing_ok=True)


def load_training(path: Path) -> dict[str, Any] | None:
    """Read a state on the CPU, None where there is no file; one that is no such state is a ValueError."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is something else makes torch's reader fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        msg = f"{path}: is no checkpoint of a training ({reason}); delete it to begin anew"
        raise ValueError(msg) from error
    if not isinstance(state, dict) or not state.keys() >= STATE_KEYS:
        msg = f"{path}: holds no training to go on with; delete it to begin anew"
        raise ValueError(msg)
    return state
