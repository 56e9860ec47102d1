"""Where a series of readings changes its level: a plain rule for charts, never for a gate.

Within a stretch, the place is looked for that leaves the least sum of absolute differences from the
medians of both parts. It is a step if both parts have `LEAST` points or more and their medians
differ by more than the margin and by more than `SCATTERS` times the scatter. That is 1.0483 times
the median absolute difference of neighbours, a standard deviation for normal noise, and few steps
don't change it. Then both parts are looked through likewise. In logarithms, so that a doubling and
a halving are as far.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST = 4
SCATTERS = 4.0
MARGIN = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A change of level.

    Attributes:
        at: index of the first point of the new level.
        before: median of the level before.
        after: median of the new level.
    """

    at: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """The new level over the old one."""
        return self.after / self.before


def find(values: Sequence[float]) -> tuple[Step, ...]:
    """Steps of a series of readings, the oldest first.

    Raises:
        ValueError: a value is not above zero.
    """
    if not all(0 < value < math.inf for value in values):
        msg = "a series has values that are not above zero; leave them out"
        raise ValueError(msg)
    return _between(values, _starts([math.log(value) for value in values], 0))


def changes(values: Sequence[float]) -> tuple[Step, ...]:
    """Places at which a series without scatter is another value than before."""
    moved = [at for at, (before, after) in enumerate(pairwise(values), 1) if before != after]
    return _between(values, moved)


def _between(values: Sequence[float], places: Sequence[int]) -> tuple[Step, ...]:
    edges = [0, *places, len(values)]
    levels = [statistics.median(values[start:end]) for start, end in pairwise(edges) if end > start]
    return tuple(
        Step(at=at, before=before, after=after)
        for at, (before, after) in zip(places, pairwise(levels), strict=True)
    )


def _starts(logs: Sequence[float], offset: int) -> list[int]:
    """Where levels begin, in order, the first left out."""
    places = range(LEAST, len(logs) - LEAST + 1)
    if not places:
        return []
    place = min(places, key=lambda at: _cost(logs[:at]) + _cost(logs[at:]))
    parts = logs[:place], logs[place:]
    apart = abs(statistics.median(parts[1]) - statistics.median(parts[0]))
    if apart <= max(math.log1p(MARGIN), SCATTERS * _scatter(logs)):
        return []
    return [
        *_starts(parts[0], offset),
        offset + place,
        *_starts(parts[1], offset + place),
    ]


def _cost(part: Sequence[float]) -> float:
    middle = statistics.median(part)
    return sum(abs(value - middle) for value in part)


def _scatter(logs: Sequence[float]) -> float:
    return 1.0483 * statistics.median(abs(later - sooner) for sooner, later in pairwise(logs))
