"""Tables of what was trained: Tables 6 and 7 beside the paper's, every seed, the text's comparisons, checkpoints."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bench.analysis import class_iou, mean_iou
from bench.records import Accuracy
from reports import model
from reports.model import GIGA, Column, Field, Frame, Mark, Row, Spread, Table, Value, memory_column
from reports.training.answers import study_notes
from reports.training.claims import PAPER_TABLES, arm_name
from reports.training.runs import (
    LISTED_SEEDS,
    SEED,
    Arm,
    TrainingStudy,
    is_schedule,
)
from reports.training.studies import studies_by_setting, training_studies
from reports.training.verdict_tables import length_table, verdict_tables

SPREAD = (
    "mIoU is the mean and the standard deviation over the seeds; each seed is in the next table."
)
CALL = "MACs and the memory of a call are those of inference on one image, predicted."
STEP = "Memory of training is everything alive at the peak of one step, predicted, without the optimizer's state."
STEP_TIME = "The time of a step is the median over the runs."
MIOU_COLUMN = partial(Column, unit="%", digits=2, base="percent", source="measured")


def training_tables(frame: Frame) -> tuple[Table, ...]:
    """Every table of what was trained: by experiment and setting, then the comparisons by setting."""
    tables: list[Table] = []
    studies = training_studies(frame)
    for study in studies:
        tables.append(study_table(study))
        was_run = any(row["device_name"] for arm in study.arms for row in arm.rows)
        if was_run and study.seeds:
            tables.append(_seed_table(study))
        if is_schedule(study) and study.runs:
            tables.extend(length_table(study))
    settings = studies_by_setting(studies)
    return (*tables, *(table for same in settings for table in verdict_tables(same)))


def study_table(study: TrainingStudy) -> Table:
    """One table of the paper in one setting: its mIoU, ours, and what the network costs."""
    document, empty = study.document, sum(row["accuracy"].empty_crops for row in study.runs)
    return _tabulate(
        study,
        _arm_field(Column("anchors"), lambda arm: arm.anchors, optional=True),
        _arm_field(
            MIOU_COLUMN("mIoU", digits=1, source="published"),
            lambda arm: model.UNPUBLISHED if arm.printed is None else arm.printed,
            optional=True,
        ),
        _arm_field(MIOU_COLUMN("mIoU"), miou_spread, note=SPREAD),
        *(
            _arm_field(MIOU_COLUMN(f"mIoU, {group}"), partial(miou_spread, group=group))
            for group in study.groups
        ),
        _arm_field(Column("seeds"), partial(_finished_seeds, seeds=study.seeds)),
        *_cost_fields(),
        notes=(
            *study_notes(study),
            f"The published column: {document.note}." if document and document.note else "",
            f"{empty:,} crops had no labelled pixel and added nothing to the loss."
            if empty
            else "",
        ),
    )


def _seed_table(study: TrainingStudy) -> Table:
    def score(arm: Arm, seed: object) -> Value:
        return arm.missing(seed) if (value := arm.scores().get(seed)) is None else value

    after, what = "seeds", ": mIoU of every seed"
    if len(study.seeds) > LISTED_SEEDS:  # too many for columns
        named = [MIOU_COLUMN(arm_name(arm.key)) for arm in study.arms]
        return Table(
            name=study.file_name(study.experiment, after=after),
            title=f"{study.title(_topic(study))}{what}",
            columns=(model.text_column("seed"), *named),
            rows=tuple(
                (str(seed), *(score(arm, seed) for arm in study.arms)) for seed in study.seeds
            ),
            caption=study.conditions,
        )
    fields = (
        _arm_field(MIOU_COLUMN(f"seed {seed}"), partial(score, seed=seed)) for seed in study.seeds
    )
    return _tabulate(study, *fields, after=after, what=what)


def _arm_field(
    column: Column, value: Callable[[Arm], Value], *, optional: bool = False, note: str = ""
) -> Field:
    return Field(column, lambda row: value(row["arm"]), optional, note)


def _tabulate(
    study: TrainingStudy, *fields: Field, after: str = "", what: str = "", notes: Sequence[str] = ()
) -> Table:
    def axis(name: str) -> Field:
        return _arm_field(model.text_column(name), lambda arm: arm.axes[name])

    axes = map(axis, study.arms[0].axes if study.arms else ())
    return model.tabulate(
        [{"arm": arm} for arm in study.arms],
        (*axes, *fields),
        name=study.file_name(study.experiment, after=after),
        title=f"{study.title(_topic(study))}{what}",
        caption=study.conditions,
        notes=notes,
    )


def _topic(study: TrainingStudy) -> str:
    paper = PAPER_TABLES.get(study.experiment)
    return f"{paper.place}: {paper.topic}" if paper else study.experiment


def miou_spread(arm: Arm, group: str | None = None) -> Spread | Mark:
    """Mean and deviation of an arm's mIoU in percent, or why there is none."""
    scores = list(arm.scores(group).values())
    if scores:
        deviation = statistics.stdev(scores) if len(scores) > 1 else None
        return Spread(statistics.fmean(scores), deviation)
    # A seed that failed says more than one that was not run.
    rows = sorted(arm.rows, key=lambda row: row["failure"] is None)
    return arm.missing(rows[0]["axes"].get(SEED, "")) if rows else model.UNMEASURED


