"""Losses on logits at the size of the images: cross entropy, of hard pixels alone (OHEM), and auxiliary.

What the mean divides by differs between sources and changes the scale of the loss, so that each form
has a name. A batch without one labelled pixel has a loss of zero and gradients of zero, never nan.

Axes: n images, k classes, height and width of the images.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from ann.network import Logits
from bench.analysis import IGNORE
from experiments.recipes import Divisor, Recipe

Labels = Int64[Tensor, "n height width"]
Pixels = Float[Tensor, "n height width"]
Loss = Callable[[tuple[Logits, Logits | None], Labels], Tensor]


def cross_entropy(
    logits: Logits,
    labels: Labels,
    *,
    weights: Float[Tensor, "k"] | None = None,
    divisor: Divisor = "kept",
) -> Tensor:
    """Mean of the pixels' cross entropies, pixels labelled 255 left out.

    Args:
        logits: of every class.
        labels: true classes, or 255.
        weights: of the classes; None for equal ones.
        divisor: `kept` divides by the labelled pixels (with weights by the sum of theirs), as torch,
            the official code and mmseg's avg_non_ignore=True do; `all` by all pixels, ignored ones
            too, as mmseg does unless told otherwise.
    """
    losses, shares = _pixel_losses(logits, labels, weights)
    total = (losses * shares).sum()
    return _divide(total, shares.sum() if divisor == "kept" else labels.numel())


def ohem_cross_entropy(
    logits: Logits,
    labels: Labels,
    *,
    threshold: float = 0.7,
    min_kept: int = 100_000,
    weights: Float[Tensor, "k"] | None = None,
    divisor: Divisor = "kept",
) -> Tensor:
    """Cross entropy of the hard pixels alone: those whose true class has a low probability.

    Kept are the pixels below the threshold, but at least so many of the lowest as `min_kept` says.

    Args:
        logits: of every class.
        labels: true classes, or 255.
        threshold: probability below which a pixel is hard.
        min_kept: pixels of the batch that are kept in any case; the official code means one loss call
            by it, which has one image, mmseg multiplies by the images.
        weights: of the classes, in the loss but not in the choice; None for equal ones.
        divisor: `kept` divides by the number of kept pixels, whatever their weights (the official
            FSOhemCELoss); `all` by all pixels, ignored ones too (mmseg's OHEMPixelSampler with its
            cross entropy), which makes the loss smaller the fewer are hard.
    """
    losses, shares = _pixel_losses(logits, labels, weights)
    hard = hard_pixels(losses.detach(), labels, threshold=threshold, min_kept=min_kept)
    total = (losses * shares * hard).sum()
    return _divide(total, hard.sum() if divisor == "kept" else labels.numel())


def hard_pixels(
    losses: Pixels, labels: Labels, *, threshold: float, min_kept: int
) -> Bool[Tensor, "n height width"]:
    """Mark the pixels whose probability is below both the threshold and, if that leaves too few, the next one's.

    As in the sources the comparison is strict, and where fewer than `min_kept` pixels are labelled
    the easiest one is left out unless it is below the threshold.

    Args:
        losses: unweighted cross entropies.
        labels: true classes, or 255.
        threshold: of the probability.
        min_kept: how many of the lowest are kept in any case.
    """
    valid = labels != IGNORE
    probabilities = losses.neg().exp()
    labelled = probabilities[valid]
    # A selection of one rank where a sort would take ten times as long, and none if enough are hard.
    if labelled.numel() and int((labelled < threshold).sum()) <= min_kept:
        rank = min(min_kept, labelled.numel() - 1) + 1
        threshold = max(threshold, float(labelled.kthvalue(rank).values))
    return valid & (probabilities < threshold)


def make_loss(recipe: Recipe, *, device: str | torch.device = "cpu") -> Loss:
    """Make the loss of a recipe on a network's pair of logits, of which the auxiliary ones may be None.

    The hard pixels are chosen for the main loss alone, class weights are in both.
    """
    weights = torch.tensor(recipe.class_weights, device=device) if recipe.class_weights else None
    mean = partial(cross_entropy, weights=weights, divisor=recipe.divisor)
    hard_mean = partial(ohem_cross_entropy, weights=weights, divisor=recipe.divisor)

    def loss(outputs: tuple[Logits, Logits | None], labels: Labels) -> Tensor:
        logits, auxiliary = outputs
        if weights is not None and len(weights) != logits.shape[1]:
            msg = (
                f"recipe {recipe.name!r} has {len(weights)} class weights and the network "
                f"{logits.shape[1]} classes; pass as many, or class_weights=() for none"
            )
            raise ValueError(msg)
        if recipe.ohem_threshold is None:
            total = mean(logits, labels)
        else:
            least = recipe.ohem_min_kept * len(labels)
            total = hard_mean(logits, labels, threshold=recipe.ohem_threshold, min_kept=least)
        if auxiliary is None:
            return total
        return total + recipe.auxiliary_weight * mean(auxiliary, labels)

    return loss


def _pixel_losses(
    logits: Logits, labels: Labels, weights: Float[Tensor, "k"] | None
) -> tuple[Pixels, Pixels]:
    """Cross entropy and weight of each pixel, both 0 where it is ignored."""
    losses = functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    valid = labels != IGNORE
    if weights is None:
        return losses, valid.to(losses.dtype)
    return losses, weights.to(losses.dtype)[labels.where(valid, 0)] * valid


def _divide(total: Tensor, divisor: Tensor | int) -> Tensor:
    """Divide, and make nothing of nothing zero."""
    if isinstance(divisor, int):
        return total / max(divisor, 1)
    return total / divisor.where(divisor > 0, 1)
