"""The comparisons that the paper's text makes, beside a study: differences, verdicts, agreement in order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from reports.model import UNPUBLISHED, Column, Interval, Mark, Table, Value, text_column
from reports.training import statistics
from reports.training.claims import COMPARISONS, MARGIN_POINTS, TextComparison, arm_name, place_of
from reports.training.runs import Arm, TrainingStudy
from reports.training.statistics import MIN_SEEDS, VERDICTS, Difference, SeedVerdict, Tau

DIFFERENCE_RULE = (
    f"Differences are paired by seed, with their 95 % t interval; from fewer than {MIN_SEEDS} seeds there is none. "
    "Supported: the interval lies wholly above 0 (for 'no worse than' above a loss of "
    f"{MARGIN_POINTS} points, set in advance); not supported: wholly below it; else undecided."
)
GROUP_RULE = (
    "Differences of the mIoU over the classes of a group, paired by seed, with 95 % t intervals; no verdict is drawn "
    "from them."
)
ALONE = "The published numbers are of one training each."
COMPARISON_COLUMNS = (text_column("where"), text_column("comparison"))
POINTS = partial(Column, unit="points", digits=2, base="points", source="measured")


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """What the records say of a comparison; no difference where no seed has both arms."""

    comparison: TextComparison
    difference: Difference | None = None
    printed: float | None = None
    why: str = ""
    groups: Mapping[str, Difference | None] = field(default_factory=dict)  # of classes

    @property
    def verdict(self) -> SeedVerdict:
        """Of the difference beside what is claimed."""
        return statistics.seed_verdict(self.difference, threshold=-self.comparison.margin)

    @property
    def p_value(self) -> float | None:
        """Of the difference being just at the limit of what is claimed."""
        return self.difference.p_value(-self.comparison.margin) if self.difference else None


def comparison_results(study: TrainingStudy) -> Iterator[ComparisonResult]:
    """Set every comparison of a table against one study."""
    for comparison in (each for each in COMPARISONS if each.experiment == study.experiment):
        above, below = study.arm(comparison.above), study.arm(comparison.below)
        if above is None or below is None:
            yield ComparisonResult(comparison, why="the records do not have both rows")
            continue
        difference = statistics.paired(above.scores(), below.scores())
        printed = None
        if above.printed is not None and below.printed is not None:
            printed = round(above.printed - below.printed, 6)
        groups = {
            name: statistics.paired(above.scores(name), below.scores(name)) for name in study.groups
        }
        yield ComparisonResult(
            comparison, difference, printed, _doubt(difference, above, below), groups
        )


def _doubt(difference: Difference | None, above: Arm, below: Arm) -> str:
    if difference is None:
        lacking = next((arm for arm in (below, above) if not arm.scores()), None)
        return f"{arm_name(lacking.key)} has no score" if lacking else "no seed has both rows"
    if difference.error is not None:
        return ""
    count = len(difference.seeds)
    if count < MIN_SEEDS:
        return f"{count} of {MIN_SEEDS} seeds"
    return "every seed has the same difference, so that there is no interval"


def verdict_tables(studies: Sequence[TrainingStudy]) -> Iterator[Table]:
    """What the text compares in one setting, with verdicts; then by the groups of classes of its data set."""
    results = [result for study in studies for result in comparison_results(study)]
    conditions = " ".join(dict.fromkeys(study.conditions for study in studies if study.runs))
    if results and conditions:
        yield _verdict_table(studies, results, conditions)
    groups = tuple(dict.fromkeys(name for study in studies for name in study.groups))
    if results and groups:
        yield Table(
            name=studies[0].file_name("comparisons", after="groups"),
            title=studies[0].title("Differences by group of classes"),
            columns=(*COMPARISON_COLUMNS, *(POINTS(name) for name in groups)),
            rows=tuple(
                (*_named(result), *(_interval_of(result.groups.get(n), result.why) for n in groups))
                for result in results
            ),
            caption=conditions,
            notes=(GROUP_RULE,),
            group_by=(0,),
        )


def _verdict_table(
    studies: Sequence[TrainingStudy], results: Sequence[ComparisonResult], conditions: str
) -> Table:
    p_values = [result.p_value for result in results]
    verdicts = [result.verdict for result in results]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
    tested = sum(value is not None for value in p_values)
    family_note = (
        f"{tested} comparisons have an interval; were each difference just at its limit, "
        f"{tested * (1 - statistics.T_CONFIDENCE):.1f} of them would be decided by chance. "
        "'Among all' is the verdict when all are asked at once (Holm, 5 %)."
    )
    return Table(
        name=studies[0].file_name("comparisons"),
        title=studies[0].title("What the text compares"),
        columns=(
            *COMPARISON_COLUMNS,
            POINTS("difference", digits=1, source="published"),
            POINTS("difference"),
            Column("seeds"),
            *map(text_column, ("verdict", "among all")),
            text_column("the paper's words", wide=True),
        ),
        rows=tuple(
            (
                *_named(result),
                UNPUBLISHED if result.printed is None else result.printed,
                _interval_of(result.difference, result.why),
                len(result.difference.seeds) if result.difference else 0,
                result.verdict,
                result.verdict if stands else "undecided",
                result.comparison.says,
            )
            for result, stands in zip(results, statistics.holm(p_values), strict=True)
        ),
        caption=f"{len(results)} comparisons: {counts}. {conditions}",
        notes=(DIFFERENCE_RULE, family_note, ALONE, *ranking_notes(studies)),
        group_by=(0,),
    )


def _named(result: ComparisonResult) -> tuple[str, str]:
    return place_of(result.comparison.experiment), result.comparison.title


def _interval_of(difference: Difference | None, why: str) -> Value:
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
        tau = ranking_tau(study)
        if tau is not None:
            narrow = tau.low is not None and tau.seeds < 10
            seeds = f"{tau.seeds} seeds"
            seeds = f"95 % bootstrap over {seeds}; too narrow for so few" if narrow else seeds
            place = place_of(study.experiment)
            yield f"Kendall's tau with the order of {place}: {tau} ({tau.arms} rows; {seeds})."
