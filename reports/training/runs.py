"""Training records of the frame as studies: the rows of one table in one setting, each with all its seeds.

A setting is what the arms of a table share and the documents do not name: data and budget. Rows of a network that were
counted or predicted without a seed or a setting count for all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.analysis import mean_iou
from reports.model import UNMEASURED, Frame, Mark, Row, measured_value, rows_of_experiment
from reports.render import slug
from reports.training.claims import PAPER_TABLES, ArmKey, arm_name

if TYPE_CHECKING:
    from bench.records import Accuracy, Document

SEED = "seed"
SHARED_AXES = ("dataset", "budget")


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of a table: its own axes, what the records hold about it, what the document prints."""

    axes: Mapping[str, Any]
    rows: tuple[Row, ...]
    printed: float | None = None
    anchors: int | None = None

    @property
    def key(self) -> ArmKey:
        """Values of the axes, as the comparisons name the arm."""
        return tuple(str(value) for value in self.axes.values())

    @property
    def name(self) -> str:
        """The arm in a few words."""
        return arm_name(self.key)

    @property
    def runs(self) -> dict[Any, Row]:
        """Finished trainings by seed, the latest of each."""
        done = [row for row in self.rows if row["accuracy"] is not None]
        done.sort(key=lambda row: row["created_at"] or "")
        latest = {row["axes"].get(SEED, ""): row for row in done}
        return {seed: latest[seed] for seed in sorted(latest, key=_seed_order)}

    def scores(self, group: str | None = None) -> dict[object, float]:
        """MIoU by seed, in percent, of all classes or of a named group of them."""
        scores = {}
        for seed, row in self.runs.items():
            accuracy: Accuracy = row["accuracy"]
            if group is None or group in accuracy.groups:
                classes = None if group is None else accuracy.groups[group]
                score = mean_iou(accuracy.confusion, classes)
                if score is not None:
                    scores[seed] = score
        return scores

    def missing(self, seed: object) -> Mark:
        """Why there is no score of a seed."""
        # What a run said comes before what a prediction could not.
        for row in sorted(self.rows, key=lambda row: row["device_name"] is None):
            if row["axes"].get(SEED, seed) == seed and row["failure"] is not None:
                mark = measured_value(row, None, first=True)
                assert isinstance(mark, Mark)
                return mark
        if seed in self.runs:
            return Mark("no class of this group is in the data or was predicted")
        return UNMEASURED

    def score_of(self, seed: object) -> float | Mark:
        """MIoU of a seed, in percent, or why there is none."""
        score = self.scores().get(seed)
        return self.missing(seed) if score is None else score

    def cost(self, column: str, *, mode: str) -> int | None:
        """What one call of the network needs in a mode, from the first row that says it."""
        costs = (row[column] for row in self.rows if row["mode"] == mode)
        return next((cost for cost in costs if cost is not None), None)


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
        seeds = {row["axes"][SEED] for arm in self.arms for row in arm.rows if SEED in row["axes"]}
        return tuple(sorted(seeds.union(*(arm.runs for arm in self.arms)), key=_seed_order))

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

    def title(self, what: str) -> str:
        """Say what a table or figure of this study shows."""
        return ", ".join(filter(None, (what, self.name)))

    def file_name(self, *before: str, after: str = "") -> str:
        """Name for a file about this study, made of letters, digits and hyphens."""
        return slug(*before, self.name, str(self.number) if self.number > 1 else "", after)

    def arm(self, key: ArmKey) -> Arm | None:
        """Find an arm by the values of its axes."""
        return next((arm for arm in self.arms if arm.key == key), None)


def _seed_order(seed: object) -> tuple[bool, float, str]:
    number = float(seed) if isinstance(seed, int | float) else None
    return (number is None, number or 0.0, str(seed))


def trained_experiments(frame: Frame) -> tuple[str, ...]:
    """Experiments that were trained or asked to be: Tables 6 and 7, and whatever else has accuracies by seed."""
    ours = frame[frame["protocol"] != "published"]
    by_seed = ours["axes"].map(lambda axes: SEED in axes).astype(bool)
    trained = ours.loc[ours["accuracy"].notna() & by_seed, "experiment"]
    known = [name for name in PAPER_TABLES if name in set(ours["experiment"])]
    return tuple(dict.fromkeys((*known, *trained)))


def training_studies(frame: Frame) -> tuple[TrainingStudy, ...]:
    """Every study, by experiment and setting, with a row for each arm that was asked or printed."""
    studies = [study for name in trained_experiments(frame) for study in _studies_of(frame, name)]
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for study in studies:
        settings = alike.setdefault(slug(study.name), [])
        if study.setting not in settings:
            settings.append(study.setting)
    return tuple(
        replace(study, number=1 + alike[slug(study.name)].index(study.setting)) for study in studies
    )


def _studies_of(frame: Frame, experiment: str) -> Iterator[TrainingStudy]:
    rows = rows_of_experiment(frame, experiment)
    ours = [row for row in rows if row["protocol"] != "published"]
    names = dict.fromkeys(name for row in ours for name in row["axes"])
    axes: Sequence[str] = [name for name in names if name not in (SEED, *SHARED_AXES)]
    if experiment in PAPER_TABLES:
        axes = PAPER_TABLES[experiment].axes
    printed = [row for row in rows if row["document"] is not None]
    printed.sort(key=lambda row: row["published_place"])
    document = printed[0]["document"] if printed else None
    # Settings of the trainings; where nothing was trained, of the predictions.
    settings: list[dict[str, Any]] = []
    for row in [row for row in ours if _is_training(row)] or ours:
        setting = _setting(row, axes)
        if setting not in settings:
            settings.append(setting)
    for setting in settings:
        here = [row for row in ours if _belongs(row, axes, setting)]
        yield TrainingStudy(
            experiment, setting, tuple(_arms_of_rows(here, printed, axes)), document
        )


def _setting(row: Row, axes: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row["axes"].items() if name not in (SEED, *axes)}


def _is_training(row: Row) -> bool:
    return SEED in row["axes"] or row["accuracy"] is not None


def _belongs(row: Row, axes: Sequence[str], setting: Mapping[str, Any]) -> bool:
    """Whether a row is of a setting, or is a prediction that every setting shares which has its axes."""
    named = _setting(row, axes)
    return named == setting or (not _is_training(row) and named.items() <= setting.items())


def _arms_of_rows(
    rows: Sequence[Row], printed: Sequence[Row], axes: Sequence[str]
) -> Iterator[Arm]:
    def by_key(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row["axes"].get(name, "") for name in axes), []).append(row)
        return groups

    documents, ours = by_key(printed), by_key(rows)
    for key in documents | ours:
        document: Row = documents[key][0] if key in documents else {}
        yield Arm(
            dict(zip(axes, key, strict=True)),
            tuple(ours.get(key, ())),
            document.get("published_miou_percent"),
            document.get("published_anchors"),
        )
