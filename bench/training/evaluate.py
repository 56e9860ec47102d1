"""Evaluation: a network, a set and a protocol in; one confusion matrix out.

Axes: n images, k classes, height and width of the images.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Protocol as Interface

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Subset

from ann.layers import resize
from ann.network import SegmentationNetwork
from ann.spec import Size
from bench.training.confusion import ConfusionMatrix
from bench.training.data import Labelled, normalise
from bench.training.distributed import place
from bench.training.protocols import PROTOCOLS, Protocol

Images = Float[Tensor, "n 3 height width"]
Logits = Float[Tensor, "n k height width"]


class Judged(Labelled, Interface):
    """A set with labels: images uint8 [3, height, width] and labels uint8 [height, width]."""

    name: str
    classes: tuple[str, ...]


def find_protocol(name: str) -> Protocol:
    """Look up a protocol.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in PROTOCOLS:
        msg = f"unknown protocol {name!r}; allowed are {', '.join(PROTOCOLS)}"
        raise ValueError(msg)
    return PROTOCOLS[name]


@torch.no_grad()
def evaluate(
    network: SegmentationNetwork,
    dataset: Judged,
    *,
    protocol: str | Protocol = "whole",
    device: str | torch.device = "cpu",
    workers: int = 0,
    on_image: Callable[[int], None] | None = None,
) -> ConfusionMatrix:
    """Predict every image of a set and count the pixels.

    Under torchrun each process takes its share of the images and all return the matrix of the whole set.

    Args:
        network: made by `ann.build.network`; its `spec` says how images are normalised. It is put in
            eval mode and left in the mode in which it came.
        dataset: images as bytes [3, height, width] and labels [height, width].
        protocol: a key of `PROTOCOLS`, or one of your own.
        device: where to predict.
        workers: processes that read images; 0 to read them here.
        on_image: called with the number of images done by this process.

    Raises:
        ValueError: the protocol is unknown, an image can't be read, a label is out of range, or the
            network's logits are not finite.
    """
    chosen = find_protocol(protocol) if isinstance(protocol, str) else protocol
    matrix = ConfusionMatrix(len(dataset.classes), device=device)
    here = place()
    mine = range(here.rank, len(dataset), here.world)
    was_training = network.training
    network.eval().to(device)
    for done, (index, (image, label)) in enumerate(_read(dataset, mine, workers), start=1):
        batch = normalise(image.to(device), network.spec.preprocessing)[None]
        logits = predict_scores(network, batch, chosen)
        if not bool(torch.isfinite(logits).all()):
            msg = (
                f"{dataset.name}, image {index}: the network's logits are not finite; it has diverged in "
                "training, or its weights are those of another network"
            )
            raise ValueError(msg)
        matrix.update(logits[0].argmax(dim=0), label)
        if on_image is not None:
            on_image(done)
    network.train(was_training)
    matrix.reduce()
    return matrix


def _read(
    dataset: Judged, indexes: range, workers: int
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        Subset(dataset, indexes),  # type: ignore[arg-type]  # torch has no protocol for its sets
        batch_size=None,
        num_workers=workers,
        # Without one of its own a loader draws from the global generator.
        generator=torch.Generator(),
    )
    return zip(indexes, loader, strict=True)


def predict_scores(network: SegmentationNetwork, images: Images, protocol: Protocol) -> Logits:
    """Score the classes of every pixel by a protocol.

    Args:
        network: in eval mode, with its `spec`.
        images: normalised, all of one size.
        protocol: how.

    Returns:
        At the size of the images: mean logits over windows, scales and flips, or mean probabilities
        over scales and flips.
    """
    size = Size(height=images.shape[2], width=images.shape[3])
    total: Tensor | None = None
    views = tuple(product(protocol.scales, (False, True) if protocol.flip else (False,)))
    for scale, mirrored in views:
        scaled = _bring(images, protocol.target(size, scale))
        logits = _cover(network, scaled.flip(3) if mirrored else scaled, protocol)
        logits = logits.flip(3) if mirrored else logits
        logits = _bring_back(network, logits, size, protocol)
        scores = logits.softmax(dim=1) if protocol.average == "probabilities" else logits
        total = scores if total is None else total + scores
    assert total is not None
    return total / len(views)


def _bring(images: Images, target: Size) -> Images:
    if images.shape[2:] == (target.height, target.width):
        return images
    return functional.interpolate(
        images, (target.height, target.width), mode="bilinear", align_corners=False
    )


def _bring_back(
    network: SegmentationNetwork, logits: Logits, size: Size, protocol: Protocol
) -> Logits:
    target = (size.height, size.width)
    if logits.shape[2:] == target:
        return logits
    if protocol.resize == "bicubic":
        return functional.interpolate(logits, target, mode="bicubic", align_corners=False)
    return resize(logits, torch.Size(target), align_corners=network.spec.align_corners)


def _cover(network: SegmentationNetwork, images: Images, protocol: Protocol) -> Logits:
    """Predict in the protocol's windows and average where they overlap."""
    height, width = images.shape[2:]
    beyond = (-width % protocol.multiple, -height % protocol.multiple)
    padded = functional.pad(images, (0, beyond[0], 0, beyond[1]))
    size = Size(height=padded.shape[2], width=padded.shape[3])
    windows = protocol.windows(size)
    if len(windows) == 1:
        return network(padded)[..., :height, :width]
    total: Tensor | None = None
    count = images.new_zeros(1, 1, size.height, size.width)
    for (top, bottom), (left, right) in windows:
        logits = network(padded[..., top:bottom, left:right])
        if total is None:
            total = logits.new_zeros(*logits.shape[:2], size.height, size.width)
        total[..., top:bottom, left:right] += logits
        count[..., top:bottom, left:right] += 1
    assert total is not None
    return (total / count)[..., :height, :width]
