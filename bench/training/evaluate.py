"""Evaluation: a network, a set and a protocol in; one confusion matrix of the whole set out.

Axes: n images, k classes, height and width of the images.
"""

import math
from collections.abc import Callable
from itertools import product, zip_longest

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from ann.layers import resize
from ann.network import Logits, SegmentationNetwork
from ann.spec import Preprocessing, Size, look_up
from bench.analysis import IGNORE
from bench.records import ImageConfusions, ImageEntries
from bench.training.data import EvaluationSet, normalise
from bench.training.distributed import place
from bench.training.protocols import PROTOCOLS, EvaluationProtocol
from bench.training.resizing import resize_as_opencv

Images = UInt8[Tensor, "n 3 height width"]
Label = UInt8[Tensor, "height width"]


class ConfusionMatrix:
    """Counts of pixels, int64 [classes, classes]: row for the true class, column for the predicted one."""

    def __init__(self, classes: int, *, device: str | torch.device = "cpu") -> None:
        if classes < 1:
            msg = f"classes={classes} is not a number of classes; pass 1 or more"
            raise ValueError(msg)
        self.classes = classes
        self.counts = torch.zeros(classes, classes, dtype=torch.int64, device=device)
        self.images: list[ImageEntries] = []

    def update(self, prediction: Int[Tensor, "..."], label: Int[Tensor, "..."]) -> None:
        """Add the pixels of an image, or of several that count as one; those labelled 255 are left out."""
        if prediction.shape != label.shape:
            msg = (
                f"prediction {tuple(prediction.shape)} and label {tuple(label.shape)} differ in size; "
                "predict at the size of the label"
            )
            raise ValueError(msg)
        label = label.to(prediction.device)
        valid = label != IGNORE
        truth, predicted = label[valid].long(), prediction[valid].long()
        for what, values in (("label", truth), ("prediction", predicted)):
            low, high = (int(value) for value in values.aminmax()) if len(values) else (0, 0)
            if low < 0 or high >= self.classes:
                msg = (
                    f"{what} {low if low < 0 else high} is no class; allowed are 0 to {self.classes - 1}, "
                    f"and {IGNORE} in labels for pixels that don't count"
                )
                raise ValueError(msg)
        pairs = torch.bincount(truth * self.classes + predicted, minlength=self.classes**2)
        self.counts += pairs.view(self.classes, self.classes).to(self.counts.device)
        present = pairs.nonzero()[:, 0]
        self.images.append(
            ImageEntries(present.numpy(force=True), pairs[present].numpy(force=True))
        )

    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Return the counts as a record keeps them."""
        return tuple(tuple(row) for row in self.counts.tolist())

    def packed_images(self) -> str:
        """Return the counts of each image by itself as a record keeps them."""
        return ImageConfusions.of(self.images, self.classes).pack()


@torch.no_grad()
def evaluate(
    network: SegmentationNetwork,
    dataset: EvaluationSet,
    *,
    protocol: str | EvaluationProtocol = "whole",
    device: str | torch.device = "cpu",
) -> ConfusionMatrix:
    """Predict every image of a set and count the pixels.

    Images are normalised as the network's `spec` says; its mode is put back. Under torchrun each process takes its
    share of the images and all return the matrix of the whole set, with the images in their order. ValueErrors are an
    unknown protocol, an image that can't be read, a label out of range, and logits that are not finite.
    """
    chosen = look_up("protocol", protocol, PROTOCOLS) if isinstance(protocol, str) else protocol

    def predict(index: int) -> tuple[Logits, Label]:
        image, label = dataset[index]
        return predict_scores(network, image.to(device)[None], chosen), label

    was_training = network.training
    network.eval().to(device)
    matrix = count_pixels(predict, dataset, device=device)
    network.train(was_training)
    return matrix


@torch.no_grad()
def count_pixels(
    predict: Callable[[int], tuple[Logits, Label]],
    dataset: EvaluationSet,
    *,
    device: str | torch.device,
) -> ConfusionMatrix:
    """Count the pixels of a set; `predict` gives logits [1, k, h, w] and label [h, w] of an image of that index.

    Under torchrun as in `evaluate`; a label out of range and logits that are not finite are ValueErrors.
    """
    matrix = ConfusionMatrix(len(dataset.classes), device=device)
    rank, world = place()
    for index in range(rank, len(dataset), world):
        logits, label = predict(index)
        low, high = logits.aminmax()  # nan where one is
        if not math.isfinite(low) or not math.isfinite(high):
            msg = (
                f"{dataset.name}, image {index}: the network's logits are not finite; it has diverged in "
                "training, or its weights are those of another network"
            )
            raise ValueError(msg)
        # On a CPU max is five times as fast as argmax along any dimension but the last.
        matrix.update(logits[0].max(dim=0).indices, label)
    if world > 1:
        torch.distributed.all_reduce(matrix.counts)
        # Each process has every world-th image, so that the k-th ones of all stand together.
        shares: list[list[ImageEntries]] = [[]] * world
        torch.distributed.all_gather_object(shares, matrix.images)
        rounds = zip_longest(*shares)
        matrix.images = [image for together in rounds for image in together if image is not None]
    return matrix


def predict_scores(
    network: SegmentationNetwork, images: Images, protocol: EvaluationProtocol
) -> Logits:
    """Score the classes of every pixel of images by a protocol, with a network in eval mode.

    At the size of the images: mean logits over windows, scales and flips, or mean probabilities over scales and flips.
    """
    size = Size(height=images.shape[2], width=images.shape[3])
    total: Tensor | None = None
    flips = (False, True) if protocol.flip and not protocol.by_window else (False,)
    views = tuple(product(protocol.scales, flips))
    for scale, mirrored in views:
        scaled = _view(images, protocol, scale, preprocessing=network.spec.preprocessing)
        logits = _predict_windows(network, scaled.flip(3) if mirrored else scaled, protocol)
        logits = logits.flip(3) if mirrored else logits
        if logits.shape[2:] != images.shape[2:]:
            aligned = protocol.resize == "bilinear" and network.spec.align_corners
            logits = functional.interpolate(
                logits,
                (size.height, size.width),
                mode=protocol.resize,
                align_corners=aligned and not protocol.by_window,
            )
        probable = protocol.average == "probabilities" and not protocol.by_window
        scores = logits.softmax(dim=1) if probable else logits
        total = scores if total is None else total + scores
    assert total is not None
    return total / len(views)


def _view(
    images: Images, protocol: EvaluationProtocol, scale: float, *, preprocessing: Preprocessing
) -> Float[Tensor, "n 3 h w"]:
    """Bring images to one of the scales of a protocol, normalised."""
    size = Size(height=images.shape[2], width=images.shape[3])
    target = protocol.target(size, scale)
    first = protocol.target(size, 1.0) if protocol.scales_keep_corners else target
    if protocol.pixels == "opencv" and first != size:
        images = resize_as_opencv(images, first)
    view = normalise(images, preprocessing)
    if view.shape[2:] == (target.height, target.width):
        return view
    return resize(
        view,
        torch.Size((target.height, target.width)),
        align_corners=protocol.scales_keep_corners,
    )


def _predict_windows(
    network: SegmentationNetwork, images: Float[Tensor, "n 3 h w"], protocol: EvaluationProtocol
) -> Logits:
    """Predict in the protocol's windows and average where they overlap."""
    height, width = images.shape[2:]
    padding = protocol.padding(Size(height=height, width=width))
    left, _, top, _ = padding
    padded = functional.pad(images, padding)
    size = Size(height=padded.shape[2], width=padded.shape[3])
    windows = protocol.windows(size)
    if len(windows) == 1:
        scores = _predict_window(network, padded, protocol)
    else:
        total: Tensor | None = None
        count = images.new_zeros(1, 1, size.height, size.width)
        for rows, columns in windows:
            part = (..., slice(*rows), slice(*columns))
            found = _predict_window(network, padded[part], protocol)
            if total is None:
                total = found.new_zeros(*found.shape[:2], size.height, size.width)
            total[part] += found
            count[part] += 1
        assert total is not None
        scores = total / count
    return scores[..., top : top + height, left : left + width]


def _predict_window(
    network: SegmentationNetwork, images: Float[Tensor, "n 3 h w"], protocol: EvaluationProtocol
) -> Logits:
    if not protocol.by_window:
        return network(images)
    views = (images, images.flip(3)) if protocol.flip else (images,)
    scores = [network(view).softmax(dim=1) for view in views]
    return scores[0] if len(views) == 1 else (scores[0] + scores[1].flip(3)) / 2
