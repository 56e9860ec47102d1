"""When a sequence of rounds may stop: boundaries of the sign test that hold over all looks, computed exactly.

After every round one looks, so that a test at each look would be wrong more often than its level. The
boundary here is that of Wald's sequential test of 1/2 against `SHAPE` (A. Wald, Sequential Analysis,
1947), cut off after the most rounds; its height is the lowest for which a fair coin reaches it at any
look with a chance of at most the level, counted over all courses by dynamic programming and not
approximated. Whoever stops for another reason, and whenever, keeps that chance.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

# 12 rounds decide if all agree, 15 of 16 and 18 of 20, at level 0.001 and 60 rounds at most. A shape nearer to 1
# decides sooner where rounds hardly scatter, one nearer to 1/2 where they do.
SHAPE = 0.9
HALVINGS = 50
NEGLIGIBLE_CHANCE = 1e-18

# Rounds that have to agree after so many rounds, from the first on; None where not even all suffice.
Boundary = tuple[int | None, ...]


@cache
def boundary(level: float, most: int) -> Boundary:
    """Least numbers of rounds that have to agree at each look, so that a fair coin reaches one at most so often.

    Args:
        level: chance over all looks together, between 0 and 0.5.
        most: rounds after which it ends.

    Raises:
        ValueError: a setting is out of its range.
    """
    if not 0 < level < 0.5 or most < 1:
        msg = f"level={level}, most={most}: a level lies between 0 and 0.5 and rounds are 1 or more; pass 0.001, 60"
        raise ValueError(msg)
    low, high = 0.0, most * math.log(2) + 1.0  # the upper one is out of reach
    for _ in range(HALVINGS):
        height = (low + high) / 2
        if sum(crossing(_boundary_line(height, most), 0.5)) <= level:
            high = height
        else:
            low = height
    return _boundary_line(high, most)


def _boundary_line(height: float, most: int) -> Boundary:
    """Where the logarithm of the likelihood ratio reaches a height."""
    agrees, differs = math.log(SHAPE / 0.5), math.log((1 - SHAPE) / 0.5)
    counts = (
        math.ceil((height - rounds * differs) / (agrees - differs)) for rounds in range(1, most + 1)
    )
    return tuple(count if count <= rounds else None for rounds, count in enumerate(counts, 1))


def crossing(needs: Boundary, chance: float) -> tuple[float, ...]:
    """Chances that a boundary is first reached at each look, if a round agrees with that chance."""
    import numpy as np  # not for --help

    alive = np.zeros(len(needs) + 1)  # by how many have agreed
    alive[0] = 1.0
    firsts = []
    for need in needs:
        alive[1:] = alive[1:] * (1 - chance) + alive[:-1] * chance
        alive[0] *= 1 - chance
        reached = alive[need:] if need is not None else alive[:0]
        firsts.append(float(reached.sum()))  # all but one or two of them are zero
        reached[:] = 0.0
    return tuple(firsts)


class Chances(NamedTuple):
    """How often a comparison ends with each verdict, and after how many rounds on average."""

    slower: float
    faster: float
    same: float
    rounds: float

    @property
    def undecided(self) -> float:
        """What is left."""
        return max(0.0, 1 - self.slower - self.faster - self.same)


def verdict_chances(needs: Boundary, *, above: float, below: float) -> Chances:
    """Chances of verdicts, if a round lies above the margin, and below its lower end, with these chances.

    Counted over all courses. The bar is the margin, and the control never forbids a verdict.
    """
    alive = {(0, 0): 1.0}  # by how many lay above and below
    totals = {"slower": 0.0, "faster": 0.0, "same": 0.0}
    mean = 0.0
    steps = (((1, 0), above), ((0, 1), below), ((0, 0), 1 - above - below))
    for rounds, need in enumerate(needs, 1):
        after: dict[tuple[int, int], float] = {}
        for (up, down), share in alive.items():
            for (more_up, more_down), chance in steps:
                at = (up + more_up, down + more_down)
                after[at] = after.get(at, 0.0) + share * chance
        alive = {}
        for (up, down), share in after.items():
            verdict = _reached(up, down, rounds - max(up, down), need)
            if verdict is None:
                if share > NEGLIGIBLE_CHANCE:
                    alive[up, down] = share
            else:
                totals[verdict] += share
                mean += rounds * share
    return Chances(**totals, rounds=mean + len(needs) * math.fsum(alive.values()))


def _reached(up: int, down: int, within: int, need: int | None) -> str | None:
    if need is None:
        return None
    counts = {"slower": up, "faster": down, "same": within}
    return next((verdict for verdict, count in counts.items() if count >= need), None)


def is_out_of_reach(counts: Sequence[int], needs: Boundary, *, rounds: int) -> bool:
    """Whether none of these counts of agreeing rounds can reach its boundary any more, even if all later ones agree."""
    return not any(
        need is not None and max(counts) + later >= need
        for later, need in enumerate(needs[rounds:], 1)
    )
