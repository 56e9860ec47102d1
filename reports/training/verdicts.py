"""The comparisons that the paper's text makes, beside a study: differences over seeds and over images, and verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reports.training import statistics
from reports.training.claims import COMPARISONS, TextComparison, arm_name
from reports.training.runs import Arm, TrainingStudy
from reports.training.statistics import (
    MIN_IMAGES,
    MIN_SEEDS,
    Difference,
    ImageCounts,
    ImageDifference,
    Tau,
    Verdict,
)

NO_MATRICES = "not every record has matrices of single images"


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """What the records say of a comparison; no difference where no seed has both arms."""

    comparison: TextComparison
    difference: Difference | None = None
    printed: float | None = None
    why: str = ""
    groups: Mapping[str, Difference | None] = field(default_factory=dict)  # of classes
    over_images: ImageDifference | None = None
    deviation: float | None = None  # of one training, which the two arms have in common

    @property
    def verdict(self) -> Verdict:
        """By the seeds: of the difference beside what is claimed."""
        ends = self.difference.interval() if self.difference else None
        return statistics.verdict_of(ends, threshold=-self.comparison.margin)

    @property
    def verdict_over_images(self) -> Verdict:
        """Of the same difference on other images."""
        ends = self.over_images.interval() if self.over_images else None
        return statistics.verdict_of(ends, threshold=-self.comparison.margin)

    @property
    def p_value(self) -> float | None:
        """By the seeds: of the difference being just at the limit of what is claimed."""
        return self.difference.p_value(-self.comparison.margin) if self.difference else None

    @property
    def why_not_over_images(self) -> str:
        """Why there is no interval over images; empty where there is one."""
        if self.over_images is None:
            return self.why if self.difference is None else NO_MATRICES
        if self.over_images.interval():
            return ""
        few = self.over_images.images < MIN_IMAGES
        return f"{self.over_images.images} of {MIN_IMAGES} images" if few else "no image differs"


def comparison_results(study: TrainingStudy) -> Iterator[ComparisonResult]:
    """Set every comparison of a table against one study."""
    asked = [each for each in COMPARISONS if each.experiment == study.experiment]
    arms = {key: study.arm(key) for each in asked for key in (each.above, each.below)}
    counts = {key: _image_counts(arm) for key, arm in arms.items()}
    over_images = statistics.image_differences([(counts[c.above], counts[c.below]) for c in asked])
    for comparison, images in zip(asked, over_images, strict=True):
        above, below = arms[comparison.above], arms[comparison.below]
        if above is None or below is None:
            yield ComparisonResult(comparison, why="the records do not have both rows")
        else:
            yield _result(comparison, above, below, over_images=images, groups=study.groups)


def _image_counts(arm: Arm | None) -> dict[object, ImageCounts]:
    """Of every seed, or of none: over images an arm is the mean of the same seeds as over seeds."""
    runs = arm.runs if arm else {}
    counts = {seed: statistics.image_counts(row["accuracy"]) for seed, row in runs.items()}
    known = {seed: each for seed, each in counts.items() if each is not None}
    return known if len(known) == len(counts) else {}


def _result(
    comparison: TextComparison,
    above: Arm,
    below: Arm,
    *,
    over_images: ImageDifference | None,
    groups: Sequence[str],
) -> ComparisonResult:
    difference = statistics.paired(above.scores(), below.scores())
    printed = None
    if above.printed is not None and below.printed is not None:
        printed = round(above.printed - below.printed, 6)
    spreads = (arm.deviation for arm in (above, below))
    return ComparisonResult(
        comparison,
        difference,
        printed,
        _doubt(difference, above, below),
        {name: statistics.paired(above.scores(name), below.scores(name)) for name in groups},
        over_images,
        statistics.pooled_deviation([each for each in spreads if each is not None]),
    )


def _doubt(difference: Difference | None, above: Arm, below: Arm) -> str:
    if difference is None:
        lacking = next((arm for arm in (below, above) if not arm.scores()), None)
        return f"{arm_name(lacking.key)} has no score" if lacking else "no seed has both rows"
    count, most = len(difference.seeds), len({**above.scores(), **below.scores()})
    if difference.error is not None:
        return f"{count} of {most} seeds" if count < most else ""
    if count < MIN_SEEDS:
        return f"{count} of {MIN_SEEDS} seeds"
    return "every seed has the same difference, so that there is no interval"


def ranking_tau(study: TrainingStudy) -> Tau | None:
    """Kendall's tau of our means with the order of the paper's."""
    both = [(arm.printed, arm.scores()) for arm in study.arms if arm.printed is not None]
    return statistics.tau([printed for printed, _ in both], [scores for _, scores in both])
