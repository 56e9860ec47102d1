"""How a cost grows with the size of the map, and where the costs of two things cross.

The exponent is the slope of the logarithms over the upper half of the range. Over all of it it would be too small: a
call costs `a + b N + c N^2`, in which the constant and, for NB, the projections weigh most on small maps. So it is that
of the sizes it is said of, which for NB nears 2 only where N is far above 2 C = 4096.
"""

import math
import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

from reports.model import Interval

CONFIDENCE = 0.95
LEAST_FITTED = 3

Curve = Mapping[int, Interval]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Size N from which the second of two curves stays below the first: 0 from the smallest on, inf where never."""

    at: float  # by the medians
    low: float  # at the earliest, by the ends of the intervals
    high: float  # at the latest
    ratios: Mapping[int, Interval]  # of the first over the second at every size that both have


def upper_half(sizes: Mapping[int, object]) -> tuple[int, ...]:
    """Sizes above the geometric middle of the range, three at least; all where there are fewer."""
    ordered = sorted(sizes)
    if not ordered:
        return ()
    middle = math.sqrt(ordered[0] * ordered[-1])
    above = [size for size in ordered if size >= middle]
    return tuple(above if len(above) >= LEAST_FITTED else ordered[-LEAST_FITTED:])


def exponent(points: Mapping[int, float], sizes: Collection[int] | None = None) -> Interval | None:
    """Fit `k` of `N ** k` at `sizes` or the upper half; None with fewer than three points or one without a logarithm.

    The interval is Student's for the slope of a straight line, from the scatter of the sizes about it. Each was read in
    a process of its own, so that it holds what differs from process to process, and a bend of the curve too.
    """
    sizes = upper_half(points) if sizes is None else [size for size in sizes if size in points]
    if len(sizes) < LEAST_FITTED or any(points[size] <= 0 for size in sizes):
        return None
    from scipy.special import stdtrit

    across = [math.log(size) for size in sizes]
    up = [math.log(points[size]) for size in sizes]
    slope, level = statistics.linear_regression(across, up)
    freedom = len(sizes) - 2
    rests = sum((y - level - slope * x) ** 2 for x, y in zip(across, up, strict=True))
    error = math.sqrt(rests / freedom / (len(sizes) - 1) / statistics.variance(across))
    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Interval(slope, slope - reach, slope + reach)


def ratios(above: Curve, below: Curve) -> dict[int, Interval]:
    """Divide two curves where both have a point; the ends are those of the least and the most favourable case."""
    shared: dict[int, Interval] = {}
    for size in sorted(above.keys() & below.keys()):
        up, down = above[size], below[size]
        low, high = up.ends[0] / down.ends[1], up.ends[1] / down.ends[0]
        shared[size] = Interval(up.median / down.median, low, high)
    return shared


def crossing(above: Curve, below: Curve) -> Crossing | None:
    """Find from where `below` stays below `above`, straight in the logarithms; None with less than two shared sizes."""
    shared = ratios(above, below)
    if len(shared) < 2:
        return None
    return Crossing(
        at=_last_crossing({size: ratio.median for size, ratio in shared.items()}),
        low=_last_crossing({size: ratio.ends[1] for size, ratio in shared.items()}),
        high=_last_crossing({size: ratio.ends[0] for size, ratio in shared.items()}),
        ratios=shared,
    )


def _last_crossing(ratio: Mapping[int, float]) -> float:
    if ratio[max(ratio)] <= 1:
        return math.inf
    for before, after in reversed(list(pairwise(ratio))):
        if ratio[before] <= 1:
            down, up = math.log(ratio[before]), math.log(ratio[after])
            return float(before * (after / before) ** (-down / (up - down)))
    return 0.0
