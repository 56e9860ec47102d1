"""One cell of a training ablation: the set opened, the network trained and judged, pictures left."""

from collections.abc import Iterable, Sized
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ann import build
from ann.network import SegmentationNetwork
from bench.records import Accuracy
from bench.run import code_digest
from bench.training.data import CLASSES, NEEDS_CUE, Augmented, Held, Scenes, normalise, open_dataset
from bench.training.distributed import place
from bench.training.evaluate import Judged, evaluate, find_protocol, predict_scores
from bench.training.loop import train
from experiments.spec import Job, Training, TrainingJob

# Images whose predictions are kept for the qualitative figure.
PICTURES = 4


class Drawn(Judged, Protocol):
    """A set with labels and the colours of its classes."""

    palette: tuple[tuple[int, int, int], ...]


def open_split(training: Training, split: str) -> Drawn:
    """Open the training or validation images of a set.

    Raises:
        ValueError: the set is not where `root` says; the message draws what was expected.
    """
    if training.dataset == Scenes.name:
        return Scenes("train" if split == "train" else "val")
    return open_dataset(training.dataset, training.root, split)


def find_data(cells: Iterable[Job]) -> None:
    """Open every data set of some cells now, so that one that is not there is said before anything runs.

    Raises:
        ValueError: as `open_split`.
    """
    trainings = [cell.training for cell in cells if isinstance(cell, TrainingJob)]
    for training in {one.dataset: one for one in trainings}.values():
        for split in ("train", "val"):
            open_split(training, split)


def train_cell(cell: TrainingJob, device: str, folder: Path | None) -> Accuracy:
    """Train the cell's network and judge it on the validation images.

    Args:
        cell: the network, and how it is trained.
        device: `cpu` or `cuda`; under torchrun every process calls this.
        folder: of the records: checkpoints go to `checkpoints`, pictures to `pictures`. A training
            of this cell by this code that is found there goes on. None to keep nothing.

    Raises:
        ValueError: the set is not there, or the training diverged.
    """
    training, spec = cell.training, cell.subject
    torch.manual_seed(cell.seed)
    network = build.network(spec)
    assert isinstance(network, SegmentationNetwork), "build.network makes nothing else"
    images, judged = open_split(training, "train"), open_split(training, "val")
    trained = train(
        network,
        Augmented(
            Held(images), training.recipe, preprocessing=network.spec.preprocessing, seed=cell.seed
        ),
        training.recipe,
        iterations=training.iterations,
        seed=cell.seed,
        device=device,
        folder=folder / "checkpoints" / f"{cell.id}-{code_digest(spec)}" if folder else None,
    )
    matrix = evaluate(network, judged, protocol=training.evaluation, device=device)
    if folder is not None and place().rank == 0:
        path = folder / "pictures" / f"{cell.id}.npz"
        keep_pictures(path, network, judged, protocol=training.evaluation, device=device)
    return Accuracy(
        dataset=training.dataset,
        split="val",
        classes=judged.classes,
        confusion=matrix.rows(),
        iterations=training.iterations,
        train_images=_length(images),
        losses=tuple(trained.losses),
        images_per_s=tuple(trained.images_per_s),
        step_time_s=tuple(trained.step_time_s),
        protocol=training.evaluation,
        backbone=spec.backbone,
        groups=groups(training.dataset),
        empty_crops=trained.empty_crops,
    )


def _length(images: Sized) -> int:
    return len(images)


def groups(dataset: str) -> dict[str, tuple[int, ...]]:
    """Classes that a set tells apart: of the scenes, those that need a cue from far away."""
    if dataset != Scenes.name:
        return {}
    far = tuple(CLASSES.index(name) for name in NEEDS_CUE)
    near = tuple(index for index in range(len(CLASSES)) if index not in far)
    return {"with a far cue": far, "without": near}


@torch.no_grad()
def keep_pictures(
    path: Path, network: SegmentationNetwork, judged: Drawn, *, protocol: str, device: str
) -> None:
    """Write a few validation images with truth and prediction, for the qualitative figure."""
    count = min(PICTURES, len(judged))
    # Spread over the set, so that a set ordered by scene shows more than one.
    picked = [judged[index * len(judged) // count] for index in range(count)]
    size = picked[0][1].shape
    same = [(image, label) for image, label in picked if label.shape == size]
    network.eval()
    chosen = find_protocol(protocol)

    def say(image: Tensor) -> Tensor:
        batch = normalise(image.to(device), network.spec.preprocessing)[None]
        return predict_scores(network, batch, chosen)[0].argmax(dim=0).to("cpu", torch.uint8)

    _write(
        path,
        images=np.stack([image.numpy() for image, _ in same]),
        labels=np.stack([label.numpy() for _, label in same]),
        predictions=np.stack([say(image).numpy() for image, _ in same]),
        palette=np.array(judged.palette, dtype=np.uint8),
    )


def _write(path: Path, **arrays: NDArray[np.uint8]) -> None:
    """Write a file of arrays whole or not at all; the error says which file it was."""
    unfinished = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        msg = (
            f"{path}: the pictures could not be written ({error.strerror}); make room or choose another "
            "folder and call again, the finished training is kept"
        )
        raise OSError(error.errno, msg) from error
