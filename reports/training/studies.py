"""Studies of a frame: its trainings by experiment and setting, and by machine where several trained the same.

Rows of a network that were counted or predicted without a seed or a setting count for all settings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from bench.records import SETTING_AXES
from reports import model
from reports.model import Frame, Row, slug
from reports.training.claims import PAPER_TABLES
from reports.training.runs import SEED, Arm, TrainingStudy

MACHINE = "machine"  # in the setting where several machines trained the same


def trained_experiments(frame: Frame) -> tuple[str, ...]:
    """Experiments that were or should be trained: Tables 6 and 7, and whatever else has accuracies by seed."""
    ours = frame[frame["protocol"] != "published"]
    by_seed = ours["axes"].map(lambda axes: SEED in axes).astype(bool)
    trained = ours.loc[ours["accuracy"].notna() & by_seed, "experiment"]
    known = [name for name in PAPER_TABLES if name in set(ours["experiment"])]
    return tuple(dict.fromkeys((*known, *trained)))


def training_studies(frame: Frame) -> tuple[TrainingStudy, ...]:
    """Every study, by experiment and setting, with a row for each arm that was run or printed."""
    settings: dict[str, list[Mapping[str, Any]]] = {}
    studies = []
    divided = _divided(frame)
    found = (_studies_of(frame, name, divided) for name in trained_experiments(frame))
    for study in chain.from_iterable(found):
        alike = settings.setdefault(slug(study.name), [])
        if study.setting not in alike:
            alike.append(study.setting)
        studies.append(replace(study, number=1 + alike.index(study.setting)))
    return tuple(studies)


def studies_by_setting(studies: Iterable[TrainingStudy]) -> tuple[Sequence[TrainingStudy], ...]:
    """Put the studies of each setting together, whose comparisons are asked at once."""
    alike = model.grouped(studies, lambda study: str(sorted(study.setting.items(), key=str)))
    return tuple(alike.values())


def _studies_of(
    frame: Frame, experiment: str, divided: Mapping[str, Sequence[str]]
) -> Iterator[TrainingStudy]:
    rows = model.rows_of_experiment(frame, experiment)
    ours = [row for row in rows if row["protocol"] != "published"]
    names = dict.fromkeys(name for row in ours for name in row["axes"])
    axes: Sequence[str] = [name for name in names if name not in (SEED, *SETTING_AXES)]
    if experiment in PAPER_TABLES:
        axes = PAPER_TABLES[experiment].axes
    printed = [row for row in rows if row["document"] is not None]
    printed.sort(key=lambda row: row["published_place"])
    document = printed[0]["document"] if printed else None
    named: list[tuple[Row, Mapping[str, Any]]] = []
    for row in ours:
        beside = {name: v for name, v in row["axes"].items() if name not in (SEED, *axes)}
        named.extend(_settings_of(row, beside, divided.get(_shared(row), ())))

    def key_of(row: Row) -> tuple[Any, ...]:
        return tuple(row["axes"].get(name, "") for name in axes)

    # Settings of the trainings; where nothing was trained, of the predictions.
    every = [setting for row, setting in named if _is_training(row)] or [each for _, each in named]
    settings = [setting for at, setting in enumerate(every) if setting not in every[:at]]

    documents = model.grouped(printed, key_of)
    for setting in settings:
        # Every setting which has the axes of a prediction shares it.
        here = (
            row
            for row, beside in named
            if beside == setting or (not _is_training(row) and beside.items() <= setting.items())
        )
        recorded, arms = model.grouped(here, key_of), []
        for key in documents | recorded:
            place: Row = documents[key][0] if key in documents else {}
            values = place.get("published_miou_percent"), place.get("published_anchors")
            arm_rows = tuple(recorded.get(key, ()))
            arms.append(Arm(dict(zip(axes, key, strict=True)), arm_rows, *values))
        yield TrainingStudy(experiment, setting, tuple(arms), document)


def _divided(frame: Frame) -> Mapping[str, Sequence[str]]:
    """Machines by setting, where a seed of a row was trained on several of them, which else are not told apart."""
    runs = model.rows_of(frame[frame["accuracy"].notna()])
    by_setting = model.grouped(runs, _shared)
    return {
        setting: tuple(dict.fromkeys(row["device_name"] for row in same if row["device_name"]))
        for setting, same in by_setting.items()
        if any(
            len({row["device_name"] for row in alike}) > 1
            for alike in model.grouped(same, _training_of).values()
        )
    }


def _shared(row: Row) -> str:
    """The setting of a row as far as other experiments have it too."""
    return str([(name, row["axes"].get(name)) for name in SETTING_AXES])


def _training_of(row: Row) -> str:
    return str((row["experiment"], sorted(row["axes"].items(), key=str)))


def _settings_of(
    row: Row, setting: Mapping[str, Any], machines: Sequence[str]
) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """Where a row stands: a training with its machine where there are several, with each if it was only planned."""
    if not machines or not _is_training(row):
        yield row, setting
        return
    for name in (row["device_name"],) if row["device_name"] else machines:
        yield row, {**setting, MACHINE: name}


def _is_training(row: Row) -> bool:
    return SEED in row["axes"] or row["accuracy"] is not None
