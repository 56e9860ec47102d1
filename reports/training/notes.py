"""What stands under a table of trainings: which differences its seeds can tell, how its order agrees with the paper."""

from collections.abc import Iterator
from statistics import median

from reports.training import statistics
from reports.training.claims import COMPARISONS, TextComparison, place_of
from reports.training.runs import TrainingStudy
from reports.training.statistics import seeds_needed
from reports.training.verdicts import ranking_tau


def study_notes(study: TrainingStudy) -> Iterator[str]:
    """Say which differences the seeds of a table can tell, and how its order agrees with the paper's."""
    yield from _power_notes(study)
    tau = ranking_tau(study)
    if tau is not None:
        told = f"{tau.told} of {tau.pairs} pairs of rows are told apart by {tau.seeds} seeds"
        rest = "95 % interval over every order of the others"
        if tau.low is None:
            rest = "no interval: the true order may be any"
        yield f"Kendall's tau with the order of {place_of(study.experiment)}: {tau} ({told}; {rest})."


def _power_notes(study: TrainingStudy) -> Iterator[str]:
    pairs = [statistics.paired(*pair) for pair in study.score_pairs()]
    known = [pair for pair in pairs if pair and pair.deviation]
    scatter = statistics.pooled_deviation([pair.deviation or 0.0 for pair in known])
    alone = statistics.pooled_deviation([arm.deviation for arm in study.arms if arm.deviation])
    if not scatter or not alone:
        return
    count = round(median(len(pair.seeds) for pair in known))
    told = statistics.smallest_difference(scatter, count)
    apart = statistics.smallest_difference(alone, count, paired=False)
    assert told is not None
    assert apart is not None
    yield (
        f"With {count} seeds an arm the smallest difference between two rows that can be told is {told:.2f} points "
        f"where they share seeds, {apart:.2f} where they do not (80 % power, two-sided 5 %; from seed to seed a "
        f"difference scatters by {scatter:.2f} and a training by {alone:.2f})."
    )
    steps = [abs(step) for comparison in COMPARISONS if (step := _step(study, comparison))]
    if steps:
        needed = seeds_needed(min(steps), scatter)
        unpaired = seeds_needed(min(steps), alone, paired=False)
        yield (
            f"The smallest step between two of these rows that the paper's text compares, {min(steps):.1f} points, "
            f"would take {needed or 'too many'} seeds an arm that are shared, {unpaired or 'too many'} that are not."
        )


def _step(study: TrainingStudy, comparison: TextComparison) -> float:
    above, below = study.arm(comparison.above), study.arm(comparison.below)
    if comparison.experiment != study.experiment or above is None or below is None:
        return 0.0
    if above.printed is None or below.printed is None:
        return 0.0
    return round(above.printed - below.printed, 6)
