"""A training, or a published checkpoint, to the accuracy on the validation images."""

import io
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ann import build, checkpoints
from ann.backbones import BACKBONES
from ann.backbones.pretrained import find_weights
from ann.network import SegmentationNetwork
from ann.spec import NetworkSpec, Size, look_up
from bench.records import Accuracy, write_whole
from bench.training import data as sets
from bench.training.data import Drawn, EvaluationSet, MirroredMaps
from bench.training.distributed import place
from bench.training.evaluate import ConfusionMatrix, evaluate, predict_scores
from bench.training.frozen import FrozenHead, check_frozen, evaluate_frozen, training_maps
from bench.training.loop import train
from bench.training.optim import precision_of
from bench.training.pairing import share_start
from bench.training.protocols import PROTOCOLS, EvaluationProtocol
from experiments.spec import Evaluation, Job, TrainingJob
from experiments.training import DATASETS, Setting, usual_evaluation

# Images whose predictions are kept for the qualitative figure.
PICTURES = 4


def find_data(cells: Iterable[Job]) -> None:
    """Open every data set of some cells now, and find the weights of their backbones.

    What is not there, or can't be trained so, is a ValueError before anything runs.
    """
    jobs = [cell for cell in cells if isinstance(cell, TrainingJob)]
    for dataset, training in {job.training.dataset: job.training for job in jobs}.items():
        for split in ("train", "val"):
            files = sets.open_dataset(dataset, training.root, split, palette=training.palette)
            if isinstance(files, sets.LabelledImages):
                files[0]  # says now what is wrong with labels, or odd about them
    for name, source in {(job.subject.backbone, job.training.pretrained) for job in jobs}:
        if source is not None:
            backbone = look_up("backbone", name, BACKBONES)
            find_weights(backbone.model, source, package=backbone.package)
    for job in jobs:
        if job.training.features == "frozen":
            check_frozen(job.training.recipe, job.training.evaluation)


def train_cell(
    cell: TrainingJob, device: str, folder: Path | None, *, code: str | None
) -> Accuracy:
    """Train the cell's network and evaluate it on the validation images; under torchrun every process calls this.

    Checkpoints go to `checkpoints` and pictures to `pictures` in the folder of the records, None to keep nothing. A
    training of this cell by the code of that digest that is found there goes on. A missing set is a ValueError, and so
    is a training that diverged.
    """
    training = cell.training
    torch.manual_seed(cell.seed)
    network = build.network(cell.subject, pretrained=training.pretrained)
    share_start(network, cell.seed)
    images = _cached_images(training.dataset, training.root, palette=training.palette)
    validation = sets.open_dataset(training.dataset, training.root, "val", palette=training.palette)
    with ExitStack() as stack:
        temporary = folder is None and training.features == "frozen"
        kept = Path(stack.enter_context(TemporaryDirectory())) if temporary else folder
        model, views, count = _parts(cell, network, images, folder=kept, device=device)
        trained = train(
            model,
            views,
            training.recipe,
            iterations=training.iterations,
            seed=cell.seed,
            device=device,
            folder=folder / "checkpoints" / f"{cell.id}-{code}{_key_of(views)}" if folder else None,
        )
        matrix = count(validation)
    accuracy = _accuracy(
        network,
        validation,
        matrix,
        protocol=training.evaluation,
        iterations=training.iterations,
        train_images=len(images),
        features=training.features,
        pretrained=training.pretrained,
        precision=precision_of(training.recipe, torch.device(device)),
        **asdict(trained),
    )
    if folder is not None and place().rank == 0:
        network.to(device)
        path = folder / "pictures" / f"{cell.id}.npz"
        save_pictures(path, network, validation, protocol=training.evaluation, device=device)
    return accuracy


def _key_of(views: Drawn) -> str:
    """What tells a head's checkpoint from one on other maps."""
    return f"-{views.maps.key}" if isinstance(views, MirroredMaps) else ""


def _parts(
    cell: TrainingJob,
    network: SegmentationNetwork,
    images: sets.SampleCache,
    *,
    folder: Path | None,
    device: str,
) -> tuple[nn.Module, Drawn, Callable[[EvaluationSet], ConfusionMatrix]]:
    """What is trained, on which views, and how it is evaluated: a network, or its head on maps kept in a folder."""
    training, recipe = cell.training, cell.training.recipe
    protocol = training.evaluation
    if training.features == "frozen":
        assert folder is not None, "maps are kept in a file"
        at = folder / "features"
        head = FrozenHead(network)
        views: Drawn = training_maps(network, images.dataset, recipe, seed=cell.seed, folder=at)
        return (
            head,
            views,
            partial(evaluate_frozen, head, network, protocol=protocol, folder=at, device=device),
        )
    views = sets.Augmented(images, recipe, preprocessing=network.spec.preprocessing, seed=cell.seed)
    return network, views, partial(evaluate, network, protocol=protocol, device=device)


