"""The exact paired test: every way of giving the differences their signs, and the interval that it leaves.

If two arms are alike, what tells them apart is chance, and each seed's difference could as well have the other sign.
The p-value is the share of all 2^n ways whose sum is at least as far from zero as the one seen (Fisher, 1935). Nothing
is assumed of the scatter's form but that it is symmetric. The sums are not enumerated one by one: those of one half of
the seeds are sorted, and looked up for each of the other half's.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

# Halves of 4,096 sums; with more seeds Student's t says the same to two digits and more.
MOST_SEEDS = 24
# Sums of the same numbers in another order differ in their last digits.
SLACK = 1e-9
BISECTIONS = 30


def sign_flip_p(gaps: Sequence[float], centre: float = 0.0) -> float:
    """Two-sided p-value of the differences being symmetric about `centre`; at least 2 in 2^n."""
    shifted = np.asarray(gaps, dtype=np.float64) - centre
    half = len(shifted) // 2
    lower, upper = np.sort(_signs(half) @ shifted[:half]), _signs(len(gaps) - half) @ shifted[half:]
    least = abs(shifted.sum()) - SLACK * np.abs(shifted).sum()
    below = np.searchsorted(lower, least - upper, side="left")
    as_far = len(lower) * len(upper) - int(below.sum())
    return min(1.0, 2 * as_far / 2 ** len(shifted))


def sign_flip_interval(gaps: Sequence[float], level: float = 0.05) -> tuple[float, float]:
    """Every centre that the test does not reject at `level`: from one mean of a part of the seeds to another.

    Its ends are those of Hartigan's typical values (1969). There is none that is finite where 2^n < 2 / level.
    """
    middle = float(np.mean(gaps))
    return _last_kept(gaps, middle, min(gaps), level), _last_kept(gaps, middle, max(gaps), level)


def _last_kept(gaps: Sequence[float], kept: float, rejected: float, level: float) -> float:
    """The end from outside, so that no centre that is kept lies beyond it."""
    if sign_flip_p(gaps, rejected) > level:  # where so many differences are equal to the furthest
        return rejected
    for _ in range(BISECTIONS):
        centre = (kept + rejected) / 2
        if sign_flip_p(gaps, centre) > level:
            kept = centre
        else:
            rejected = centre
    return rejected


@cache
def _signs(count: int) -> Floats:
    """Every choice of signs, [2^count, count]."""
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return 2.0 * bits - 1
