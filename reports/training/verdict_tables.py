"""Tables of the comparisons that the paper's text makes: verdicts, what the seeds can tell, groups of classes."""

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

from reports.model import UNMEASURED, UNPUBLISHED, Column, Interval, Mark, Table, Value, text_column
from reports.training import statistics
from reports.training.claims import (
    COMPARISONS,
    LENGTH,
    MARGIN_POINTS,
    NETWORK,
    RATE,
    TextComparison,
)
from reports.training.runs import TrainingStudy, most_frequent
from reports.training.statistics import EXACT_SEEDS, LEVEL, MIN_SEEDS, VERDICTS, seeds_needed
from reports.training.verdicts import ComparisonResult, comparison_results

AIM_POINTS = 0.3  # half of an interval, at most
VERDICT_RULE = (
    f"Differences are paired by seed. From {EXACT_SEEDS} seeds on, interval (95 %) and p are those of the exact "
    f"sign-flip test; of fewer they are Student's t's, and of fewer than {MIN_SEEDS} there are none. Supported: the "
    f"interval lies wholly above 0 (for 'no worse than' above a loss of {MARGIN_POINTS} points, set in advance); not "
    "supported: wholly below it; else undecided."
)
IMAGES_RULE = (
    "By seeds: what new trainings would say of these images. Over images: what these trainings would say of other "
    "images of the kind (bootstrap, 95 %); each image, or where neighbours are alike each fifth of the set, is drawn "
    "with all networks."
)
UNJUDGED = "paired by seed, with 95 % intervals; no verdict is drawn from them."
GROUP_RULE = f"Differences of the mIoU over the classes of a group, {UNJUDGED}"
ALONE = (
    "The published numbers are of one training each: of networks those of Table 6, of samplers and grids those of "
    "Table 7."
)
POWER_RULE = (
    "Smallest difference: what a two-sided t test at 5 % finds four times in five with these seeds and this scatter. "
    "Seeds needed: how many an arm until that is the published step, where arms share their seeds, and where they do "
    "not (unpaired)."
)
POINTS = partial(Column, unit="points", digits=2, base="points", source="measured")


def verdict_tables(studies: Sequence[TrainingStudy]) -> Iterator[Table]:
    """What the text compares in one setting, with verdicts; what the seeds can tell; the same by groups of classes."""
    results = [result for study in studies for result in comparison_results(study)]
    conditions = " ".join(dict.fromkeys(study.conditions for study in studies if study.runs))
    if not results:
        return
    if conditions:
        yield _verdict_table(studies, results, conditions)
        yield _power_table(studies, results, conditions)
    groups = tuple(dict.fromkeys(name for study in studies for name in study.groups))
    if groups:
        yield Table(
            name=studies[0].file_name("comparisons", after="groups"),
            title=studies[0].title("Differences by group of classes"),
            columns=(text_column("comparison"), *(POINTS(name) for name in groups)),
            rows=tuple(
                (
                    result.comparison.label,
                    *(_over_seeds(result.groups.get(name), result.why) for name in groups),
                )
                for result in results
            ),
            caption=conditions,
            notes=(GROUP_RULE,),
        )


def _verdict_table(
    studies: Sequence[TrainingStudy], results: Sequence[ComparisonResult], conditions: str
) -> Table:
    adjusted = statistics.holm([result.p_value for result in results])
    over_images = any(result.over_images for result in results)
    columns = (
        text_column("comparison"),
        POINTS("gain", digits=1, source="published"),
        POINTS("difference"),
        Column("p", digits=3),
        Column("p among all", digits=3),
        text_column("verdict"),
        *((POINTS("over images"), text_column("verdict over images")) if over_images else ()),
        text_column("the paper's words", wide=True),
    )
    return Table(
        name=studies[0].file_name("comparisons"),
        title=studies[0].title("Comparisons in the paper's text"),
        columns=columns,
        rows=tuple(
            (
                result.comparison.label,
                UNPUBLISHED if result.printed is None else result.printed,
                _over_seeds(result.difference, result.why),
                result.p_value,
                among_all,
                result.verdict,
                *((_over_images(result), result.verdict_over_images) if over_images else ()),
                result.comparison.says,
            )
            for result, among_all in zip(results, adjusted, strict=True)
        ),
        caption=f"{_counts(results, adjusted)} {conditions}",
        notes=(
            VERDICT_RULE,
            *((IMAGES_RULE,) if over_images else ()),
            _family(results),
            *_widths(results),
            ALONE,
        ),
    )


