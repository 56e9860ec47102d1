"""Medians and their intervals, shared by the timers' stop rule and by the reports.

The interval is the exact one from order statistics: it assumes no distribution, but samples that
are independent. Neighbours in time are not: on a shared machine a speed lasts for seconds. So it is
taken over the medians of consecutive blocks. It speaks of one run; another process has its own luck.
"""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

TIME_CONFIDENCE = 0.99
RELATIVE = 0.01
MIN_SAMPLES = 12
TIME_BLOCKS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class MedianInterval:
    """A median and the two samples that enclose it; None where there are too few samples."""

    median: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Half the interval's length as a share of the median; None without an interval."""
        if self.low is None or self.high is None:
            return None
        if self.median == 0:
            return 0.0 if self.low == self.high else None
        return (self.high - self.low) / (2 * abs(self.median))


def median_interval(
    samples: Sequence[float],
    *,
    confidence: float = TIME_CONFIDENCE,
    blocks: int | None = TIME_BLOCKS,
) -> MedianInterval:
    """Median of all samples, and an exact two-sided interval for it.

    Args:
        samples: readings in the order in which they were taken, at least one.
        confidence: that the interval holds the true median; 0.99 needs 8 samples.
        blocks: where there are two samples or more for each, the interval is that of the medians of
            so many consecutive blocks, which drift makes wider; else, and with None, that of the
            samples, as `scipy.stats.quantile_test` gives it.

    Raises:
        ValueError: there are no samples, or `confidence` is not between 0 and 1.
    """
    if not samples:
        msg = "no samples, so no median; measure at least once"
        raise ValueError(msg)
    if not 0 < confidence < 1:
        msg = f"confidence={confidence} is not between 0 and 1; pass e.g. 0.99"
        raise ValueError(msg)
    middle = statistics.median(samples)
    ordered = sorted(samples)
    if blocks and len(samples) >= 2 * blocks:
        edges = [index * len(samples) // blocks for index in range(blocks + 1)]
        ordered = sorted(statistics.median(samples[start:end]) for start, end in pairwise(edges))
    rank = _rank(len(ordered), confidence)
    if rank == 0:
        return MedianInterval(median=middle, low=None, high=None)
    # Blocks of two kinds, fast and slow, can leave the median of all outside.
    low, high = min(ordered[rank - 1], middle), max(ordered[-rank], middle)
    return MedianInterval(median=middle, low=low, high=high)


@lru_cache(maxsize=1024)
def _rank(count: int, confidence: float) -> int:
    """Largest r for which the r-th smallest and largest enclose the median so surely, or 0."""
    return sum(1 - coverage(count, rank) <= 1 - confidence for rank in range(1, count // 2 + 1))


def coverage(count: int, rank: int) -> float:
    """Chance that the `rank`-th smallest and largest of `count` samples enclose the median."""
    from scipy.special import bdtr

    # Outside it is where fewer than `rank` samples lie on one side: a tail of the binomial.
    return float(1 - 2 * bdtr(rank - 1, count, 0.5))


def is_conclusive(
    samples: Sequence[float], *, relative: float = RELATIVE, confidence: float = TIME_CONFIDENCE
) -> bool:
    """Whether the half-width is below that share of the median, from at least 12 samples."""
    if len(samples) < MIN_SAMPLES:
        return False
    width = median_interval(samples, confidence=confidence).half_width
    return width is not None and width < relative


def without_rejected(samples: Sequence[float], rejected: Collection[int]) -> tuple[float, ...]:
    """Leave out the samples at the rejected indexes; a timing keeps them in its record."""
    return tuple(sample for index, sample in enumerate(samples) if index not in rejected)


def below_share(readings: Sequence[float], *, share: float) -> tuple[int, ...]:
    """Indexes of the readings below that share of their median, e.g. of a clock that dropped."""
    if not readings:
        return ()
    limit = share * statistics.median(readings)
    return tuple(index for index, reading in enumerate(readings) if reading < limit)
