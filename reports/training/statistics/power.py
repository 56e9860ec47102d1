"""Statistical power: the smallest difference that is found four times in five, and the seeds that one takes.

Of a two-sided t test at 5 %, by the noncentral t distribution; the far side, on which a difference would be called the
wrong way round, adds less than a millionth to the power and is left out.
"""

LEVEL, POWER = 0.05, 0.8
MOST = 10_000_000


def smallest_difference(deviation: float, seeds: int, *, paired: bool = True) -> float | None:
    """Tell which difference is found with 80 % power, in the unit of `deviation`; None for a single seed.

    `deviation` is that of one seed's difference, or, unpaired, of one training; `seeds` are those of each arm.
    """
    from scipy.special import nctdtrinc, stdtrit

    freedom = seeds - 1 if paired else 2 * (seeds - 1)
    if freedom < 1:
        return None
    reach = float(nctdtrinc(freedom, 1 - POWER, float(stdtrit(freedom, 1 - LEVEL / 2))))
    return reach * deviation * ((1 if paired else 2) / seeds) ** 0.5


def seeds_needed(step: float, deviation: float, *, paired: bool = True) -> int | None:
    """Count the seeds an arm with which a difference of `step` is found with 80 % power; None for no difference.

    Also None where more than ten million would be needed.
    """

    def is_told(seeds: int) -> bool:
        least = smallest_difference(deviation, seeds, paired=paired)
        return least is not None and least <= abs(step)

    if not step:
        return None
    enough = 2
    while not is_told(enough):
        if enough > MOST:
            return None
        enough *= 2
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if is_told(middle) else (middle, enough)
    return enough
