"""Tables of what was trained: Tables 6 and 7 beside the paper's, every seed, what the text compares."""

import statistics
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from reports.model import (
    GIGA,
    MILLI,
    UNMEASURED,
    UNPREDICTED,
    UNPUBLISHED,
    Column,
    Field,
    Frame,
    Mark,
    Row,
    Spread,
    Table,
    Value,
    memory_column,
    tabulate,
    text_column,
)
from reports.training.captions import empty_crop_notes, training_conditions
from reports.training.claims import PAPER_TABLES
from reports.training.runs import SEED, Arm, TrainingStudy, training_studies
from reports.training.verdicts import ranking_notes, verdict_tables

if TYPE_CHECKING:
    SPREAD = "mIoU is the mean and the standard deviation over the seeds; each seed is in the next table."
CALL = "MACs and the memory of a call are those of inference on one image, predicted."
STEP = "Memory of training is everything alive at the peak of one step, predicted, without the optimizer's state."
STEP_TIME = "The time of a step is the median over the runs."
MIOU_COLUMN = partial(Column, unit="%", digits=2, base="percent", source="measured")


def training_tables(frame: Frame) -> tuple[Table, ...]:
    """Every table of what was trained: by experiment and setting, then the comparisons by setting."""
    tables: list[Table] = []
    settings: dict[str, list[TrainingStudy]] = {}
    for study in training_studies(frame):
        settings.setdefault(str(sorted(study.setting.items(), key=str)), []).append(study)
        tables.append(study_table(study))
        was_run = any(row["device_name"] for arm in study.arms for row in arm.rows)
        if was_run and study.seeds:
            tables.append(_seed_table(study))
    return (*tables, *(table for same in settings.values() for table in verdict_tables(same)))


def study_table(study: TrainingStudy) -> Table:
    """One table of the paper in one setting: its mIoU, ours, and what the network costs."""
    groups = (
        Field(MIOU_COLUMN(f"mIoU, {group}"), partial(_score, group=group)) for group in study.groups
    )
    return _tabulate(
        study,
        Field(Column("anchors"), lambda row: row["arm"].anchors, optional=True),
        Field(MIOU_COLUMN("mIoU", digits=1, source="published"), _published_score, optional=True),
        Field(MIOU_COLUMN("mIoU"), _score, note=SPREAD),
        *groups,
        Field(Column("seeds"), partial(_finished_seeds, asked=study.seeds)),
        *_cost_fields(),
        name=study.file_name(study.experiment),
        title=_title(study),
        notes=(*ranking_notes((study,)), *_document_notes(study), *empty_crop_notes(study)),
    )


def _seed_table(study: TrainingStudy) -> Table:
    """Every seed's mIoU of a study; in the place of one that failed or was not run, why."""
    return _tabulate(
        study,
        *(
            Field(MIOU_COLUMN(f"seed {seed}"), partial(_seed_score, seed=seed))
            for seed in study.seeds
        ),
        name=study.file_name(study.experiment, after="seeds"),
        title=f"{_title(study)}: mIoU of every seed",
    )


def _tabulate(study: TrainingStudy, *fields: Field, **about: Any) -> Table:  # noqa: ANN401
    axes = (
        Field(text_column(name), partial(_axis_of_arm, name=name))
        for name in (study.arms[0].axes if study.arms else ())
    )
    rows = [{"arm": arm} for arm in study.arms]
    return tabulate(rows, (*axes, *fields), caption=training_conditions(study), **about)


def _title(study: TrainingStudy) -> str:
    paper = PAPER_TABLES.get(study.experiment)
    return study.title(f"{paper.place}: {paper.topic}" if paper else study.experiment)


def _axis_of_arm(row: Row, name: str) -> Value:
    value: Value = row["arm"].axes[name]
    return value


def _published_score(row: Row) -> Value:
    number: float | None = row["arm"].printed
    return UNPUBLISHED if number is None else number


def _score(row: Row, group: str | None = None) -> Value:
    return miou_spread(row["arm"], group)


def miou_spread(arm: Arm, group: str | None = None) -> Spread | Mark:
    """Mean and deviation of an arm's mIoU in percent, or why there is none."""
    scores = list(arm.scores(group).values())
    if scores:
        deviation = statistics.stdev(scores) if len(scores) > 1 else None
        return Spread(statistics.fmean(scores), deviation)
    # A seed that failed says more than one that was not run.
    rows = sorted(arm.rows, key=lambda row: row["failure"] is None)
    return arm.missing(rows[0]["axes"].get(SEED, "")) if rows else UNMEASURED


def _finished_seeds(row: Row, asked: tuple[Any, ...]) -> Value:
    arm: Arm = row["arm"]
    done = arm.scores()
    lacking = [seed for seed in asked if seed not in done]
    if not lacking or not done:
        return len(done)
    why = "; ".join(f"seed {seed}: {arm.missing(seed).note}" for seed in lacking)
    return Mark(why, f"{len(done)} of {len(asked)}")


def _cost_fields() -> Iterator[Field]:
    for column, name, mode in (
        (Column("MACs", "G", 3, GIGA), "macs", "eval"),
        (Column("MACs of a step", "G", 2, GIGA), "macs", "train"),
        (memory_column("memory of a call", "predicted"), "predicted_increment_bytes", "eval"),
        (memory_column("memory of training", "predicted"), "predicted_peak_bytes", "train"),
    ):
        note = CALL if mode == "eval" else STEP
        yield Field(column, partial(_cost, name=name, mode=mode), optional=True, note=note)
    step = Column("time of a step", "ms", 1, MILLI, "seconds", "measured")
    yield Field(step, _step_time, optional=True, note=STEP_TIME)


def _cost(row: Row, name: str, mode: str) -> Value:
    cost: int | None = row["arm"].cost(name, mode=mode)
    return UNPREDICTED if cost is None else cost


def _step_time(row: Row) -> Value:
    """Median over the runs of the median time of a step, in seconds."""
    times = [run["accuracy"].step_time_s for run in row["arm"].runs.values()]
    medians = [statistics.median(samples) for samples in times if samples]
    return statistics.median(medians) if medians else None


def _document_notes(study: TrainingStudy) -> Iterator[str]:
    if study.document is not None and study.document.note:
        yield f"The published column: {study.document.note}."


def _seed_score(row: Row, seed: object) -> Value:
    arm: Arm = row["arm"]
    score = arm.scores().get(seed)
    return arm.missing(seed) if score is None else score
