"""Progress of a training: its readings, the clock between them, TensorBoard's log, and the checkpoint, as a file."""

import io
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench.records import write_whole

STATE_KEYS = {"iteration", "identity", "network", "optimiser", "trained"}


@dataclass(kw_only=True, slots=True)
class Trained:
    """How a training went; readings are taken at even distances, at most every 50 iterations.

    The first stretch after a start, which waits for the data and tunes kernels, has no speed if there is another.
    """

    losses: list[tuple[int, float]] = field(default_factory=list)  # with the iterations done
    images_per_s: list[float] = field(default_factory=list)  # of all processes together
    step_time_s: list[float] = field(default_factory=list)  # per iteration of the same stretches
    empty_crops: int = 0  # crops without one labelled pixel; they add nothing to the loss


class LoopClock:
    """Times stretches of iterations between readings, and the saving between them."""

    def __init__(self, done: int) -> None:
        self.warm = False
        self._saving_s = 0.0
        self._begun_s = self._saved_s = time.perf_counter()
        self._done = done

    def start(self, done: int) -> None:
        """Begin a stretch after so many iterations; every one but the first is warm."""
        self.warm = True
        self._begun_s = time.perf_counter()
        self._done = done

    def lap(self, done: int) -> float:
        """Seconds per iteration since the start of the stretch."""
        return (time.perf_counter() - self._begun_s) / (done - self._done)

    def pays_off(self, share: float) -> bool:
        """Whether the last save took at most that share of the time since."""
        return (time.perf_counter() - self._saved_s) * share >= self._saving_s

    def save(self, save: Callable[[], None]) -> None:
        """Save, and note how long it took."""
        before = time.perf_counter()
        save()
        self._saved_s = time.perf_counter()
        self._saving_s = self._saved_s - before


def open_log(folder: Path | None, *, done: int) -> AbstractContextManager[Any]:
    """Open TensorBoard's files; None is entered without a folder or where tensorboard is not installed.

    Readings of a killed run beyond the iterations done are hidden.
    """
    if folder is None or find_spec("tensorboard") is None:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter  # seconds, and optional

    return SummaryWriter(str(folder), purge_step=done + 1)


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
