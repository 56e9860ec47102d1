"""Tables of what was trained: Tables 6 and 7 beside the paper's, every seed, what the text compares."""

import statistics
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from reports.model import (
    GIGA,
    MEBI,
    MILLI,
    UNMEASURED,
    UNPREDICTED,
    UNPUBLISHED,
    Column,
    Field,
    Mark,
    Row,
    Spread,
    Table,
    Value,
    tabulate,
)
from reports.training import runs
from reports.training.captions import empty_crop_notes, training_conditions
from reports.training.runs import Arm, TrainingStudy
from reports.training.verdicts import group_table, ranking_notes, verdict_table

if TYPE_CHECKING:
    import pandas as pd

TITLES = {"table6": "Table 6: components", "table7": "Table 7: sampling"}
SPREAD = (
    "mIoU is the mean and the standard deviation over the seeds; each seed is in the next table."
)
CALL = "MACs and the memory of a call are those of inference on one image, predicted."
STEP = "Memory of training is everything alive at the peak of one step, predicted, without the optimizer's state."
TIME = "The time of a step is the median over the runs."


def training_tables(frame: "pd.DataFrame") -> tuple[Table, ...]:
    """Every table of what was trained: by experiment and setting, then the comparisons by setting."""
    found = runs.training_studies(frame)
    made = [table for study in found for table in _tables(study)]
    settings: dict[str, list[TrainingStudy]] = {}
    for study in found:
        settings.setdefault(str(sorted(study.setting.items(), key=str)), []).append(study)
    compared = (make(same) for same in settings.values() for make in (verdict_table, group_table))
    return (*made, *(table for table in compared if table is not None))


def _tables(study: TrainingStudy) -> tuple[Table, ...]:
    was_run = any(row["device_name"] for arm in study.arms for row in arm.rows)
    return (
        (study_table(study), seed_table(study))
        if was_run and study.seeds
        else (study_table(study),)
    )


def _title(study: TrainingStudy) -> str:
    return ", ".join(filter(None, (TITLES.get(study.experiment, study.experiment), study.name)))


def _arms(study: TrainingStudy) -> list[dict[str, Any]]:
    return [{"arm": arm} for arm in study.arms]


def _axes(study: TrainingStudy) -> Iterator[Field]:
    for name in study.arms[0].axes if study.arms else ():
        column = Column(name, align="left")
        yield Field(column, partial(lambda row, name: row["arm"].axes[name], name=name))


def study_table(study: TrainingStudy) -> Table:
    """One table of the paper in one setting: its mIoU, ours, and what the network costs."""
    percent = partial(Column, "mIoU", "%", base="percent")
    score = Field(percent(digits=2, source="measured"), _score, note=SPREAD)
    printed = Field(percent(digits=1, source="published"), _printed, optional=True)
    groups = (
        Field(
            Column(f"mIoU, {group}", "%", 2, base="percent", source="measured"),
            partial(_score, group=group),
        )
        for group in study.groups
    )
    anchors = Field(Column("anchors"), _anchors, optional=True)
    count = Field(Column("seeds"), partial(_count, study=study))
    return tabulate(
        _arms(study),
        (*_axes(study), anchors, printed, score, *groups, count, *_costs()),
        name=study.file_name(study.experiment),
        title=_title(study),
        caption=training_conditions(study),
        notes=(*ranking_notes((study,)), *_document(study), *empty_crop_notes(study)),
    )


def _printed(row: Row) -> Value:
    number: float | None = row["arm"].printed
    return UNPUBLISHED if number is None else number


def _anchors(row: Row) -> Value:
    number: int | None = row["arm"].anchors
    return number


def _score(row: Row, group: str | None = None) -> Value:
    return miou_spread(row["arm"], group)


def miou_spread(arm: Arm, group: str | None = None) -> Spread | Mark:
    """Mean and deviation of an arm's mIoU in percent, or why there is none."""
    scores = list(arm.scores(group).values())
    if not scores:
        return next((arm.missing(seed) for seed in _asked(arm)), UNMEASURED)
    return Spread(statistics.fmean(scores), statistics.stdev(scores) if len(scores) > 1 else None)


def _asked(arm: Arm) -> list[Any]:
    """Seeds of an arm, those that failed first."""
    rows = sorted(arm.rows, key=lambda row: row["failure"] is None)
    return list(dict.fromkeys(row["axes"].get(runs.SEED, "") for row in rows))


def _count(row: Row, study: TrainingStudy) -> Value:
    arm: Arm = row["arm"]
    done, asked = arm.scores(), study.seeds
    lacking = [seed for seed in asked if seed not in done]
    if not lacking or not done:
        return len(done)
    why = "; ".join(f"seed {seed}: {arm.missing(seed).note}" for seed in lacking)
    return Mark(why, f"{len(done)} of {len(asked)}")


def _costs() -> Iterator[Field]:
    memory = partial(Column, unit="MiB", digits=1, scale=MEBI, base="bytes", source="predicted")
    for column, name, mode in (
        (Column("MACs", "G", 3, GIGA), "macs", "eval"),
        (Column("MACs of a step", "G", 2, GIGA), "macs", "train"),
        (memory("memory of a call"), "predicted_increment_bytes", "eval"),
        (memory("memory of training"), "predicted_peak_bytes", "train"),
    ):
        said = CALL if mode == "eval" else STEP
        yield Field(column, partial(_cost, name=name, mode=mode), optional=True, note=said)
    step = Column("time of a step", "ms", 1, MILLI, "seconds", "measured")
    yield Field(step, _step, optional=True, note=TIME)


def _cost(row: Row, name: str, mode: str) -> Value:
    found = row["arm"].cost(name, mode=mode)
    return UNPREDICTED if found is None else found


def _step(row: Row) -> Value:
    """Median over the runs of the median time of a step, in seconds."""
    times = [run["accuracy"].step_time_s for run in row["arm"].runs.values()]
    medians = [statistics.median(samples) for samples in times if samples]
    return statistics.median(medians) if medians else None


def _document(study: TrainingStudy) -> Iterator[str]:
    if study.document is not None and study.document.note:
        yield f"The published column: {study.document.note}."


def seed_table(study: TrainingStudy) -> Table:
    """Every seed's mIoU of a study; in the place of one that failed or was not run, why."""
    columns = (
        Field(
            Column(f"seed {seed}", "%", 2, base="percent", source="measured"),
            partial(lambda row, seed: _of_seed(row["arm"], seed), seed=seed),
        )
        for seed in study.seeds
    )
    return tabulate(
        _arms(study),
        (*_axes(study), *columns),
        name=study.file_name(study.experiment, after="seeds"),
        title=f"{_title(study)}: mIoU of every seed",
        caption=training_conditions(study),
    )


def _of_seed(arm: Arm, seed: object) -> Value:
    score = arm.scores().get(seed)
    return arm.missing(seed) if score is None else score
