"""Progress of a training: its readings, the clock between them, and TensorBoard's log."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any


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
