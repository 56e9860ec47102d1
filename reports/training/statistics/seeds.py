"""Comparison of two arms over seeds: paired differences with intervals and tests, verdicts, and many tests at once.

Everything is in points of mIoU (percent). Two arms are compared on the seeds that both have: the differences are taken
seed by seed. From `EXACT_SEEDS` on, interval and p-value are those of the exact sign-flip test, which can decide a
hundred comparisons at once then; with fewer seeds Student's t, which assumes differences that are about normal. With
three seeds that cannot be checked, and the interval is wide (2.5 deviations each way), as it should be. Fewer than
`MIN_SEEDS` have no interval and no verdict.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from reports.training.statistics.sign_flips import MOST_SEEDS, sign_flip_interval, sign_flip_p

Verdict = Literal["supported", "not supported", "undecided"]
Scores = Mapping[object, float]
Ends = tuple[float, float]

VERDICTS: tuple[Verdict, ...] = ("supported", "not supported", "undecided")
CONFIDENCE = 0.95
LEVEL = 0.05
MIN_SEEDS = 3
EXACT_SEEDS = 12
# Differences that are alike to this are those of runs without chance in them; a t interval does not apply.
LEAST_DEVIATION = 1e-9


class Difference(NamedTuple):
    """Differences of two arms over the seeds that both have."""

    seeds: tuple[object, ...]
    gaps: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the differences."""
        return statistics.fmean(self.gaps)

    @property
    def deviation(self) -> float | None:
        """Of one difference, None for a single seed."""
        return statistics.stdev(self.gaps) if len(self.gaps) > 1 else None

    @property
    def error(self) -> float | None:
        """Of the mean; None with too few seeds or no spread among them, which have no interval."""
        count, deviation = len(self.seeds), self.deviation or 0.0
        return (
            deviation / count**0.5 if count >= MIN_SEEDS and deviation > LEAST_DEVIATION else None
        )

    @property
    def is_exact(self) -> bool:
        """Whether interval and p-value are those of the sign-flip test."""
        return EXACT_SEEDS <= len(self.seeds) <= MOST_SEEDS

    def interval(self) -> Ends | None:
        """Two-sided 95 % interval of the mean, None where there is none."""
        if self.error is None:
            return None
        if self.is_exact:
            return sign_flip_interval(self.gaps, LEVEL)
        return t_interval(self.mean, self.error, len(self.seeds) - 1)

    def p_value(self, threshold: float = 0.0) -> float | None:
        """Two-sided p-value of the mean being `threshold`, None where there is no interval."""
        if self.error is None:
            return None
        if self.is_exact:
            return sign_flip_p(self.gaps, threshold)
        from scipy.special import stdtr

        return float(2 * stdtr(len(self.seeds) - 1, -abs(self.mean - threshold) / self.error))


def t_interval(mean: float, error: float, freedom: float) -> Ends:
    """Two-sided 95 % interval by Student's t."""
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return mean - reach, mean + reach


def paired(above: Scores, below: Scores) -> Difference | None:
    """Take `above` less `below` seed by seed; None where no seed is in both."""
    seeds = tuple(seed for seed in above if seed in below)
    return Difference(seeds, tuple(above[seed] - below[seed] for seed in seeds)) if seeds else None


def verdict_of(ends: Ends | None, *, threshold: float = 0.0) -> Verdict:
    """Say whether a whole interval is above or below `threshold`: 0, or minus the margin of no loss.

    A claim that is just false is so called supported in at most 2.5 % of cases.
    """
    if ends is None:
        return "undecided"
    if ends[0] > threshold:
        return "supported"
    return "not supported" if ends[1] < threshold else "undecided"


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Give each p-value as it counts among all (Holm, 1979); None counts for no test.

    Where only what is then at most 5 % is called a difference, any is called wrongly in at most 5 % of cases.
    """
    order = sorted((value, at) for at, value in enumerate(p_values) if value is not None)
    adjusted: dict[int, float] = {}
    largest = 0.0
    for rank, (value, at) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        adjusted[at] = largest
    return tuple(adjusted.get(at) for at in range(len(p_values)))


def pooled_deviation(deviations: Sequence[float]) -> float | None:
    """Root mean square, the deviation that several of equal weight have in common; None for none."""
    if not deviations:
        return None
    return statistics.fmean(deviation**2 for deviation in deviations) ** 0.5
