"""The answer in a sentence: from which size of the map APNB beats NB, once attention is fused.

The best is at each size the fastest arm that was measured. What the intervals of the two times don't decide is said to
be undecided.
"""

import math
from collections.abc import Mapping

from reports.crossover.curves import Study
from reports.crossover.scaling import Crossing, crossing
from reports.model import Interval

TOO_FEW = "fewer than two sizes have a time of both"


def contests(study: Study) -> dict[str, Crossing | None]:
    """From which size APNB is the faster one, in three comparisons; None where fewer than two sizes have both times."""
    nb, apnb = study.times("nb"), study.times("apnb")
    best_nb, best_apnb = study.best("nb")[0], study.best("apnb")[0]
    return {
        "plain against plain": crossing(nb, apnb),
        "best NB against plain APNB": crossing(best_nb, apnb),
        "best against best": crossing(best_nb, best_apnb),
    }


def crossover_answer(study: Study) -> str:
    """Answer the question for one device and number format, from its records alone."""
    plain, _, best = contests(study).values()
    start = f"Is asymmetric sampling still worth it with fused attention? On {study.place}:"
    fused = [arm for arm in study.family("nb") if ":" in arm and study.times(arm)]
    if best is None or not fused:
        missing = TOO_FEW if fused else "no fused attention was timed"
        return f"{start} it cannot be decided, {missing}."
    of_plain = f" Plain against plain, {crossing_words(plain)[0]}." if plain else ""
    return f"{start} best against best, {crossing_words(best)[0]}. {_at_the_largest(study, best)}{of_plain}"


def crossing_words(crossed: Crossing) -> tuple[str, str]:
    """Yes with the size, no, or that it cannot be decided; in a sentence, and as the label of a figure."""
    smallest, largest = (square_map(end(crossed.ratios)) for end in (min, max))
    sizes = (crossed.low, crossed.at, crossed.high)
    low, at, high = (crossing_size(size, among=crossed.ratios) for size in sizes)
    wins = "the best APNB wins\n"
    if crossed.high == 0:
        return (
            f"yes, at every size measured; the size from which it pays is below the smallest, {smallest}",
            "the best APNB wins at every size",
        )
    if crossed.low == math.inf:
        return (
            f"no, not up to the largest size measured, {largest}",
            "the best NB wins at the largest size",
        )
    if crossed.high == math.inf:
        return (
            f"it cannot be decided up to the largest size, {largest}; not below {low}"
            if crossed.low
            else f"it cannot be decided, the intervals of the times overlap up to the largest size, {largest}",
            "undecided up to the largest size",
        )
    if crossed.low == 0:
        return (
            f"yes, from {high} on at the latest; below, the intervals of the times overlap",
            f"{wins}from {high} on at the latest",
        )
    return f"yes, from about {at} on (between {low} and {high})", f"{wins}from {at} on"


def _at_the_largest(study: Study, best: Crossing) -> str:
    size = max(best.ratios)
    nb, apnb = (study.best(block)[1][size] for block in ("nb", "apnb"))
    memory = study.memory_ratio(nb, apnb, size)
    of_memory = f", and {memory[0]:.2g} times the memory, {memory[1]}" if memory else ""
    return (
        f"At {square_map(size)}, the largest size with both times, {nb} takes "
        f"{interval_text(best.ratios[size])} times as long as {apnb}{of_memory}."
    )


def square_map(size: float) -> str:
    """A number of positions as the square map that has so many."""
    side = round(math.sqrt(size))
    return f"{side}x{side}"


def interval_text(ratio: Interval) -> str:
    """A ratio with its ends."""
    low, high = ratio.ends
    return f"{ratio.median:.3g} [{low:.3g}, {high:.3g}]"


def crossing_size(size: float, *, among: Mapping[int, object]) -> str:
    """The size of a crossing, or on which side of all sizes it is."""
    if size == 0:
        return f"below {square_map(min(among))}"
    if size == math.inf:
        return f"above {square_map(max(among))}"
    return square_map(size)
