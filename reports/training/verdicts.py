"""The comparisons that the paper's text makes, held against a study: differences, verdicts, agreement in order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from reports.model import UNPUBLISHED, Column, Interval, Mark, Table, Value
from reports.training import statistics
from reports.training.captions import training_conditions
from reports.training.claims import COMPARISONS, MARGIN_POINTS, TextComparison
from reports.training.runs import Arm, TrainingStudy
from reports.training.statistics import MIN_SEEDS, VERDICTS, Difference, SeedVerdict, Tau

PLACES = {"table6": "Table 6", "table7": "Table 7"}
RULE = (
    f"Differences are paired by seed, with their 95 % t interval; from fewer than {MIN_SEEDS} seeds there is none. "
    "Supported: the interval lies wholly above 0 (for 'no worse than' above a loss of "
    f"{MARGIN_POINTS} points, set in advance); not supported: wholly below it; else undecided."
)
GROUPS = (
    "Differences of the mIoU over the classes of a group, paired by seed, with 95 % t intervals; no verdict is drawn "
    "from them."
)
ALONE = "The published numbers are of one training each."


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """A comparison held against the records.

    `difference` is None where no seed has both arms; `groups` are the differences over groups of classes.
    """

    comparison: TextComparison
    difference: Difference | None
    verdict: SeedVerdict
    printed: float | None
    why: str = ""
    groups: Mapping[str, Difference | None] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """What the difference has to be above."""
        return -self.comparison.margin

    @property
    def p_value(self) -> float | None:
        """Of the difference being the threshold."""
        return self.difference.p_value(self.threshold) if self.difference else None


def comparison_results(study: TrainingStudy) -> Iterator[ComparisonResult]:
    """Hold every comparison of a table against one study."""
    for comparison in COMPARISONS:
        if comparison.experiment == study.experiment:
            above, below = study.arm(comparison.above), study.arm(comparison.below)
            yield _judge(comparison, above, below, groups=study.groups)


def _judge(
    comparison: TextComparison, above: Arm | None, below: Arm | None, *, groups: Sequence[str]
) -> ComparisonResult:
    if above is None or below is None:
        return ComparisonResult(
            comparison, None, "undecided", None, "the records do not have both rows"
        )
    difference = statistics.paired(above.scores(), below.scores())
    verdict = statistics.seed_verdict(difference, threshold=-comparison.margin)
    numbers = (above.printed, below.printed)
    printed = None if None in numbers else round(above.printed - below.printed, 6)  # type: ignore[operator]
    doubt = _doubt(difference, above, below)
    within = {name: statistics.paired(above.scores(name), below.scores(name)) for name in groups}
    return ComparisonResult(comparison, difference, verdict, printed, doubt, within)


def _doubt(difference: Difference | None, above: Arm, below: Arm) -> str:
    if difference is None:
        lacking = next((arm for arm in (below, above) if not arm.scores()), None)
        return f"{lacking.name} has no score" if lacking else "no seed has both rows"
    if difference.has_interval:
        return ""
    count = len(difference.seeds)
    if count < MIN_SEEDS:
        return f"{count} of {MIN_SEEDS} seeds"
    return "every seed has the same difference, so that there is no interval"


def verdict_table(studies: Sequence[TrainingStudy]) -> Table | None:
    """Every comparison of the text in one setting, with its verdict; None where the text compares nothing of it."""
    found = [(study, item) for study in studies for item in comparison_results(study)]
    if not found or not any(study.runs for study in studies):
        return None
    values = [item.p_value for _, item in found]
    standing = statistics.holm(values)
    counted = (f"{sum(i.verdict == kind for _, i in found)} {kind}" for kind in VERDICTS)
    tested = sum(value is not None for value in values)
    points = partial(Column, "difference", "points", base="points")
    return Table(
        name=studies[0].file_name("comparisons"),
        title=", ".join(filter(None, ("What the text compares", studies[0].name))),
        columns=(
            Column("where", align="left"),
            Column("comparison", align="left"),
            points(digits=1, source="published"),
            points(digits=2, source="measured"),
            Column("seeds"),
            Column("verdict", align="left"),
            Column("among all", align="left"),
            Column("the paper's words", align="left", wide=True),
        ),
        rows=tuple(
            _row(study, item, stands=stands)
            for (study, item), stands in zip(found, standing, strict=True)
        ),
        caption=f"{len(found)} comparisons: {', '.join(counted)}. {_place(studies)}",
        notes=(RULE, _family(tested), ALONE, *ranking_notes(studies)),
        group_by=(0,),
    )


def group_table(studies: Sequence[TrainingStudy]) -> Table | None:
    """The same differences over each group of classes that the data set declares; None where it declares none."""
    groups = tuple(dict.fromkeys(name for study in studies for name in study.groups))
    found = [(study, item) for study in studies for item in comparison_results(study)]
    if not groups or not found:
        return None
    return Table(
        name=studies[0].file_name("comparisons", after="groups"),
        title=", ".join(filter(None, ("Differences by group of classes", studies[0].name))),
        columns=(
            Column("where", align="left"),
            Column("comparison", align="left"),
            *(Column(name, "points", 2, base="points", source="measured") for name in groups),
        ),
        rows=tuple(
            (
                PLACES.get(study.experiment, study.experiment),
                item.comparison.title,
                *(_interval(item.groups.get(name), item.why) for name in groups),
            )
            for study, item in found
        ),
        caption=_place(studies),
        notes=(GROUPS,),
        group_by=(0,),
    )


def _place(studies: Sequence[TrainingStudy]) -> str:
    said = dict.fromkeys(training_conditions(study) for study in studies if study.runs)
    return " ".join(said)


def _family(tested: int) -> str:
    expected = tested * (1 - statistics.T_CONFIDENCE)
    return (
        f"{tested} comparisons have an interval; were each difference just at its limit, {expected:.1f} of "
        "them would be decided by chance. 'Among all' is the verdict when all are asked at once (Holm, 5 %)."
    )


def _row(study: TrainingStudy, item: ComparisonResult, *, stands: bool) -> tuple[Value, ...]:
    seeds = len(item.difference.seeds) if item.difference else 0
    return (
        PLACES.get(study.experiment, study.experiment),
        item.comparison.title,
        UNPUBLISHED if item.printed is None else item.printed,
        _interval(item.difference, item.why),
        seeds,
        item.verdict,
        item.verdict if stands else "undecided",
        item.comparison.says,
    )


def _interval(difference: Difference | None, why: str) -> Value:
    if difference is None:
        return Mark(why or "no seed has both rows")
    low, high = difference.interval() or (None, None)
    return Interval(difference.mean, low, high, note=why)


def ranking_tau(study: TrainingStudy) -> Tau | None:
    """Kendall's tau of our means with the order of the paper's."""
    both = [(arm.printed, arm.scores()) for arm in study.arms if arm.printed is not None]
    return statistics.tau([printed for printed, _ in both], [scores for _, scores in both])


def ranking_notes(studies: Sequence[TrainingStudy]) -> Iterator[str]:
    """Say for each study how its order agrees with the paper's."""
    for study in studies:
        found = ranking_tau(study)
        if found is None:
            continue
        place = PLACES.get(study.experiment, study.experiment)
        interval = (
            f"95 % bootstrap over {found.seeds} seeds; too narrow for so few"
            if found.low is not None and found.seeds < 10
            else f"{found.seeds} seeds"
        )
        yield f"Kendall's tau with the order of {place}: {found} ({found.arms} rows; {interval})."
