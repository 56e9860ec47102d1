"""Losses against plain restatements of their sources, in float64."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from ann.layers import resize
from bench.training.losses import cross_entropy, hard_pixels, make_loss
from experiments.recipes import RECIPES

CLASSES = 4
WEIGHTS = (0.5, 1.0, 2.0, 0.25)


def batch(seed, *, sharpness=3.0, ignored=0.2, size=(2, 9, 11)):
    generator = torch.Generator().manual_seed(seed)
    count, height, width = size
    shape = (count, CLASSES, height, width)
    logits = sharpness * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, size, generator=generator)
    labels[torch.rand(size, generator=generator) < ignored] = 255
    return logits.requires_grad_(), labels


def weights():
    return torch.tensor(WEIGHTS, dtype=torch.float64)


def listed(logits, labels):
    """Label, probability and cross entropy of each labelled pixel, by a softmax written out."""
    pixels = logits.movedim(1, -1).reshape(-1, CLASSES)
    rows = []
    for row, label in zip(pixels, labels.flatten().tolist(), strict=True):
        if label != 255:
            probability = row.exp()[label] / row.exp().sum()
            rows.append((label, probability, -probability.log()))
    return rows


def released_ohem(logits, labels, *, threshold, min_kept, weights):
    """Sort the probabilities, take the one of rank min_kept, average the weighted losses below it."""
    rows = sorted(listed(logits, labels), key=lambda row: row[1].item())
    next_one = rows[min(min_kept, len(rows) - 1)][1].item()
    chosen = [row for row in rows if row[1].item() < max(next_one, threshold)]
    return sum(weights[label] * loss for label, _, loss in chosen) / len(chosen)


def mmseg_ohem(logits, labels, *, threshold, min_kept):
    """Weights of 0 and 1 into a cross entropy that averages over every pixel."""
    rows = sorted(listed(logits, labels), key=lambda row: row[1].item())
    next_one = rows[min(min_kept * len(labels), len(rows) - 1)][1].item()
    limit = max(next_one, threshold)
    return sum(loss for _, p, loss in rows if p.item() < limit) / labels.numel()


def same(ours, theirs, logits):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    mine, other = (
        torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, theirs)
    )
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_cross_entropy_is_torchs(seed):
    logits, labels = batch(seed)
    theirs = functional.cross_entropy(logits, labels, ignore_index=255)
    same(cross_entropy(logits, labels), theirs, logits)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_cross_entropy_divides_by_the_weights_as_torch_does(seed):
    logits, labels = batch(seed)
    theirs = functional.cross_entropy(logits, labels, weights(), ignore_index=255)
    same(cross_entropy(logits, labels, weights=weights()), theirs, logits)


def test_cross_entropy_over_all_divides_by_ignored_pixels_too():
    logits, labels = batch(0)
    theirs = sum(loss for _, _, loss in listed(logits, labels)) / labels.numel()
    same(cross_entropy(logits, labels, divisor="all"), theirs, logits)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.05, 0.5, 0.7, 1.0]),
    st.sampled_from([0, 1, 10, 60, 10_000]),
)
def test_ohem_is_the_released_one(seed, threshold, min_kept):
    logits, labels = batch(seed, size=(1, 9, 11))
    options = {"threshold": threshold, "min_kept": min_kept}
    theirs = released_ohem(logits, labels, weights=weights(), **options)
    ours = cross_entropy(logits, labels, weights=weights(), **options)
    same(ours, theirs, logits)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.7]), st.sampled_from([1, 10, 60, 10_000]))
def test_ohem_of_the_mmseg_recipe_is_mmsegs(seed, threshold, min_kept):
    logits, labels = batch(seed)
    recipe = replace(RECIPES["mmseg"], ohem_threshold=threshold, ohem_min_kept=min_kept)
    theirs = mmseg_ohem(logits, labels, threshold=threshold, min_kept=min_kept)
    same(make_loss(recipe)((logits, None), labels), theirs, logits)


def test_exactly_min_kept_pixels_are_hard_where_none_is_below_the_threshold():
    logits, labels = batch(0)
    losses = functional.cross_entropy(logits.detach(), labels, ignore_index=255, reduction="none")
    assert hard_pixels(losses, labels, threshold=0.0, min_kept=37).sum() == 37


def test_all_pixels_below_the_threshold_are_hard_however_many_are_to_be_kept():
    logits, labels = batch(0)
    losses = functional.cross_entropy(logits.detach(), labels, ignore_index=255, reduction="none")
    below = (losses.neg().exp() < 0.7) & (labels != 255)
    assert below.sum() > 5
    assert torch.equal(hard_pixels(losses, labels, threshold=0.7, min_kept=5), below)


def test_ignored_pixels_are_never_hard():
    logits, labels = batch(0)
    losses = functional.cross_entropy(logits.detach(), labels, ignore_index=255, reduction="none")
    hard = hard_pixels(losses, labels, threshold=1.1, min_kept=10_000)
    assert torch.equal(hard, labels != 255)


@pytest.mark.parametrize("name", ["paper", "mmseg", "scenes"])
@pytest.mark.parametrize("threshold", [None, 0.7])
def test_an_ignored_batch_has_a_loss_and_gradients_of_zero(name, threshold):
    logits, labels = batch(0, ignored=1.1)
    recipe = replace(RECIPES[name], class_weights=WEIGHTS, ohem_threshold=threshold)
    loss = make_loss(recipe)((logits, logits), labels)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_one_easy_labelled_pixel_has_a_finite_loss():
    logits, labels = batch(0, ignored=1.1)
    labels[0, 0, 0] = logits[0, :, 0, 0].argmax()
    loss = cross_entropy(10 * logits, labels, threshold=0.7, min_kept=100_000)
    assert torch.isfinite(loss)


def test_weights_of_zero_for_all_that_occurs_give_zero():
    logits, labels = batch(0)
    assert cross_entropy(logits, labels, weights=torch.zeros(CLASSES)) == 0


def test_the_auxiliary_loss_is_a_plain_one_with_its_weight():
    logits, labels = batch(0)
    auxiliary, _ = batch(1)
    recipe = replace(RECIPES["paper"], class_weights=WEIGHTS, ohem_min_kept=20)
    loss = make_loss(recipe)
    beside = functional.cross_entropy(
        auxiliary, labels, weights().float().double(), ignore_index=255
    )
    expected = loss((logits, None), labels) + 0.4 * beside
    torch.testing.assert_close(loss((logits, auxiliary), labels), expected)


def test_the_kept_pixels_of_a_recipe_are_for_each_image():
    logits, labels = batch(0)
    recipe = replace(RECIPES["paper"], class_weights=(), ohem_min_kept=20)
    expected = cross_entropy(logits, labels, threshold=0.7, min_kept=40)
    torch.testing.assert_close(make_loss(recipe)((logits, None), labels), expected)


def test_class_weights_for_other_classes_are_refused():
    logits, labels = batch(0)
    with pytest.raises(ValueError, match="'paper' has 19 class weights and the network 4 classes"):
        make_loss(RECIPES["paper"])((logits, None), labels)


def test_logits_that_are_nan_make_a_loss_that_is_nan():
    logits, labels = batch(0)
    holed = logits.masked_fill(logits > 5, float("nan"))
    loss = cross_entropy(holed, labels, threshold=0.7, min_kept=100_000)
    assert torch.isnan(loss)


def coarse(classes=3):
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 3, 4), torch.randn(2, classes, 3, 4)
    return logits, torch.randint(classes, (2, 8, 12))


@pytest.mark.parametrize("align_corners", [False, True])
def test_smaller_logits_are_enlarged_ahead_of_the_loss(align_corners):
    outputs, labels = coarse()
    loss = make_loss(RECIPES["half"], align_corners=align_corners)
    large = [resize(each, labels.shape[1:], align_corners=align_corners) for each in outputs]
    torch.testing.assert_close(loss(outputs, labels), loss(large, labels))


def test_with_a_stride_the_loss_is_on_those_pixels():
    outputs, labels = coarse()
    whole, some = make_loss(RECIPES["half"]), make_loss(replace(RECIPES["half"], loss_stride=4))
    large = [resize(each, labels.shape[1:], align_corners=False) for each in outputs]
    expected = whole([each[:, :, 1::4, 2::4] for each in large], labels[:, 1::4, 2::4])
    torch.testing.assert_close(some(outputs, labels, (1, 2)), expected)


def test_with_a_stride_its_share_of_the_pixels_is_kept_in_any_case():
    outputs, labels = coarse()
    recipe = replace(RECIPES["half"], ohem_threshold=1e-6, ohem_min_kept=labels[0].numel())
    every = replace(recipe, ohem_threshold=None)
    # As many are kept as there are, but for the easiest one where a stride kept more than its share.
    some = make_loss(replace(recipe, loss_stride=2, ohem_min_kept=labels[0].numel() // 2))
    fewer = make_loss(replace(recipe, loss_stride=2))
    assert some(outputs, labels) > fewer(outputs, labels)
    assert make_loss(replace(every, loss_stride=2))(outputs, labels) < some(outputs, labels)


def test_the_mean_over_all_corners_is_the_loss_on_all_pixels():
    outputs, labels = coarse()
    whole, some = make_loss(RECIPES["half"]), make_loss(replace(RECIPES["half"], loss_stride=2))
    parts = [some(outputs, labels, (row, column)) for row in range(2) for column in range(2)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole(outputs, labels))
