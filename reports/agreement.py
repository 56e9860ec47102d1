"""How far machines and recipes agree on accuracies, row by row, and machines on ratios of times between blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from statistics import fmean
from typing import NamedTuple

from reports import blocks, model, training
from reports.model import Column, Frame, Interval, Row, Table, Value, text_column
from reports.training import Arm, Difference, TrainingStudy

REFERENCE_BLOCK = "apnb"
PAIRED = "A difference is the second less the first, paired by seed, with its 95 % interval"
USUAL = "usual recipe"
RATIO_RULE = (
    f"Each ratio is a block's median time over that of {REFERENCE_BLOCK} at the same size on the same machine; times "
    "of one machine are not set against another's."
)


class ArmPair(NamedTuple):
    """A row of a study on two machines."""

    study: TrainingStudy
    first: Arm
    second: Arm
    difference: Difference


@dataclass(frozen=True, slots=True)
class Contrast:
    """What two trainings of a row may differ in besides the seed."""

    axis: str  # of the setting
    title: str
    rule: str
    same: str  # what trainings have in common that are set beside one another
    beside: str = ""  # what all others are set beside; empty for every two


CONTRASTS = (
    Contrast(
        training.MACHINE,
        "Agreement of two machines: mIoU",
        f"{PAIRED}; what was trained by another recipe is left out. Machines add up in other orders, so that trainings "
        "of a seed part; and they may have run other commits, which the report names under 'Environments'.",
        same="cell",
    ),
    Contrast(
        "recipe",
        "Effect of the recipe on mIoU",
        f"{PAIRED}; a seed's two trainings are of one machine.",
        same="device_name",
        beside=USUAL,
    ),
)


def agreement_tables(frame: Frame) -> tuple[Table, ...]:
    """Compare every two machines or recipes that trained the same rows, and machines that timed the same blocks."""
    studies = training.training_studies(frame)
    return (
        *(table for contrast in CONTRASTS for table in _accuracies(studies, contrast)),
        *(table for name in blocks.BLOCK_TITLES for table in _time_ratios(frame, name)),
    )


def _accuracies(studies: Sequence[TrainingStudy], contrast: Contrast) -> Iterator[Table]:
    def others(study: TrainingStudy) -> Mapping[str, object]:
        return {name: value for name, value in study.setting.items() if name != contrast.axis}

    for alike in model.grouped(studies, lambda study: str(sorted(others(study).items()))).values():
        by_value = model.grouped(alike, lambda study: str(study.setting.get(contrast.axis, USUAL)))
        for names in combinations(sorted(by_value, key=USUAL.__ne__), 2):
            if contrast.beside not in ("", names[0]):
                continue
            pairs = [
                pair
                for first, second in product(*(by_value[name] for name in names))
                if first.experiment == second.experiment
                for pair in _pairs(first, second, same=contrast.same)
            ]
            if pairs:
                study = replace(alike[0], setting=others(alike[0]))
                yield _accuracy_table(study, pairs, names, contrast)


def _pairs(first: TrainingStudy, second: TrainingStudy, *, same: str) -> Iterator[ArmPair]:
    for arm in first.arms:
        other = second.arm(arm.key)
        if other is None:
            continue
        runs = arm.runs
        shared = {
            seed
            for seed, row in other.runs.items()
            if seed in runs and runs[seed][same] == row[same]
        }
        here, there = (
            replace(each, rows=tuple(row for seed, row in each.runs.items() if seed in shared))
            for each in (arm, other)
        )
        difference = training.paired(there.scores(), here.scores())
        if difference:
            yield ArmPair(first, here, there, difference)


def _accuracy_table(
    study: TrainingStudy, pairs: Sequence[ArmPair], names: Sequence[str], contrast: Contrast
) -> Table:
    points = Column("difference", "points", 2, base="points", source="measured")
    means = [abs(pair.difference.mean) for pair in pairs]
    every = [abs(gap) for pair in pairs for gap in pair.difference.gaps]
    away = sum(
        ends is not None and not ends[0] <= 0 <= ends[1]
        for ends in (pair.difference.interval() for pair in pairs)
    )
    return Table(
        name=study.file_name("agreement", *names),
        title=study.title(contrast.title),
        columns=(
            text_column("where"),
            text_column("row"),
            *(Column(name, "%", 2, base="percent", source="measured") for name in names),
            points,
            Column("largest of any seed", "points", 2, base="points"),
            Column("seeds"),
        ),
        rows=tuple(map(_accuracy_row, pairs)),
        caption=(
            f"{len(pairs)} rows: the means differ by {max(means):.2f} points at most and {fmean(means):.2f} on "
            f"average, a seed by {max(every):.2f} at most; {away} of the intervals leave 0 out."
        ),
        notes=(contrast.rule,),
        group_by=(0,),
    )


def _accuracy_row(pair: ArmPair) -> tuple[Value, ...]:
    gaps = pair.difference.gaps
    low, high = pair.difference.interval() or (None, None)
    return (
        training.place_of(pair.study.experiment),
        training.arm_name(pair.first.key),
        *(training.miou_spread(arm) for arm in (pair.first, pair.second)),
        Interval(pair.difference.mean, low, high),
        max(gaps, key=abs),
        len(gaps),
    )


def _time_ratios(frame: Frame, experiment: str) -> Iterator[Table]:
    rows = [
        row
        for row in model.with_paper(model.rows_of_experiment(frame, experiment))
        if row["device_name"] and model.median_time(row)
    ]
    ratios = {
        machine: _over_reference([row for row in rows if row["device_name"] == machine])
        for machine in dict.fromkeys(str(row["device_name"]) for row in rows)
    }
    for machines in combinations(ratios, 2):
        first, second = (ratios[machine] for machine in machines)
        shared = [key for key in first if key in second]
        if shared:
            yield Table(
                name=model.slug("agreement", experiment, *machines),
                title=f"Agreement of two machines: times over {REFERENCE_BLOCK}'s",
                columns=(
                    text_column("block"),
                    text_column("size"),
                    *(Column(machine, "", 2, source="measured") for machine in machines),
                    Column("second over first", "", 2),
                ),
                rows=tuple(
                    (*key, first[key], second[key], second[key] / first[key]) for key in shared
                ),
                caption=f"{blocks.BLOCK_TITLES[experiment]}; strict protocol.",
                notes=(RATIO_RULE,),
            )


def _over_reference(rows: Sequence[Row]) -> Mapping[tuple[str, str], float]:
    """Ratios of one machine by block and size."""
    times = {
        (str(row["axes"]["block"]), str(row["axes"]["size"])): time.median
        for row in rows
        if (time := model.median_time(row)) and {"block", "size"} <= row["axes"].keys()
    }
    references = {size: time for (block, size), time in times.items() if block == REFERENCE_BLOCK}
    return {
        (block, size): time / references[size]
        for (block, size), time in times.items()
        if block != REFERENCE_BLOCK and size in references
    }
