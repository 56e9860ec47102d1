"""What stands under a table of trainings: on which data, how, how long, with which seeds and where they were made."""

from collections.abc import Iterator

from reports.model import describe_machine
from reports.training.runs import TrainingStudy


def training_conditions(study: TrainingStudy) -> str:
    """A caption: data, backbone, iterations, seeds and machines."""
    runs = study.runs
    if not runs:
        return "Nothing was trained; predicted without execution." if study.arms else ""
    scores = [row["accuracy"] for row in runs]
    iterations = _range_of(score.iterations for score in scores)
    images = _range_of(score.train_images for score in scores)
    machines = (describe_machine(row["environment"]) for row in runs if row["environment"])
    protocols = (
        _joined_words(f"'{score.protocol}'" for score in scores if score.protocol) or "unnamed"
    )
    parts = (
        _joined_words(f"{score.dataset}, {score.split} set" for score in scores),
        _joined_words(f"backbone {score.backbone}" for score in scores if score.backbone),
        f"{iterations} iterations on {images} training images",
        f"seeds {', '.join(map(str, study.seeds))}",
        f"protocol {protocols} on images of {_joined_words(row['size'] for row in runs)}",
        _joined_words(f"trained on {machine}" for machine in machines),
    )
    return f"{'; '.join(filter(None, parts))}."


def _joined_words(words: Iterator[str]) -> str:
    return " and ".join(dict.fromkeys(word for word in words if word))


def _range_of(numbers: Iterator[int]) -> str:
    ordered = sorted(numbers)
    low, high = ordered[0], ordered[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def empty_crop_notes(study: TrainingStudy) -> Iterator[str]:
    """Say what the trainings passed over."""
    empty = sum(row["accuracy"].empty_crops for row in study.runs)
    if empty:
        yield f"{empty:,} crops had no labelled pixel and added nothing to the loss."
