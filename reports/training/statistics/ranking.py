"""Agreement in order: Kendall's tau-b with an interval that holds at as few rows as a table has.

A bootstrap over seeds does not hold: noise that is drawn twice makes an order look less like the paper's than it is,
and few seeds have few different resamples (docs/comparing.md has how often it covers). Here each pair of rows is
tested, all pairs at once by Holm's rule; what is told apart keeps its order, and every order of the rest is possible.
So the interval holds whenever the tests do, and is wide where the seeds tell little.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from reports.training.statistics.seeds import LEVEL, Scores, holm, paired

# Means of the same numbers in another order differ in their last digits, and are ties.
DIGITS = 9


class Tau(NamedTuple):
    """Kendall's tau-b of two orders, its interval, and what it was made from; no ends where no pair is told apart."""

    value: float
    low: float | None
    high: float | None
    arms: int
    seeds: int
    told: int = 0  # pairs of rows that the seeds tell apart

    @property
    def pairs(self) -> int:
        """Of rows."""
        return self.arms * (self.arms - 1) // 2

    def __str__(self) -> str:
        ends = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{ends}"


def tau(printed: Sequence[float], ours: Sequence[Scores]) -> Tau | None:
    """Kendall's tau-b between the printed numbers (one for each arm) and our means, with its 95 % interval.

    Arms are compared on the seeds that both have. None with fewer than three arms that have a score, or where either
    side does not tell them apart.
    """
    rows = [(number, scores) for number, scores in zip(printed, ours, strict=True) if scores]
    if len(rows) < 3:
        return None
    means = [sum(scores.values()) / len(scores) for _, scores in rows]
    pairs = list(combinations(range(len(rows)), 2))
    wanted = [_sign(rows[left][0] - rows[right][0]) for left, right in pairs]
    seen = [_sign(means[left] - means[right]) for left, right in pairs]
    untied, seen_untied = sum(map(abs, wanted)), sum(map(abs, seen))
    if not untied or not seen_untied:
        return None
    value = _agreement(wanted, seen) / (untied * seen_untied) ** 0.5
    gaps = [paired(rows[left][1], rows[right][1]) for left, right in pairs]
    adjusted = holm([gap.p_value() if gap else None for gap in gaps])
    told = [
        _sign(gap.mean) if gap and p is not None and p <= LEVEL else 0
        for gap, p in zip(gaps, adjusted, strict=True)
    ]
    seeds = len({seed for _, scores in rows for seed in scores})
    count = sum(map(abs, told))
    if not count:
        return Tau(value, None, None, len(rows), seeds)
    # Where nothing is told apart, either order may be the true one, or neither.
    open_pairs = sum(1 for want, tell in zip(wanted, told, strict=True) if want and not tell)
    scale, sure = (untied * len(pairs)) ** 0.5, _agreement(wanted, told)
    # Where arms lack seeds, the means of all may stand otherwise than those of the seeds that two have in common.
    low, high = min(value, (sure - open_pairs) / scale), max(value, (sure + open_pairs) / scale)
    return Tau(value, low, high, len(rows), seeds, count)


def _sign(number: float) -> int:
    rounded = round(number, DIGITS)
    return (rounded > 0) - (rounded < 0)


def _agreement(wanted: Sequence[int], seen: Sequence[int]) -> int:
    return sum(want * see for want, see in zip(wanted, seen, strict=True))