def length_table(study: TrainingStudy) -> Iterator[Table]:
    """Differences of a schedule's networks by how long they were trained, at the rate that most have; none of one."""
    usual = most_frequent(arm.axes[RATE] for arm in study.arms)
    arms = {
        (arm.axes[NETWORK], float(arm.axes[LENGTH])): arm
        for arm in study.arms
        if arm.axes[RATE] == usual
    }
    lengths = sorted({length for _, length in arms})
    networks = {network for network, _ in arms}
    shown = [
        comparison
        for comparison in COMPARISONS
        if not comparison.margin and {*comparison.above, *comparison.below} <= networks
    ]

    def difference(comparison: TextComparison, length: float) -> Value:
        above, below = (arms.get((key[0], length)) for key in (comparison.above, comparison.below))
        if above is None or below is None:
            return UNMEASURED
        return _over_seeds(statistics.paired(above.scores(), below.scores()), "")

    if shown:
        yield Table(
            name=study.file_name(study.experiment, after="differences"),
            title=f"{study.title(study.experiment)}: differences by iterations",
            columns=(
                text_column("comparison"),
                *(POINTS(f"{length:,.0f} iterations") for length in lengths),
            ),
            rows=tuple(
                (comparison.label, *(difference(comparison, length) for length in lengths))
                for comparison in shown
            ),
            caption=study.conditions,
            notes=(f"Differences of the mIoU at a learning rate of {usual}, {UNJUDGED}",),
        )


def _counts(results: Sequence[ComparisonResult], adjusted: Sequence[float | None]) -> str:
    """How many verdicts there are of each kind, and how many of them stand among all."""
    verdicts = [result.verdict for result in results]
    stand = [
        verdict
        for verdict, p in zip(verdicts, adjusted, strict=True)
        if p is not None and p <= LEVEL
    ]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
    standing = ", ".join(f"{stand.count(verdict)} {verdict}" for verdict in VERDICTS[:2])
    text = f"{len(results)} comparisons: {counts}; among all {standing}."
    if not any(result.over_images for result in results):
        return text
    over = [result.verdict_over_images for result in results]
    return f"{text} Over images: {', '.join(f'{over.count(verdict)} {verdict}' for verdict in VERDICTS)}."


def _family(results: Sequence[ComparisonResult]) -> str:
    tested = sum(result.p_value is not None for result in results)
    return (
        f"{tested} comparisons have an interval; were each difference just at its limit, {tested * LEVEL:.1f} of them "
        "would be decided by chance. 'p among all' is Holm's: if only what is at most 0.05 there is called a "
        "difference, any is called wrongly in at most 5 % of runs."
    )


def _widths(results: Sequence[ComparisonResult]) -> Iterator[str]:
    kinds = {
        "by seeds": [r.difference.interval() for r in results if r.difference],
        "over images": [r.over_images.interval() for r in results if r.over_images],
    }
    for kind, intervals in kinds.items():
        halves = [(ends[1] - ends[0]) / 2 for ends in intervals if ends]
        if halves:
            narrow = sum(half <= AIM_POINTS for half in halves)
            yield (
                f"Half an interval {kind} is {min(halves):.2f} to {max(halves):.2f} points (median "
                f"{median(halves):.2f}); {narrow} of {len(halves)} are at most {AIM_POINTS}."
            )


def _power_table(
    studies: Sequence[TrainingStudy], results: Sequence[ComparisonResult], conditions: str
) -> Table:
    return Table(
        name=studies[0].file_name("comparisons", after="power"),
        title=studies[0].title("Statistical power"),
        columns=(
            text_column("comparison"),
            Column("seeds"),
            POINTS("scatter of a difference"),
            POINTS("smallest difference", source="predicted"),
            POINTS("gain", digits=1, source="published"),
            Column("seeds needed", source="predicted"),
            Column("unpaired", source="predicted"),
        ),
        rows=tuple(map(_power_row, results)),
        caption=conditions,
        notes=(POWER_RULE,),
    )


def _power_row(result: ComparisonResult) -> tuple[Value, ...]:
    difference, step = result.difference, result.printed
    scatter = difference.deviation if difference else None
    count = len(difference.seeds) if difference else 0
    missing = Mark(result.why or "a single seed has no scatter")
    unpublished = UNPUBLISHED if step is None else step

    def needed(deviation: float | None, *, paired: bool) -> Value:
        if not deviation or step is None:
            return missing if step is not None else UNPUBLISHED
        seeds = seeds_needed(step, deviation, paired=paired)
        return Mark("more than ten million") if seeds is None else seeds

    return (
        result.comparison.label,
        count,
        missing if scatter is None else scatter,
        missing if scatter is None else statistics.smallest_difference(scatter, count),
        unpublished,
        needed(scatter, paired=True),
        needed(result.deviation, paired=False),
    )


def _over_seeds(difference: statistics.Difference | None, why: str) -> Value:
    if difference is None:
        return Mark(why or "no seed has both rows")
    low, high = difference.interval() or (None, None)
    return Interval(difference.mean, low, high, note=why)


def _over_images(result: ComparisonResult) -> Value:
    if result.over_images is None:
        return Mark(result.why_not_over_images)
    low, high = result.over_images.interval() or (None, None)
    return Interval(result.over_images.mean, low, high, note=result.why_not_over_images)