def _finished_seeds(arm: Arm, seeds: tuple[Any, ...]) -> Value:
    done = arm.scores()
    lacking = [seed for seed in seeds if seed not in done]
    if not lacking or not done:
        return len(done)
    why = "; ".join(f"seed {seed}: {arm.missing(seed).note}" for seed in lacking)
    return Mark(why, f"{len(done)} of {len(seeds)}")


def _cost_fields() -> Iterator[Field]:
    for column, name, mode in (
        (Column("MACs", "G", 3, GIGA), "macs", "eval"),
        (Column("MACs of a step", "G", 2, GIGA), "macs", "train"),
        (memory_column("memory of a call", "predicted"), "predicted_increment_bytes", "eval"),
        (memory_column("memory of training", "predicted"), "predicted_peak_bytes", "train"),
    ):
        cost = partial(_cost, name=name, mode=mode)
        yield _arm_field(column, cost, optional=True, note=CALL if mode == "eval" else STEP)
    step = model.time_column("time of a step", digits=1)
    yield _arm_field(step, _step_time, optional=True, note=STEP_TIME)


def _cost(arm: Arm, name: str, mode: str) -> Value:
    cost = arm.cost(name, mode=mode)
    return model.UNPREDICTED if cost is None else cost


def _step_time(arm: Arm) -> Value:
    times = [run["accuracy"].step_time_s for run in arm.runs.values()]
    medians = [statistics.median(samples) for samples in times if samples]
    return statistics.median(medians) if medians else None


def evaluation_tables(frame: Frame) -> tuple[Table, ...]:
    """A table for each checkpoint that was evaluated."""
    rows = enumerate(model.rows_of_experiment(frame, "evaluation"), start=1)
    return tuple(_class_table(row, number) for number, row in rows if row["accuracy"] is not None)


def _class_table(row: Row, number: int) -> Table:
    accuracy, axes = row["accuracy"], row["axes"]
    ious = zip(accuracy.classes, class_iou(accuracy.confusion), strict=True)
    other = f" with {axes['backbone']}" if "backbone" in axes else ""
    protocol = f"evaluated by {accuracy.protocol!r} on the {accuracy.split} set"
    return Table(
        name="evaluation" if number == 1 else f"evaluation-{number}",
        title=f"{axes['network']}{other} on {axes['dataset']}, checkpoint {axes['checkpoint']}",
        columns=(model.text_column("class"), Column("IoU", "%", 2, 1, "percent", "measured")),
        rows=(
            *((name, None if iou is None else 100 * iou) for name, iou in ious),
            ("mean", mean_iou(accuracy.confusion)),
        ),
        caption=f"{protocol}; {model.measuring_conditions([row])}",
        notes=(
            *(f"The file has {note}." for note in accuracy.notes),
            *_published_notes(axes, accuracy),
        ),
    )


# What has a number under another name: the released network is Table 6's last row, and the augmented set of PASCAL VOC
# is validated on VOC's images.
_NETWORK_OF = {"official/ann-r101": "paper/afnb+apnb"}
_DATASET_OF = {"voc2012": "voc2012aug"}


def _published_notes(axes: Mapping[str, Any], accuracy: Accuracy) -> Iterator[str]:
    """Published mIoU of the network on the set: of the same protocol, then of others with their names."""
    if "backbone" in axes:
        yield "Published numbers are of the network with its own backbone, and stand beside none with another."
        return
    network = _NETWORK_OF.get(axes["network"], axes["network"])
    dataset = _DATASET_OF.get(axes["dataset"], axes["dataset"])
    same, others = [], []
    for record in model.published_records():
        document, printed = record.document, record.measures.printed
        # Tables 6 and 7 are of Cityscapes alone.
        here = record.axes.get("network"), record.axes.get("dataset", "cityscapes")
        if document is None or here != (network, dataset):
            continue
        row = [str(record.axes[name]) for name in ("crop", "schedule") if name in record.axes]
        where = ", ".join(row) or document.table
        for name, protocol in document.protocols.items():
            if protocol == accuracy.protocol:
                same.append(f"{printed[name]:.2f} ({where})")
            else:
                others.append(f"{printed[name]:.2f} ({where}; {protocol!r})")
    if same:
        yield f"Published mIoU under the same protocol, by crop and iterations: {', '.join(same)}."
    if others:
        yield f"Published under another protocol, not to be compared: {', '.join(others)}."
    if not same and not others:
        yield "The documents give no mIoU of this network on this set."
