"""Which of two arms is faster: the rule, a pure function of the readings of rounds.

In a round every arm runs in a fresh process of its own, all by turns (C is A once more, the
control), so that what changes slowly falls on all alike. A round gives one number,
the median of the ratios of turns that are neighbours: where a machine's speed drifts by a fifth it
scatters by 0.8 %, the ratio of the lower quartiles by 1.4 %. Nothing is assumed about how:
rounds are independent, and where the true ratio is a bound, a round lies above it half of the time.
So a one-sided exact sign test at `level` decides, after every round or, of old records, after the last:

- SLOWER: the second arm takes more than 1 + bar times the first one's time in so many rounds that
  a fair coin does as much with a chance of at most `level`;
- FASTER: it takes less than 1 / (1 + bar) in so many rounds;
- SAME: in so many rounds below 1 + margin, and in so many above 1 / (1 + margin) (equivalence by two
  one-sided tests); no bound on a difference is shown by failing to see one;
- INCONCLUSIVE: none of these, or there are too few rounds for any of these, or the control itself
  came out FASTER or SLOWER than its equal by the margin: then this machine cannot decide.

How many rounds have to agree at each look is `bench.analysis.stopping.boundary`, which a fair coin
reaches at any look with a chance of at most `level`; so a comparison ends as soon as it is decided.

The margin is fixed before anything is run. The bar is the margin or, where that is more, twice the
A/A floor, by how much the control differed from its equal: it only ever makes a difference harder to
call, while SAME keeps to the margin. So each verdict is wrong with a chance of at most `level`
(where the arms are alike FASTER and SLOWER could both be wrong: twice that at most), whatever the
noise. Where several comparisons are looked at together, each gets its share of `level` (Bonferroni).
Swapping the arms swaps FASTER and SLOWER: the lower bounds are 1 / (1 + margin) for that.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from bench.analysis import operating
from bench.analysis.statistics import TIME_CONFIDENCE, MedianInterval, median_interval
from bench.analysis.stopping import boundary, is_out_of_reach

if TYPE_CHECKING:  # pydantic, which --help does without
    from bench.records import ArmReadings, ClockName, Comparison

SpeedVerdict = Literal["SAME", "FASTER", "SLOWER", "INCONCLUSIVE"]

MARGIN = 0.02
ROUNDS = 60  # at most; most comparisons end after 12 to 20
LEVEL = 0.001
FLOORS = 2.0
MEMORY_ROUNDS = 20  # that memory is waited for at most, where the clock is decided and a call seems to need more
# What the arms have to read whose truth is known.
EXPECTED: "Mapping[str, SpeedVerdict]" = {"untouched": "SAME", "planted": "SLOWER"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A verdict on the second arm, and what it rests on: one sentence says what was counted.

    Attributes:
        ratio: median over the rounds of the second arm's time over the first one's, with its exact
            interval from order statistics.
        control: the same of the control over its equal; 1 is the truth.
        floor: by what share the control differed, as its median has it.
        bar: what a difference had to pass: the margin or twice the floor.
        needed: how many rounds have to agree; None where not even all would do.
        above: rounds in which the second arm was slower than the bar, `below` in which faster.
        within: rounds below the upper, and rounds above the lower end of the margin.
        apart: rounds in which the control differed from its equal by the margin, to the side on which there are more.
        is_final: whether further rounds can't change the verdict.
    """

    verdict: SpeedVerdict
    reason: str
    ratio: MedianInterval
    control: MedianInterval
    floor: float
    margin: float
    bar: float
    rounds: int
    needed: int | None
    above: int
    below: int
    within: tuple[int, int]
    apart: int = 0
    is_final: bool = True

    @property
    def is_below_margin(self) -> bool:
        """Whether the second arm is shown to take less than 1 + margin times as long, be it the same or faster.

        Nothing is shown where the control differs from its equal.
        """
        return self.needed is not None and self.within[0] >= self.needed > self.apart


def rounds_of(comparison: "Comparison", clock: "ClockName") -> "tuple[ArmReadings, ...]":
    """Take the readings of one clock from a comparison."""
    return tuple(record.readings[clock] for record in comparison.rounds)


def decide_comparison(
    comparison: "Comparison", clock: "ClockName", *, advised: bool = True
) -> Decision:
    """Apply the rule to one clock, with the margin and level that were fixed beforehand."""
    return decide(rounds_of(comparison, clock), **rule_of(comparison), advised=advised)


def setting_of(comparison: "Comparison") -> operating.Setting | None:
    """What was fixed for it and how its rounds scattered; None of one that was looked at once, as of old."""
    if not comparison.rounds or comparison.most_rounds is None:
        return None
    rounds = rounds_of(comparison, comparison.clocks[0])
    return operating.Setting(
        margin=comparison.margin,
        level=comparison.level / comparison.comparisons,
        most=comparison.most_rounds,
        scatter=operating.scatter([log_ratio(each.second, each.first) for each in rounds]),
    )