@lru_cache(maxsize=1)
def _cached_images(dataset: str, root: str, *, palette: bool) -> sets.SampleCache:
    """Training images, which stay for the trainings that follow in this process."""
    return sets.SampleCache(sets.open_dataset(dataset, root, "train", palette=palette))


def evaluate_checkpoint(
    checkpoint: Path, network: str, setting: Setting, *, protocol: str | None, device: str
) -> tuple[Evaluation, Accuracy]:
    """Load a published checkpoint into a named network; return the cell for a record, and its validation accuracy.

    Whoever has the files can so check the tables of the model zoo. Of the setting the data set, its folder and the
    backbone count; a protocol of None is that of the network's source on the data set. ValueErrors are an unknown
    network or protocol, a checkpoint that does not fit, and a missing set.
    """
    data, source = DATASETS[setting.dataset], network.partition("/")[0]
    chosen = protocol or usual_evaluation(source, setting.dataset)
    how = look_up("protocol", chosen, PROTOCOLS)
    spec = build.network_spec(network, num_classes=data.num_classes, backbone=setting.backbone)
    spec = _as_evaluated(spec, source, how)
    validation = sets.open_dataset(setting.dataset, setting.root, "val", palette=setting.palette)
    model = build.network(spec)
    loaded = checkpoints.load(model, checkpoint)
    matrix = evaluate(model, validation, protocol=how, device=device)
    accuracy = _accuracy(
        model,
        validation,
        matrix,
        protocol=chosen,
        iterations=0,
        train_images=0,
        notes=loaded.notes,
    )
    axes = {
        "network": network,
        "dataset": setting.dataset,
        "evaluation": chosen,
        "checkpoint": checkpoint.name,
    }
    if spec.backbone != build.network_spec(network).backbone:
        axes["backbone"] = spec.backbone
    cell = Evaluation(
        experiment="evaluation",
        axes=axes,
        subject=spec,
        size=data.size,
        checkpoint=checkpoint,
        evaluation=chosen,
    )
    return cell, accuracy


def _as_evaluated(spec: NetworkSpec, source: str, protocol: EvaluationProtocol) -> NetworkSpec:
    """Fit a network to what its source changes with the protocol: corners, and the mask of PSANet by its window."""
    if protocol.align_corners is not None:
        spec = replace(spec, align_corners=protocol.align_corners)
    if source == "semseg" and protocol.window is not None:
        window = protocol.window
        # tool/train.py: twice the places of a crop at a sixteenth, less one
        height, width = (2 * ((side - 1) // 16 + 1) - 1 for side in (window.height, window.width))
        spec = replace(spec, mask=Size(height=height, width=width))
    return spec


def _accuracy(
    network: SegmentationNetwork,
    dataset: EvaluationSet,
    matrix: ConfusionMatrix,
    *,
    protocol: str,
    **training: Any,  # noqa: ANN401  # other fields of the accuracy
) -> Accuracy:
    return Accuracy(
        dataset=dataset.name,
        split="val",
        classes=dataset.classes,
        confusion=matrix.rows(),
        image_confusions=matrix.packed_images(),
        protocol=protocol,
        backbone=network.spec.backbone,
        groups=dataset.groups,
        **training,
    )


@torch.no_grad()
def save_pictures(
    path: Path, network: SegmentationNetwork, dataset: EvaluationSet, *, protocol: str, device: str
) -> None:
    """Write a few validation images with truth and prediction, for the qualitative figure."""
    count = min(PICTURES, len(dataset))
    # Spread over the set, so that a set ordered by scene shows more than one.
    pairs = [dataset[index * len(dataset) // count] for index in range(count)]
    pairs = [pair for pair in pairs if pair[1].shape == pairs[0][1].shape]
    network.eval()

    def predict(image: Tensor) -> Tensor:
        scores = predict_scores(network, image.to(device)[None], PROTOCOLS[protocol])
        return scores[0].argmax(dim=0).to("cpu", torch.uint8)

    content = io.BytesIO()
    np.savez_compressed(
        content,
        images=np.stack([image.numpy() for image, _ in pairs]),
        labels=np.stack([label.numpy() for _, label in pairs]),
        predictions=np.stack([predict(image).numpy() for image, _ in pairs]),
        palette=np.array(dataset.palette, dtype=np.uint8),
    )
    write_whole(
        path,
        content.getbuffer(),
        failure="the pictures could not be written ({}); make room or choose another folder and call "
        "again, the finished training is kept",
    )
