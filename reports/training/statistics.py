"""What several seeds say: mIoU, its spread, paired differences with intervals, verdicts, and agreement in order.

Everything is in points of mIoU (percent). Two arms are compared on the seeds that both have: the differences are taken
seed by seed, and their mean has the two-sided interval of Student's t. That assumes differences which are independent
and about normal; with three seeds it cannot be checked, and the interval is wide (2.5 deviations each way), as it
should be. Fewer than `MIN_SEEDS` have no interval and no verdict.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
SeedVerdict = Literal["supported", "not supported", "undecided"]
Scores = Mapping[object, float]

VERDICTS: tuple[SeedVerdict, ...] = ("supported", "not supported", "undecided")
T_CONFIDENCE = 0.95
MIN_SEEDS = 3
# Differences that are alike to this are those of runs without chance in them; a t interval does not apply.
LEAST_DEVIATION = 1e-9
RESAMPLES = 10_000
ENUMERATED_SEEDS = 5


class Difference(NamedTuple):
    """Mean of the differences of two arms over the seeds that both have."""

    mean: float
    deviation: float | None  # standard deviation of one difference, None for a single seed
    seeds: tuple[object, ...]

    @property
    def error(self) -> float | None:
        """Of the mean; None with too few seeds or no spread among them, which have no interval."""
        count, deviation = len(self.seeds), self.deviation or 0.0
        return (
            deviation / count**0.5 if count >= MIN_SEEDS and deviation > LEAST_DEVIATION else None
        )

    def interval(self, confidence: float = T_CONFIDENCE) -> tuple[float, float] | None:
        """Two-sided t interval of the mean, None where there is none."""
        if self.error is None:
            return None
        from scipy.special import stdtrit

        reach = float(stdtrit(len(self.seeds) - 1, (1 + confidence) / 2)) * self.error
        return self.mean - reach, self.mean + reach

    def p_value(self, threshold: float = 0.0) -> float | None:
        """Two-sided p-value of the mean being `threshold`, None where there is no interval."""
        if self.error is None:
            return None
        from scipy.special import stdtr

        return float(2 * stdtr(len(self.seeds) - 1, -abs(self.mean - threshold) / self.error))


def paired(above: Scores, below: Scores) -> Difference | None:
    """Take `above` less `below` seed by seed; None where no seed is in both."""
    seeds = tuple(seed for seed in above if seed in below)
    if not seeds:
        return None
    gaps = [above[seed] - below[seed] for seed in seeds]
    deviation = statistics.stdev(gaps) if len(gaps) > 1 else None
    return Difference(statistics.fmean(gaps), deviation, seeds)


def seed_verdict(difference: Difference | None, *, threshold: float = 0.0) -> SeedVerdict:
    """Say whether the whole interval of a difference is above or below `threshold`: 0, or minus the margin of no loss.

    A claim that is just false is so called supported in at most 2.5 % of cases.
    """
    ends = difference.interval() if difference else None
    if ends is None:
        return "undecided"
    if ends[0] > threshold:
        return "supported"
    return "not supported" if ends[1] < threshold else "undecided"


def holm(p_values: Sequence[float | None], *, level: float = 1 - T_CONFIDENCE) -> tuple[bool, ...]:
    """Tell which differences stand, so that the chance that any is called wrongly is at most `level` (Holm's rule).

    None counts for no test.
    """
    order = sorted((value, at) for at, value in enumerate(p_values) if value is not None)
    steps = enumerate(order)
    passed = itertools.takewhile(lambda s: s[1][0] <= level / (len(order) - s[0]), steps)
    standing = {at for _, (_, at) in passed}
    return tuple(at in standing for at in range(len(p_values)))


class Tau(NamedTuple):
    """Kendall's tau-b of two orders, its interval, and from how much it was made."""

    value: float
    low: float | None
    high: float | None
    arms: int
    seeds: int

    def __str__(self) -> str:
        ends = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{ends}"


def tau(printed: Sequence[float], ours: Sequence[Scores]) -> Tau | None:
    """Kendall's tau-b between the printed numbers (one for each arm) and our means, with a bootstrap over seeds (95 %).

    A seed is drawn with all its arms, so that what arms have in common stays in common; an arm that lacks a seed is
    averaged over the others drawn. Up to `ENUMERATED_SEEDS` seeds every resample is taken, beyond that `RESAMPLES` from
    a fixed stream. With three seeds there are ten different resamples: the interval says how the order hangs on the
    seeds at hand, and is too narrow for seeds to come. There is none with fewer than `MIN_SEEDS` seeds in all, or where
    an arm has a single one; and no tau with fewer than three arms that have a score, or where either side does not tell
    them apart.
    """
    pairs = [(number, scores) for number, scores in zip(printed, ours, strict=True) if scores]
    if len(pairs) < 3:
        return None
    reference = np.array([number for number, _ in pairs])
    seeds = list(dict.fromkeys(seed for _, scores in pairs for seed in scores))
    table = np.array([[scores.get(seed, np.nan) for seed in seeds] for _, scores in pairs])
    (value,) = _tau_b(reference, np.nanmean(table, axis=1, keepdims=True)).tolist()
    if np.isnan(value):
        return None
    if len(seeds) < MIN_SEEDS or any(len(scores) < 2 for _, scores in pairs):
        return Tau(value, None, None, len(pairs), len(seeds))
    drawn = table[:, _resamples(len(seeds))]
    # Over what is there; a resample that leaves an arm bare has no part.
    kept = ~np.isnan(drawn).all(axis=-1).any(axis=0)
    taus = _tau_b(reference, np.nanmean(drawn[:, kept], axis=-1))
    taus = taus[~np.isnan(taus)]
    # Ends are values that were drawn: a tau between two steps is no tau.
    low = np.quantile(taus, (1 - T_CONFIDENCE) / 2, method="lower")
    high = np.quantile(taus, (1 + T_CONFIDENCE) / 2, method="higher")
    return Tau(value, float(low), float(high), len(pairs), len(seeds))


def _resamples(count: int) -> npt.NDArray[np.integer[Any]]:
    if count <= ENUMERATED_SEEDS:
        return np.array(list(itertools.product(range(count), repeat=count)))
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def _tau_b(reference: Floats, columns: Floats) -> Floats:
    """Tau-b of each column of [arms, columns] with the reference; nan where a column is all ties."""
    left, right = np.triu_indices(len(reference), k=1)
    wanted = np.sign(reference[left] - reference[right])[:, None]
    # Means of the same numbers in another order differ in their last digits, and are ties.
    ours = np.sign(np.round(columns[left] - columns[right], 9))
    untied = np.abs(wanted).sum(axis=0) * np.abs(ours).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Floats = (wanted * ours).sum(axis=0) / np.sqrt(untied)
    return shares