def decide_controls(comparison: "Comparison", *, advised: bool = True) -> dict[str, Decision]:
    """Apply the rule to the arms whose truth is known, where the rounds have them: by name, as in `EXPECTED`.

    The level is theirs alone: the first one that fails ends it all, however many cells there are.
    """
    if not comparison.planted:
        return {}
    rounds = [each.of_controls for each in rounds_of(comparison, comparison.clocks[0])]
    rule = {**rule_of(comparison), "comparisons": 1, "advised": advised}
    return {name: decide([each[name] for each in rounds], **rule) for name in rounds[0]}


def is_decided(comparison: "Comparison") -> bool:
    """Whether further rounds can change nothing: not its controls, nor the clock that decides.

    A control that fails ends it. As soon as all is decided memory is waited for, but only while a call seems to
    need more by more than the margin.
    """
    if not comparison.rounds:
        return False
    controls = decide_controls(comparison, advised=False)
    if any(each.is_final and each.verdict != EXPECTED[name] for name, each in controls.items()):
        return True
    clock = decide_comparison(comparison, comparison.clocks[0], advised=False)
    if not all(each.is_final for each in (clock, *controls.values())):
        return False
    memory = memory_of(comparison)
    if not memory or len(memory) >= MEMORY_ROUNDS:
        return True
    decision = decide(memory, **rule_of(comparison), advised=False)
    return decision.is_final or decision.ratio.median < 1 + decision.margin


def memory_of(comparison: "Comparison") -> "tuple[ArmReadings, ...]":
    """Take the bytes of a call from a comparison; nothing unless every round has them."""
    memory = tuple(record.memory for record in comparison.rounds if record.memory)
    return memory if len(memory) == len(comparison.rounds) else ()


def rule_of(comparison: "Comparison") -> dict[str, Any]:
    """What was fixed beforehand, as `decide` takes it."""
    names = {
        "margin": "margin",
        "level": "level",
        "comparisons": "comparisons",
        "most": "most_rounds",
    }
    return {name: getattr(comparison, field) for name, field in names.items()}


def decide(
    rounds: "Sequence[ArmReadings]",
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    comparisons: int = 1,
    most: int | None = None,
    advised: bool = True,
) -> Decision:
    """Compare the second arm with the first one by the readings of all rounds, by one clock.

    Args:
        rounds: at least one; of each arm as many readings, in the order in which they were taken, so
            that those at the same place are neighbours.
        margin: share of a time that does not matter, fixed before anything was run.
        level: chance of a wrong verdict in any of the comparisons, for each side.
        comparisons: how many are looked at together.
        most: rounds after which it would have ended undecided, if it was looked at after each; None if it was
            looked at once, after the last.
        advised: whether the reason of what is not decided says what would help, which takes a moment.

    Raises:
        ValueError: no rounds, a round whose readings are no times or not as many of each arm, or a
            margin, level or count out of its range.
    """
    return judge_rounds(
        [log_ratio(readings.second, readings.first) for readings in rounds],
        [log_ratio(readings.control, readings.first) for readings in rounds],
        margin=margin,
        level=level,
        comparisons=comparisons,
        most=most,
        advised=advised,
    )


def judge_rounds(
    logs: Sequence[float],
    controls: Sequence[float],
    *,
    margin: float = MARGIN,
    level: float = LEVEL,
    comparisons: int = 1,
    most: int | None = None,
    advised: bool = True,
) -> Decision:
    """Decide as `decide` does, from the logarithms of the ratios and of the control's, one each a round.

    What is looked at after each round is decided at the first look that decides; later rounds change nothing.

    Raises:
        ValueError: there are none, or not as many of both, or a setting is out of its range.
    """
    _require_settings(logs, controls, margin=margin, comparisons=comparisons)
    if most is None:
        count = needed(len(logs), level / comparisons)
        return _look(logs, controls, margin=margin, count=count, interval=_interval)
    needs = boundary(level / comparisons, most)
    look = partial(_look, margin=margin, interval=partial(_interval_at_any_look, most=most))
    for rounds, count in enumerate(needs[: len(logs)], 1):
        decision = look(logs[:rounds], controls[:rounds], count=count)
        if decision.is_final:
            return decision
    counts = (decision.above, decision.below, min(decision.within))
    is_over = is_out_of_reach(counts, needs, rounds=decision.rounds)
    reason = decision.reason
    if advised:
        hint = operating.advice(logs, level=level / comparisons, margin=margin, most=most)
        reason = f"{reason}; {hint}"
    return replace(decision, is_final=is_over, reason=reason)


def _require_settings(
    logs: Sequence[float], controls: Sequence[float], *, margin: float, comparisons: int
) -> None:
    if not logs or len(logs) != len(controls):
        msg = f"{len(logs)} ratios and {len(controls)} of the control; pass one of each for every round"
        raise ValueError(msg)
    if not 0 < margin < 1:
        msg = f"margin={margin} is not a share between 0 and 1; pass for example {MARGIN} for two percent"
        raise ValueError(msg)
    if comparisons < 1:
        msg = f"comparisons={comparisons}; it counts this one too, pass 1 or more"
        raise ValueError(msg)


