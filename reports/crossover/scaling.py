"""How a cost grows with the size of the map, and where the costs of two things cross.

The exponent is the slope of the logarithms over the upper half of the range (of its logarithm). Over
all of it the slope would be too small: a call costs `a + b N + c N^2`, in which the constant and, for
NB, the projections weigh most on small maps. So it is the exponent at the sizes it is said of, which
for NB nears 2 only where N is far above 2 C = 4096.
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
    """Size N from which the second of two curves stays below the first.

    Attributes:
        at: by the medians; 0 where it does so from the smallest size on, inf where not at the largest.
        low: where it can be at the earliest, by the ends of the intervals; 0 and inf as above.
        high: at the latest.
        ratios: of the first over the second at every size that both have.
    """

    at: float
    low: float
    high: float
    ratios: Mapping[int, Interval]


def upper_half(sizes: Mapping[int, object]) -> tuple[int, ...]:
    """Sizes above the geometric middle of the range, three at least; all where there are fewer."""
    ordered = sorted(sizes)
    if not ordered:
        return ()
    middle = math.sqrt(ordered[0] * ordered[-1])
    above = [size for size in ordered if size >= middle]
    return tuple(above if len(above) >= LEAST_FITTED else ordered[-LEAST_FITTED:])


def exponent(points: Mapping[int, float], sizes: Collection[int] | None = None) -> Interval | None:
    """Fit `k` of `N ** k`; None with fewer than three points, or with one that has no logarithm.

    The interval is Student's for the slope of a straight line. It comes from the scatter of the sizes
    about the line, each measured in a process of its own, so that it holds what differs from process
    to process, which the samples of one process do not show, and a bend of the curve too.
    Of the costs by size N those at `sizes` count, where there are any; the upper half of the range without `sizes`.
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
        (up_low, up_high), (down_low, down_high) = up.ends, down.ends
        shared[size] = Interval(up.median / down.median, up_low / down_high, up_high / down_low)
    return shared


def crossing(above: Curve, below: Curve) -> Crossing | None:
    """Find the size from which `below` stays below `above`; None where they share fewer than two sizes.

    Between two sizes both curves are taken as power laws (straight in the logarithms).
    """
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
    """Size from which the ratio stays above 1."""
    if ratio[max(ratio)] <= 1:
        return math.inf
    for before, after in reversed(list(pairwise(ratio))):
        if ratio[before] <= 1:
            down, up = math.log(ratio[before]), math.log(ratio[after])
            return float(before * (after / before) ** (-down / (up - down)))
    return 0.0
