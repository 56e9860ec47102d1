"""Training records of the frame as studies: the rows of one table in one setting, each with all its seeds.

A setting is what the arms of a table share and the documents do not name: data and budget. Rows of a network that were
counted or predicted without a seed or a setting count for all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reports.model import UNMEASURED, Mark, Row, measured_value, rows_of_experiment
from reports.render import slug
from reports.training.claims import AXES, arm_name
from reports.training.statistics import mean_iou

if TYPE_CHECKING:
    import pandas as pd

    from bench.records import Accuracy, Document

SEED = "seed"
SHARED = ("dataset", "budget")


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of a table: its own axes, what the records hold about it, what the document prints."""

    axes: Mapping[str, Any]
    rows: tuple[Row, ...]
    printed: float | None = None
    anchors: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """Values of the axes, as the comparisons name the arm."""
        return tuple(str(value) for value in self.axes.values())

    @property
    def name(self) -> str:
        """The arm in a few words."""
        return arm_name(self.key)

    @property
    def runs(self) -> dict[Any, Row]:
        """Finished trainings by seed, the latest of each."""
        done = sorted(
            (row for row in self.rows if row["accuracy"] is not None),
            key=lambda row: (str(row["axes"].get(SEED, "")), row["created_at"] or ""),
        )
        found = {row["axes"].get(SEED, ""): row for row in done}
        return dict(sorted(found.items(), key=lambda item: _order(item[0])))

    def scores(self, group: str | None = None) -> dict[object, float]:
        """MIoU by seed, in percent, of all classes or of a named group of them."""
        found = {}
        for seed, row in self.runs.items():
            accuracy: Accuracy = row["accuracy"]
            if group is None or group in accuracy.groups:
                chosen = None if group is None else accuracy.groups[group]
                score = mean_iou(accuracy.confusion, chosen)
                if score is not None:
                    found[seed] = score
        return found

    def missing(self, seed: object) -> Mark:
        """Why there is no score of a seed."""
        # What a run said comes before what a prediction could not.
        for row in sorted(self.rows, key=lambda row: row["device_name"] is None):
            if row["axes"].get(SEED, seed) == seed and row["failure"] is not None:
                found = measured_value(row, None, first=True)
                assert isinstance(found, Mark)
                return found
        if seed in self.runs:
            return Mark("no class of this group is in the data or was predicted")
        return UNMEASURED

    def cost(self, column: str, *, mode: str) -> int | None:
        """What one call of the network needs in a mode, from the first row that says it."""
        return next(
            (row[column] for row in self.rows if row["mode"] == mode and row[column] is not None),
            None,
        )


