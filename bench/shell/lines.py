"""Progress in a log, which has no bar."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Seconds between two lines.
LINES_S = 10.0


def rough_time(seconds: float) -> str:
    """Say about how long something takes; below a minute and a half, minutes are too coarse."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


@dataclass
class PlainLines:
    """Progress in a log: a line for a step that ends long enough after the last line."""

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    _began_s: float = field(init=False)
    _written_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self._written_s = self.clock()

    def step(self, text: str = "", _: object = None) -> None:
        """Count a step, and write what was done, how far it is, and how long the rest may take."""
        self.done, now_s = self.done + 1, self.clock()
        if now_s - self._written_s < LINES_S:
            return
        self._written_s = now_s
        left_s = (now_s - self._began_s) / self.done * (self.total - self.done)
        sys.stderr.write(f"[{self.done}/{self.total}] {text}; {rough_time(left_s)} left\n")
        sys.stderr.flush()
