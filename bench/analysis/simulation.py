"""Comparisons by the thousand from the noise of recorded rounds: how often the whole rule is wrong on such a machine.

Of the rounds of equal arms any arm may stand for any: each simulated comparison draws stretches of
successive rounds, with the arms of each in another order, and adds a slowdown that is known. It is
judged as `bench.analysis.judge_rounds` does, its bar and its control included, all comparisons at once.
"""

import math
from typing import TYPE_CHECKING

from bench.analysis.sign_test import FLOORS, log_ratio
from bench.analysis.stopping import boundary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from bench.records import ArmReadings, Comparison

    Floats = NDArray[np.float64]

# Successive rounds that are drawn together, as what disturbs a machine may last for several.
STRETCH = 5
VERDICTS = ("SAME", "FASTER", "SLOWER", "INCONCLUSIVE")


def arm_noise(comparison: "Comparison") -> "Floats":
    """Logarithms of what the three arms took in each round over their mean, of a comparison of equal arms.

    Shape rounds by arms, by the clock that decides.
    """
    import numpy as np

    rounds = [record.readings[comparison.clocks[0]] for record in comparison.rounds]
    return np.array([_arm_noise(readings) for readings in rounds])


def _arm_noise(readings: "ArmReadings") -> list[float]:
    control, second = (
        log_ratio(arm, readings.first) for arm in (readings.control, readings.second)
    )
    return [0.0, control, second]


def simulate(
    noise: "Sequence[Floats]",
    *,
    planted: float,
    margin: float,
    level: float,
    most: int,
    count: int,
    seed: int = 0,
) -> dict[str, float]:
    """Draw and judge so many comparisons whose second arm takes a share longer.

    Args:
        noise: of each recorded comparison, rounds by arms; at least `STRETCH` rounds.
        planted: share by which the second arm is slower.
        margin: share that does not matter.
        level: chance of a wrong verdict on each side.
        most: rounds after which a comparison ends.
        count: comparisons.
        seed: of what is drawn.

    Returns:
        How many ended with each verdict, and `rounds`, after how many on average.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    rounds = _drawn(noise, most, count, draw)
    logs = rounds[..., 2] - rounds[..., 0] + math.log1p(planted)
    controls = rounds[..., 1] - rounds[..., 0]
    verdicts, ends = judge_all(logs, controls, margin=margin, level=level, most=most)
    counts = {name.lower(): int((verdicts == place).sum()) for place, name in enumerate(VERDICTS)}
    return {**counts, "rounds": float(ends.mean())}


def _drawn(
    noise: "Sequence[Floats]", most: int, count: int, draw: "np.random.Generator"
) -> "Floats":
    """Rounds of comparisons, shape comparisons by rounds by arms."""
    import numpy as np

    stretches = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(each, STRETCH, axis=0) for each in noise]
    )  # starts, arms, rounds
    blocks = -(-most // STRETCH)
    chosen = stretches[draw.integers(len(stretches), size=(count, blocks))].swapaxes(2, 3)
    orders = np.argsort(draw.random((count, blocks, 1, 3)), axis=-1)
    mixed = np.take_along_axis(chosen, np.broadcast_to(orders, chosen.shape), axis=-1)
    return mixed.reshape(count, blocks * STRETCH, 3)[:, :most]


def judge_all(
    logs: "Floats", controls: "Floats", *, margin: float, level: float, most: int
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """Apply the sequential rule to many comparisons, shape comparisons by rounds.

    Returns:
        The place of each verdict in `VERDICTS`, and the rounds after which it came.
    """
    import numpy as np

    near = math.log1p(margin)
    verdicts = np.full(len(logs), VERDICTS.index("INCONCLUSIVE"))
    ends = np.full(len(logs), most)
    alive = np.ones(len(logs), dtype=bool)
    for rounds, need in enumerate(boundary(level, most), 1):
        if need is None:
            continue
        ratios, equals = logs[alive, :rounds], controls[alive, :rounds]
        floor = np.expm1(np.abs(np.median(equals, axis=1)))
        bar = np.log1p(np.maximum(margin, FLOORS * floor))[:, None]
        within = np.minimum((ratios < near).sum(1), (ratios > -near).sum(1))
        apart = np.maximum((equals > near).sum(1), (equals < -near).sum(1)) >= need
        reached = [within >= need, (ratios < -bar).sum(1) >= need, (ratios > bar).sum(1) >= need]
        verdict = np.select([apart, *reached[::-1]], [3, 2, 1, 0], default=-1)
        places = np.flatnonzero(alive)[verdict >= 0]
        verdicts[places], ends[places] = verdict[verdict >= 0], rounds
        alive[places] = False
        if not alive.any():
            break
    return verdicts, ends


def exact_interval(hits: int, total: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share, by Clopper and Pearson (1934): every share under which this count is no surprise."""
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, total - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, total - hits, 1 - tail)) if hits < total else 1.0
    return low, high
