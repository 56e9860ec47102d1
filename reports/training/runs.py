"""Training records of the frame as studies: the rows of one table in one setting, each with all its seeds.

A setting is what the arms of a table share and the documents do not name: data and budget.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bench.analysis import mean_iou
from reports import model
from reports.model import UNMEASURED, Mark, Row, slug
from reports.training.claims import LENGTH, NETWORK, RATE, SCHEDULE, ArmKey

if TYPE_CHECKING:
    from bench.records import Accuracy, Document

SEED = "seed"
LISTED_SEEDS = 5


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
    def runs(self) -> dict[Any, Row]:
        """Finished trainings by seed, the latest of each."""
        done = [row for row in self.rows if row["accuracy"] is not None]
        done.sort(key=lambda row: row["created_at"] or "")
        latest = {row["axes"].get(SEED, ""): row for row in done}
        return {seed: latest[seed] for seed in sorted(latest, key=_seed_order)}

    def scores(self, group: str | None = None) -> dict[object, float]:
        """MIoU by seed, in percent, of all classes or of a named group of them."""
        accuracies = {seed: row["accuracy"] for seed, row in self.runs.items()}
        scores = {
            seed: mean_iou(accuracy.confusion, accuracy.groups[group] if group else None)
            for seed, accuracy in accuracies.items()
            if group is None or group in accuracy.groups
        }
        return {seed: score for seed, score in scores.items() if score is not None}

    @property
    def deviation(self) -> float | None:
        """Of the mIoU from seed to seed, None of fewer than two."""
        scores = list(self.scores().values())
        return statistics.stdev(scores) if len(scores) > 1 else None

    def missing(self, seed: object) -> Mark:
        """Why there is no score of a seed."""
        # What a run said comes before what a prediction could not.
        for row in sorted(self.rows, key=lambda row: row["device_name"] is None):
            if row["axes"].get(SEED, seed) == seed and row["failure"] is not None:
                return model.failure_mark(row["failure"], first=True)
        if seed in self.runs:
            return Mark("no class of this group is in the data or was predicted")
        return UNMEASURED

    def cost(self, column: str, *, mode: str) -> int | None:
        """What one call of the network needs in a mode, from the first row that says it whole."""
        rows = (row for row in self.rows if row["mode"] == mode and row[column] is not None)
        counted = column in ("macs", "flops")
        whole = (row for row in rows if not (counted and model.uncounted_work(row)))
        return next((row[column] for row in whole), None)


@dataclass(frozen=True, slots=True)
class TrainingStudy:
    """A table's arms in one setting, in the order of the paper."""

    experiment: str
    setting: Mapping[str, Any]
    arms: tuple[Arm, ...]
    document: "Document | None" = None  # where the paper prints them
    number: int = 1  # tells settings apart whose names make the same file name

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
        return ", ".join(
            f"{value} features" if name == "features" else str(value)
            for name, value in self.setting.items()
        )

    @property
    def conditions(self) -> str:
        """A caption: on which data, how, how long, with which seeds and where the networks were trained."""
        if not self.runs:
            return "Nothing was trained; predicted without execution." if self.arms else ""
        scores = [row["accuracy"] for row in self.runs]
        iterations = _range_of([score.iterations for score in scores])
        images = _range_of([score.train_images for score in scores])
        machines = [model.describe_machine(e) for row in self.runs if (e := row["environment"])]
        protocols = _joined_words(f"'{score.protocol}'" for score in scores if score.protocol)
        parts = (
            _joined_words(f"{score.dataset}, {score.split} set" for score in scores),
            _joined_words(_backbone(score) for score in scores if score.backbone),
            f"{iterations} iterations{_precision(scores)} on {images} training images",
            f"seeds {_listed(self.seeds)}",
            f"protocol {protocols or 'unnamed'} on images of {_joined_words(row['size'] for row in self.runs)}",
            _joined_words(f"trained on {machine}" for machine in machines),
        )
        return f"{'; '.join(filter(None, parts))}."

    def title(self, what: str) -> str:
        """Say what a table or figure of this study shows."""
        return ", ".join(filter(None, (what, self.name)))

    def file_name(self, *before: str, after: str = "") -> str:
        """Name for a file about this study, made of letters, digits and hyphens."""
        return slug(*before, self.name, str(self.number) if self.number > 1 else "", after)

    def score_pairs(self) -> Iterator[tuple[dict[object, float], dict[object, float]]]:
        """Every two arms that have scores."""
        return combinations(filter(None, (arm.scores() for arm in self.arms)), 2)

    def arm(self, key: ArmKey) -> Arm | None:
        """The arm of these values of its axes."""
        return next((arm for arm in self.arms if arm.key == key), None)


def is_schedule(study: TrainingStudy) -> bool:
    """Whether a study has networks by rate and length, both of them numbers."""

    def numbered(arm: Arm) -> bool:
        try:
            return all(float(arm.axes[name]) > 0 for name in (LENGTH, RATE))
        except (KeyError, TypeError, ValueError):
            return False

    arms = study.arms
    return study.experiment == SCHEDULE and all(NETWORK in a.axes and numbered(a) for a in arms)


def most_frequent(values: Iterable[object]) -> object:
    """The value that most have, the first of those that are as frequent; None of none."""
    values = list(values)
    return statistics.mode(values) if values else None


def _backbone(score: "Accuracy") -> str:
    """The backbone of a training, and whether it was trained too."""
    weights = f", pretrained ({score.pretrained})" if score.pretrained else ""
    frozen = " and FROZEN: heads alone were trained" if score.features == "frozen" else ""
    return f"backbone {score.backbone}{weights}{frozen}"


def _precision(scores: Sequence["Accuracy"]) -> str:
    """In which formats the networks were trained, where that is known and not float32 alone."""
    formats = _joined_words(score.precision for score in scores)
    return "" if formats in ("", "float32") else f" in {formats}"


def _listed(seeds: Sequence[Any]) -> str:
    """Name the seeds; a long row of successive ones by its ends."""
    if len(seeds) > LISTED_SEEDS and list(seeds) == list(range(len(seeds))):
        return f"0 to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _joined_words(words: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(filter(None, words)))


def _range_of(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _seed_order(seed: object) -> tuple[bool, float, str]:
    number = float(seed) if isinstance(seed, int | float) else None
    return (number is None, number or 0.0, str(seed))