def _look(
    logs: Sequence[float],
    controls: Sequence[float],
    *,
    margin: float,
    count: int | None,
    interval: Callable[[Sequence[float]], MedianInterval],
) -> Decision:
    """Decide by the rounds so far, of which so many have to agree."""
    floor = math.expm1(abs(statistics.median(controls)))
    bar = max(margin, FLOORS * floor)
    above, below = _beyond(logs, bar)
    near = math.log1p(margin)
    within = (sum(log < near for log in logs), sum(log > -near for log in logs))
    apart = max(_beyond(controls, margin))
    verdict, reason = _verdict(
        {"SLOWER": above, "FASTER": below, "SAME": min(within)},
        apart=apart,
        count=count,
        rounds=len(logs),
    )
    return Decision(
        verdict=verdict,
        reason=reason,
        ratio=interval(logs),
        control=interval(controls),
        floor=floor,
        margin=margin,
        bar=bar,
        rounds=len(logs),
        needed=count,
        above=above,
        below=below,
        within=within,
        apart=apart,
        is_final=count is not None and (verdict != "INCONCLUSIVE" or apart >= count),
    )


def needed(rounds: int, level: float) -> int | None:
    """Least number of rounds that have to agree; None where not even all suffice.

    Raises:
        ValueError: the level is not between 0 and 0.5.
    """
    if not 0 < level < 0.5:
        msg = f"level={level} is not between 0 and 0.5; pass for example {LEVEL}"
        raise ValueError(msg)
    counts = range(rounds // 2 + 1, rounds + 1)
    return next((count for count in counts if chance(count, rounds) <= level), None)


def fewest_rounds(level: float, *, comparisons: int = 1) -> int:
    """Least number of rounds that can decide anything, if all of them agree; at one look or at each."""
    return next(
        rounds for rounds in itertools.count(1) if chance(rounds, rounds) <= level / comparisons
    )


def chance(count: int, rounds: int) -> float:
    """Chance that a fair coin falls on one side at least `count` times of `rounds`."""
    return sum(math.comb(rounds, heads) for heads in range(count, rounds + 1)) / 2**rounds


def log_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over the turns of the logarithm of the ratio of neighbours.

    Raises:
        ValueError: there are not as many of both, or none, or one is not positive.
    """
    if not above or len(above) != len(below):
        msg = f"{len(above)} readings beside {len(below)}; every arm needs as many in a round, and one or more"
        raise ValueError(msg)
    if not all(0 < reading < math.inf for reading in (*above, *below)):
        msg = f"readings {tuple(above)} and {tuple(below)} are no times; all have to be above zero"
        raise ValueError(msg)
    pairs = zip(above, below, strict=True)
    return statistics.median(math.log(reading) - math.log(other) for reading, other in pairs)


def _beyond(logs: Sequence[float], share: float) -> tuple[int, int]:
    """In how many rounds a ratio lay above, and below what differs by that share."""
    far = math.log1p(share)
    return sum(log > far for log in logs), sum(log < -far for log in logs)


def _verdict(
    agreeing: Mapping[SpeedVerdict, int], *, apart: int, count: int | None, rounds: int
) -> tuple[SpeedVerdict, str]:
    if count is None:
        return "INCONCLUSIVE", f"{rounds} rounds are too few for this level, even if all agree"
    if apart >= count:
        return "INCONCLUSIVE", (
            "this machine cannot decide: in "
            f"{apart} of {rounds} rounds an arm differed from itself by more than the margin"
        )
    for verdict, agree in agreeing.items():
        if agree >= count:
            where = "within the margin" if verdict == "SAME" else "beyond the bar"
            return verdict, f"{agree} of {rounds} rounds {where}, {count} needed"
    most = max(agreeing.values())
    return "INCONCLUSIVE", f"at most {most} of {rounds} rounds agree, {count} needed"


def _interval(logs: Sequence[float]) -> MedianInterval:
    interval = median_interval(logs, confidence=TIME_CONFIDENCE, blocks=None)
    return _ratios(interval.median, interval.low, interval.high)


def _interval_at_any_look(logs: Sequence[float], *, most: int) -> MedianInterval:
    """Every ratio that the sequential test at half of the level on each side has not yet rejected."""
    need = boundary((1 - TIME_CONFIDENCE) / 2, most)[len(logs) - 1]
    middle, ordered = statistics.median(logs), sorted(logs)
    if need is None:
        return _ratios(middle, None, None)
    return _ratios(middle, ordered[len(logs) - need], ordered[need - 1])


def _ratios(median: float, *ends: float | None) -> MedianInterval:
    low, high = (None if end is None else math.exp(end) for end in ends)
    return MedianInterval(median=math.exp(median), low=low, high=high)