@dataclass(frozen=True, slots=True)
class TrainingStudy:
    """A table's arms in one setting, in the order of the paper; `document` is where it prints them.

    `number` tells settings apart whose names make the same file name.
    """

    experiment: str
    setting: Mapping[str, Any]
    arms: tuple[Arm, ...]
    document: "Document | None" = None
    number: int = 1

    @property
    def seeds(self) -> tuple[Any, ...]:
        """Every seed that an arm has, run or failed."""
        asked = {row["axes"][SEED] for arm in self.arms for row in arm.rows if SEED in row["axes"]}
        asked |= {seed for arm in self.arms for seed in arm.runs}
        return tuple(sorted(asked, key=_order))

    @property
    def runs(self) -> tuple[Row, ...]:
        """Every finished training."""
        return tuple(row for arm in self.arms for row in arm.runs.values())

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of classes that the data set declares."""
        return tuple(dict.fromkeys(name for row in self.runs for name in row["accuracy"].groups))

    @property
    def name(self) -> str:
        """The setting in a few words."""
        return ", ".join(str(value) for value in self.setting.values())

    def file_name(self, *before: str, after: str = "") -> str:
        """Name for a file about this study, made of letters, digits and hyphens."""
        return slug(*before, self.name, str(self.number) if self.number > 1 else "", after)

    def arm(self, key: tuple[str, ...]) -> Arm | None:
        """Find an arm by the values of its axes."""
        return next((arm for arm in self.arms if arm.key == key), None)


def _order(seed: object) -> tuple[bool, float, str]:
    is_number = isinstance(seed, int | float)
    return (not is_number, float(seed) if isinstance(seed, int | float) else 0.0, str(seed))


def trained_experiments(frame: "pd.DataFrame") -> tuple[str, ...]:
    """Experiments that were trained or asked to be: Tables 6 and 7, and whatever else has accuracies by seed."""
    asked = frame[frame["protocol"] != "published"]
    by_seed = asked["axes"].map(lambda axes: SEED in axes).astype(bool)
    trained = asked.loc[asked["accuracy"].notna() & by_seed, "experiment"]
    known = [name for name in AXES if name in set(asked["experiment"])]
    return tuple(dict.fromkeys((*known, *trained)))


def training_studies(frame: "pd.DataFrame") -> tuple[TrainingStudy, ...]:
    """Every study, by experiment and setting."""
    found = [study for name in trained_experiments(frame) for study in studies_of(frame, name)]
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for study in found:
        settings = alike.setdefault(slug(study.name), [])
        if study.setting not in settings:
            settings.append(study.setting)
    return tuple(
        replace(study, number=1 + alike[slug(study.name)].index(study.setting)) for study in found
    )


def studies_of(frame: "pd.DataFrame", experiment: str) -> tuple[TrainingStudy, ...]:
    """Studies of one experiment: one for each setting, with a row for each arm that was asked or printed."""
    rows = rows_of_experiment(frame, experiment)
    asked = [row for row in rows if row["protocol"] != "published"]
    if not asked:
        return ()
    own = AXES.get(experiment) or _own(asked)
    printed = sorted(
        (row for row in rows if row["document"] is not None), key=lambda row: row["published_place"]
    )
    document = printed[0]["document"] if printed else None
    return tuple(
        TrainingStudy(experiment, setting, tuple(_arms(asked, printed, own, setting)), document)
        for setting in _settings(asked, own)
    )


def _own(rows: Sequence[Row]) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row["axes"])
    return tuple(name for name in names if name not in (SEED, *SHARED))


def _setting(row: Row, own: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row["axes"].items() if name not in (SEED, *own)}


def _is_training(row: Row) -> bool:
    return SEED in row["axes"] or row["accuracy"] is not None


def _settings(rows: Sequence[Row], own: Sequence[str]) -> list[dict[str, Any]]:
    """Distinct settings of the trainings; where nothing was trained, of the predictions."""
    asked = [row for row in rows if _is_training(row)] or rows
    found: list[dict[str, Any]] = []
    for setting in (_setting(row, own) for row in asked):
        if setting not in found:
            found.append(setting)
    return found


def _is_of(row: Row, own: Sequence[str], setting: Mapping[str, Any]) -> bool:
    """Whether a row is of a setting, or is a prediction that every setting shares which has its axes."""
    named = _setting(row, own)
    return named == setting or (not _is_training(row) and named.items() <= setting.items())


def _arms(
    asked: Sequence[Row], printed: Sequence[Row], own: Sequence[str], setting: Mapping[str, Any]
) -> Iterator[Arm]:
    numbers: dict[tuple[Any, ...], Row] = {}
    for row in printed:
        numbers.setdefault(_key(row, own), row)
    here = [row for row in asked if _is_of(row, own, setting)]
    for key in dict.fromkeys((*numbers, *(_key(row, own) for row in here))):
        rows = tuple(row for row in here if _key(row, own) == key)
        number, anchors = (
            numbers[key][name] if key in numbers else None
            for name in ("published_miou_percent", "published_anchors")
        )
        yield Arm(dict(zip(own, key, strict=True)), rows, number, anchors)


def _key(row: Row, own: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row["axes"].get(name, "") for name in own)
