"""What stands under a table of trainings: on which data, how, how long, with which seeds and where they were made."""

from collections.abc import Iterator

from reports.model import Row, describe_machine
from reports.training.runs import TrainingStudy


def training_conditions(study: TrainingStudy) -> str:
    """A caption: data, backbone, iterations, seeds and machines."""
    runs = study.runs
    if not runs:
        return "Nothing was trained; predicted without execution." if study.arms else ""
    found = [row["accuracy"] for row in runs]
    length = f"{_span(a.iterations for a in found)} iterations"
    images = f"{_span(a.train_images for a in found)} training images"
    judged = _listed(f"'{a.protocol}'" for a in found if a.protocol) or "unnamed"
    parts = (
        _listed(f"{a.dataset}, {a.split} set" for a in found),
        _listed(f"backbone {a.backbone}" for a in found if a.backbone),
        f"{length} on {images}",
        f"seeds {', '.join(map(str, study.seeds))}",
        f"protocol {judged} on images of {_listed(r['size'] for r in runs)}",
        _listed(_machine(row) for row in runs),
    )
    return f"{'; '.join(filter(None, parts))}."


def _machine(row: Row) -> str:
    environment = row["environment"]
    return f"trained on {describe_machine(environment)}" if environment else ""


def _listed(words: Iterator[str]) -> str:
    return " and ".join(dict.fromkeys(word for word in words if word))


def _span(numbers: Iterator[int]) -> str:
    found = sorted(set(numbers))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def empty_crop_notes(study: TrainingStudy) -> Iterator[str]:
    """Say what the trainings passed over."""
    empty = sum(row["accuracy"].empty_crops for row in study.runs)
    if empty:
        yield f"{empty:,} crops had no labelled pixel and added nothing to the loss."
