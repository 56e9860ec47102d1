"""The answer in a sentence: from which size of the map APNB beats NB, once attention is fused.

NB and APNB are compared plain against plain, and best against best: at each size the fastest arm that
was measured. What the intervals of the two times don't decide is said to be undecided.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reports.crossover.curves import Study
from reports.crossover.scaling import Crossing, crossing
from reports.model import Interval

QUESTION = "Is asymmetric sampling still worth it with fused attention?"


@dataclass(frozen=True, slots=True)
class Contest:
    """NB against APNB, each in one form or in the fastest of several.

    Attributes:
        name: of the comparison.
        crossing: from which size APNB is the faster one; None where fewer than two sizes have both times.
        nb: the arm that stands for NB, by size.
        apnb: the arm that stands for APNB, by size.
    """

    name: str
    crossing: Crossing | None
    nb: Mapping[int, str]
    apnb: Mapping[int, str]


def contests(study: Study) -> tuple[Contest, ...]:
    """Plain against plain, best NB against plain APNB, best against best."""
    plain_nb, plain_apnb = (
        (times, dict.fromkeys(times, arm))
        for arm, times in ((arm, study.times(arm)) for arm in ("nb", "apnb"))
    )
    best_nb, best_apnb = study.best("nb"), study.best("apnb")
    sides = {
        "plain against plain": (plain_nb, plain_apnb),
        "best NB against plain APNB": (best_nb, plain_apnb),
        "best against best": (best_nb, best_apnb),
    }
    return tuple(
        Contest(name, crossing(nb[0], apnb[0]), nb[1], apnb[1])
        for name, (nb, apnb) in sides.items()
    )


def crossover_answer(study: Study) -> str:
    """Answer the question for one device and number format, from its records alone."""
    plain, _, best = contests(study)
    start = f"{QUESTION} On {study.place}:"
    fused = [arm for arm in study.family("nb") if ":" in arm and study.times(arm)]
    if best.crossing is None or not fused:
        missing = (
            "fewer than two sizes have a time of both" if fused else "no fused attention was timed"
        )
        return f"{start} it cannot be decided, {missing}."
    sentences = [
        f"{start} best against best, {crossing_verdict(best.crossing)}.",
        _at_the_largest(study, best, best.crossing),
    ]
    if plain.crossing is not None:
        sentences.append(f"Plain against plain, {crossing_verdict(plain.crossing)}.")
    return " ".join(sentences)


def crossing_verdict(crossed: Crossing) -> str:
    """Yes with the size, no, or that it cannot be decided."""
    smallest, largest = (square_map(end(crossed.ratios)) for end in (min, max))
    if crossed.high == 0:
        return f"yes, at every size measured; the size from which it pays is below the smallest, {smallest}"
    if crossed.low == math.inf:
        return f"no, not up to the largest size measured, {largest}"
    low, high = crossed.low, crossed.high
    if high == math.inf:
        return (
            f"it cannot be decided, the intervals of the times overlap up to the largest size, {largest}"
            if low == 0
            else f"it cannot be decided up to the largest size, {largest}; not below {square_map(low)}"
        )
    if low == 0:
        return f"yes, from {square_map(high)} on at the latest; below, the intervals of the times overlap"
    return f"yes, from about {square_map(crossed.at)} on (between {square_map(low)} and {square_map(high)})"


def _at_the_largest(study: Study, best: Contest, crossed: Crossing) -> str:
    size = max(crossed.ratios)
    nb, apnb = best.nb[size], best.apnb[size]
    memory = study.memory_ratio(nb, apnb, size)
    return (
        f"At {square_map(size)}, the largest size with both times, {nb} takes "
        f"{interval_text(crossed.ratios[size])} times as long as {apnb}"
    ) + (f", and {memory[0]:.2g} times the memory, {memory[1]}." if memory else ".")


def square_map(size: float) -> str:
    """A number of positions as the square map that has so many."""
    side = round(math.sqrt(size))
    return f"{side}x{side}"


def interval_text(ratio: Interval) -> str:
    """A ratio with its ends."""
    ends = ", ".join(f"{end:.3g}" for end in (ratio.low, ratio.high) if end is not None)
    return f"{ratio.median:.3g} [{ends}]"


def crossing_size(size: float, *, among: Mapping[int, object]) -> str:
    """The size of a crossing, or on which side of all sizes it is."""
    if size == 0:
        return f"below {square_map(min(among))}"
    if size == math.inf:
        return f"above {square_map(max(among))}"
    return square_map(size)
