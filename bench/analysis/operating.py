"""Operating characteristic of a comparison: how often its setting is wrong, and how often it finds what is there.

Counted over all courses of the rounds that a sequential sign test can take, from the scatter of the
rounds' ratios; these are taken as independent and normal, which the test itself does not need.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from statistics import NormalDist

from bench.analysis.stopping import Chances, boundary, crossing, verdict_chances

PLANTED = (0.02, 0.05, 0.10)
POWER = 0.9
# Rounds that are tried for how many would decide.
STEPS = (60, 80, 100, 150, 200, 300, 500)
# Median absolute deviation of a normal distribution, as a share of its standard deviation.
NORMAL_DEVIATION = 0.6745


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What was fixed beforehand, and the scatter that the rounds turned out to have.

    Attributes:
        margin: share of a time that does not matter.
        level: chance of a wrong verdict on each side, this comparison's share of it.
        most: rounds after which it ends.
        scatter: standard deviation of the logarithm of a round's ratio.
    """

    margin: float
    level: float
    most: int
    scatter: float

    def chances(self, planted: float = 0.0) -> Chances:
        """How often each verdict comes out where the second arm takes that share longer."""
        return _chances(self, planted)

    @property
    def largest_error(self) -> float:
        """Chance of a wrong verdict on one side where the true ratio is the margin itself, whatever the scatter."""
        return math.fsum(crossing(boundary(self.level, self.most), 0.5))

    @property
    def text(self) -> str:
        """Its figures in words."""
        equal = self.chances()
        found = ", ".join(
            f"+{100 * share:g} % in {_percent(self.chances(share).slower)}"
            for share in PLANTED
            if share > self.margin
        )
        return (
            f"where rounds scatter by {100 * self.scatter:.1f} %, as here: equal arms read SAME in "
            f"{_percent(equal.same)}, FASTER or SLOWER in {_percent(equal.slower + equal.faster)}"
            f"{f'; SLOWER is found of {found}' if found else ''}. Of an arm exactly at the margin each verdict "
            f"is wrong in {_percent(self.largest_error)} at most, however rounds scatter"
        )


def _percent(share: float) -> str:
    if share < 1e-6:
        return "less than 0.0001 %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"


@cache
def _chances(setting: Setting, planted: float) -> Chances:
    near, truth = math.log1p(setting.margin), math.log1p(planted)
    noise = NormalDist(truth, max(setting.scatter, 1e-9))
    needs = boundary(setting.level, setting.most)
    return verdict_chances(needs, above=1 - noise.cdf(near), below=noise.cdf(-near))


def scatter(logs: Sequence[float]) -> float:
    """Standard deviation of logarithms, as their median absolute deviation has it: a few far off don't count."""
    middle = statistics.median(logs)
    return statistics.median(abs(log - middle) for log in logs) / NORMAL_DEVIATION


@cache
def rounds_that_decide(setting: Setting, ratio_log: float) -> int | None:
    """After how many rounds this ratio is decided nine times in ten, if so many are allowed; None beyond 500.

    For SAME by the chances of its two tests, of which either may fail: a few rounds more than are needed.
    """
    noise = NormalDist(ratio_log, max(setting.scatter, 1e-9))
    near = math.log1p(setting.margin)
    above, below = 1 - noise.cdf(near), noise.cdf(-near)

    def first_decided(most: int) -> int | None:
        needs = boundary(setting.level, most)
        slower, faster, under, over = (
            accumulate(crossing(needs, chance)) for chance in (above, below, 1 - above, 1 - below)
        )
        same = (one + other - 1 for one, other in zip(under, over, strict=True))
        powers = enumerate(zip(slower, faster, same, strict=True), 1)
        return next((rounds for rounds, each in powers if max(each) >= POWER), None)

    if first_decided(STEPS[-1]) is None:  # with most rounds, most is found
        return None
    return next(filter(None, map(first_decided, STEPS)), None)


def advice(logs: Sequence[float], *, level: float, margin: float, most: int) -> str:
    """What would help where nothing was decided, with the numbers."""
    # No more digits than are shown, so that like rounds are counted once.
    setting = Setting(margin=margin, level=level, most=most, scatter=round(scatter(logs), 3))
    middle = round(statistics.median(logs), 3)
    rounds = rounds_that_decide(setting, middle)
    scatters = f"rounds scatter by {100 * setting.scatter:.1f} %"
    if rounds is not None:
        return f"{scatters}, with which {rounds} rounds would decide nine times in ten"
    if rounds_that_decide(setting, 0.0) is None:
        return f"{scatters}, for which 500 would be too few: fewer neighbours or a larger cell would help"
    return f"{scatters}, and the ratio is too near to the margin: another margin would decide"
