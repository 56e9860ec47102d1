"""Time of the stretches of iterations between readings, and of the saving between them."""

import time
from collections.abc import Callable


class LoopClock:
    """Times stretches and saves; starts with a stretch after so many iterations."""

    def __init__(self, done: int) -> None:
        self.warm = False
        self.saving_s = 0.0
        self._begun = self._saved = time.perf_counter()
        self._done = done

    def start(self, done: int) -> None:
        """Begin a stretch; every one but the first is warm."""
        self.warm = True
        self._begun = time.perf_counter()
        self._done = done

    def lap(self, done: int) -> float:
        """Seconds per iteration since the start of the stretch."""
        return (time.perf_counter() - self._begun) / (done - self._done)

    @property
    def since_saved_s(self) -> float:
        """Seconds since the last save, or since the start."""
        return time.perf_counter() - self._saved

    def save(self, save: Callable[[], None]) -> None:
        """Save, and note how long it took."""
        before = time.perf_counter()
        save()
        self._saved = time.perf_counter()
        self.saving_s = self._saved - before
