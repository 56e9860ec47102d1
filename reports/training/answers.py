"""Sentences: the answer on accuracy to each question, and what stands under a table of trainings."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from reports.training import statistics
from reports.training.claims import COMPARISONS, TextComparison, place_of
from reports.training.runs import TrainingStudy
from reports.training.statistics import LEVEL, Ends, seeds_needed
from reports.training.verdicts import ComparisonResult, comparison_results, ranking_tau

# Which comparisons, by their titles, answer which question.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "NB against the baseline": ("nb over baseline",),
    "APNB against NB": ("apnb over nb", "apnb no worse than nb"),
    "Fusion": (
        "common-fusion over baseline",
        "fnb over common-fusion",
        "afnb no worse than fnb",
        "common-fusion+nb over nb",
        "fnb+nb over nb",
    ),
    "The whole network": ("afnb+apnb over baseline", "afnb+apnb over nb"),
    "Samplers": (
        "average 15 over max 15",
        "average 15 over random 15",
        "pyramid average 1,2,3,6 over pyramid max 1,2,3,6",
        "pyramid average 1,2,3,6 over pyramid random 1,2,3,6",
        "pyramid average 1,4,8,12 over average 15",
    ),
    "Anchors": (
        "pyramid average 1,3,6,8 over pyramid average 1,2,3,6",
        "pyramid average 1,4,8,12 over pyramid average 1,3,6,8",
    ),
}


def accuracy_answers(studies: Sequence[TrainingStudy]) -> Iterator[str]:
    """Answer each question on the rows of Tables 6 and 7 that the studies of one setting hold; none without records.

    Differences are in points of mIoU with their 95 % intervals, by seeds and over images; what is decided among all
    comparisons of the setting is told.
    """
    results = [result for study in studies for result in comparison_results(study)]
    adjusted = statistics.holm([result.p_value for result in results])
    stands = [p is not None and p <= LEVEL for p in adjusted]
    known = {r.comparison.title: (r, all_) for r, all_ in zip(results, stands, strict=True)}
    for question, titles in QUESTIONS.items():
        asked = [known[title] for title in titles if title in known]
        if any(result.difference for result, _ in asked):
            yield f"{question}: {'; '.join(_clause(each, stands=among) for each, among in asked)}."


def _clause(result: ComparisonResult, *, stands: bool) -> str:
    label, difference = result.comparison.label, result.difference
    if difference is None:
        return f"{label} has no answer, since {result.why}"
    printed = "" if result.printed is None else f" (paper {result.printed:+.1f})"
    over = result.over_images.interval() if result.over_images else None
    images = f", over images {_ends(over)}" if over else ""
    return (
        f"{label} {difference.mean:+.2f} points {_ends(difference.interval())}{images}{printed}, "
        f"{_verdict(result, stands=stands)}"
    )


def _ends(ends: Ends | None) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "without an interval"


def _verdict(result: ComparisonResult, *, stands: bool) -> str:
    words: str = result.verdict
    if words != "undecided":
        words += " (also among all)" if stands else " (alone, not among all)"
    over = result.verdict_over_images
    if result.over_images is None or over == result.verdict:
        return words
    return f"{words}, over images {over}"


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
