"""The answer on accuracy in one sentence a question, from the comparisons of a setting."""

from collections.abc import Iterator, Mapping, Sequence

from reports.training import statistics
from reports.training.runs import TrainingStudy
from reports.training.statistics import LEVEL, Ends
from reports.training.verdicts import ComparisonResult, comparison_results

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
