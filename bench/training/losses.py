"""Losses on logits at the size of the images: cross entropy, of hard pixels alone (OHEM), and auxiliary.

What the mean divides by differs between sources and changes the scale of the loss, so that each form
has a name. A batch without one labelled pixel has a loss of zero and gradients of zero, never nan.

Axes: n images, k classes, height and width of the images.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn import functional

from ann.network import Logits
from bench.analysis import IGNORE
from bench.training.resizing import resize_by_products
from experiments.recipes import Divisor, Recipe

Labels = Integer[Tensor, "n height width"]
Pixels = Float[Tensor, "n height width"]
Loss = Callable[..., Tensor]


def cross_entropy(
    logits: Logits,
    labels: Labels,
    *,
    weights: Float[Tensor, "k"] | None = None,
    divisor: Divisor = "kept",
    threshold: float | None = None,
    min_kept: int = 0,
) -> Tensor:
    """Mean of the pixels' cross entropies, pixels labelled 255 left out; with a threshold of the hard ones alone.

    Args:
        logits: of every class.
        labels: true classes, or 255.
        weights: of the classes, in the loss but not in the choice of pixels; None for equal ones.
        divisor: `kept` divides by the labelled pixels (with weights by the sum of theirs), as torch, the official code
            and mmseg's avg_non_ignore=True do; with a threshold by the number of hard ones, whatever their weights (the
            official FSOhemCELoss). `all` divides by all pixels, ignored ones too, as mmseg does by default, its
            OHEMPixelSampler included, which makes the loss smaller the fewer are hard.
        threshold: OHEM: probability of the true class below which a pixel is hard; None for all.
        min_kept: pixels of the batch that are kept in any case; the official code means one loss
            call by it, which has one image, mmseg multiplies by the images.
    """
    losses = functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    valid = labels != IGNORE
    shares = valid.to(losses.dtype)
    if weights is not None:
        shares = weights.to(losses.dtype)[labels.where(valid, 0)] * valid
    count = shares.sum()
    if threshold is not None:
        hard = hard_pixels(losses.detach(), labels, threshold=threshold, min_kept=min_kept)
        shares, count = shares * hard, hard.sum()
    total = (losses * shares).sum()
    if divisor == "all":
        return total / max(labels.numel(), 1)
    return total / count.where(count > 0, 1)


def hard_pixels(
    losses: Pixels, labels: Labels, *, threshold: float, min_kept: int
) -> Bool[Tensor, "n height width"]:
    """Mark the pixels whose probability is below both the threshold and, if that leaves too few, the next one's.

    As in the sources the comparison is strict, and where fewer than `min_kept` pixels are labelled
    the easiest one is left out unless it is below the threshold.
    """
    valid = labels != IGNORE
    probabilities = losses.neg().exp()
    labelled = probabilities[valid]
    # A selection of one rank where a sort would take ten times as long, and none if enough are hard.
    if labelled.numel() and int((labelled < threshold).sum()) <= min_kept:
        rank = min(min_kept, labelled.numel() - 1) + 1
        threshold = max(threshold, float(labelled.kthvalue(rank).values))
    return valid & (probabilities < threshold)


def make_loss(
    recipe: Recipe, *, align_corners: bool = False, device: str | torch.device = "cpu"
) -> Loss:
    """Make the loss of a recipe on a network's pair of logits, of which the auxiliary ones may be None.

    Logits smaller than the labels are enlarged, with or without the corners aligned. With the recipe's `loss_stride`
    the loss is on every so many rows and columns, from the first ones that `start` says. The hard pixels are chosen for
    the main loss alone, class weights are in both; of pixels kept in any case a stride takes its share.
    """
    weights = torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None
    mean = partial(cross_entropy, weights=weights, divisor=recipe.divisor)

    step = recipe.loss_stride

    def placed(logits: Logits, size: torch.Size, start: tuple[int, int]) -> Logits:
        if logits.shape[2:] != size:
            return resize_by_products(
                logits, size, align_corners=align_corners, start=start, step=step
            )
        return logits[:, :, start[0] :: step, start[1] :: step]

    def loss(
        outputs: tuple[Logits, Logits | None], labels: Labels, start: tuple[int, int] = (0, 0)
    ) -> Tensor:
        size = labels.shape[1:]
        logits, auxiliary = (
            each if each is None else placed(each, size, start) for each in outputs
        )
        labels = labels[:, start[0] :: step, start[1] :: step].long()
        assert logits is not None, "the auxiliary logits alone may be missing"
        if weights is not None and len(weights) != logits.shape[1]:
            msg = (
                f"recipe {recipe.name!r} has {len(weights)} class weights and the network "
                f"{logits.shape[1]} classes; pass as many, or class_weights=() for none"
            )
            raise ValueError(msg)
        least = recipe.ohem_min_kept * len(labels) // step**2
        total = mean(logits, labels, threshold=recipe.ohem_threshold, min_kept=least)
        if auxiliary is None:
            return total
        return total + recipe.auxiliary_weight * mean(auxiliary, labels)

    return loss
