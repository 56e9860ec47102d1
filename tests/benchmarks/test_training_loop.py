"""What the training loop costs beside a bare one on the same network with its batches in memory.

    python -m pytest tests/benchmarks -m slow -s

Stretches of both alternate and the best of each counts, so that a busy machine matters little.
`from memory` shows the loop alone; `augmented` adds the augmenting of images that lie in memory.
"""

import copy
import time
from dataclasses import replace

import pytest
import torch

from ann.build import network as build
from bench.accuracy.augment import Augmented
from bench.accuracy.held import Held
from bench.accuracy.losses import make_loss
from bench.accuracy.optimisation import make_optimiser
from bench.accuracy.scenes import Scenes
from bench.accuracy.train import train
from experiments.recipes import RECIPES

pytestmark = pytest.mark.slow
RECIPE = replace(RECIPES["scenes"], batch=8)
STRETCH = 3
STRETCHES = 16
# The figure is to be read on an idle machine, where it is to be above 0.95; where others compute, a
# loop against itself varies by several hundredths. What fails is a loop that is plainly slower.
LEAST = 0.8


class Samples:
    """Augmented once, and the same ever after."""

    def __init__(self, data, length):
        self.samples = [data[0, index] for index in range(length)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, visit):
        return self.samples[visit[1]]


def bare_steps(network, samples):
    """Forward, loss, backward and step on batches that lie in memory."""
    optimiser, loss = make_optimiser(network, RECIPE), make_loss(RECIPE)
    count = len(samples) // RECIPE.batch
    parts = [samples.samples[number::count][: RECIPE.batch] for number in range(count)]
    batches = [tuple(map(torch.stack, zip(*part, strict=True))) for part in parts]
    network.train()
    while True:
        for images, labels in batches:
            optimiser.zero_grad(set_to_none=True)
            loss(network(images), labels).backward()
            optimiser.step()
            yield


def race(data, samples, network, folder):
    """Seconds of each stretch of the training loop, and of the bare one in between; the first are warm-up."""
    bare = bare_steps(copy.deepcopy(network), samples)
    looped, plain, marks = [], [], [time.perf_counter()]

    def on_step(done, loss):
        if done % STRETCH:
            return
        begin = time.perf_counter()
        looped.append(begin - marks[-1])
        for _ in range(STRETCH):
            next(bare)
        marks.append(time.perf_counter())
        plain.append(marks[-1] - begin)

    options = {"iterations": STRETCH * STRETCHES, "seed": 0, "device": "cpu", "folder": folder}
    train(network, data, RECIPE, on_step=on_step, **options)
    return looped[1:], plain[1:]


@pytest.mark.parametrize("source", ["from memory", "augmented"])
def test_images_per_second_are_near_those_of_a_bare_loop(source, tmp_path):
    scenes = Scenes("train", length=64)
    torch.manual_seed(0)
    network = build("mmseg/ann-r50", backbone="tiny", num_classes=len(scenes.classes))
    held = Held(scenes)
    data = Augmented(held, RECIPE, preprocessing=network.spec.preprocessing, seed=0)
    samples = Samples(data, 64)
    looped, plain = race(samples if source == "from memory" else data, samples, network, tmp_path)
    speeds = [STRETCH * RECIPE.batch / min(times) for times in (looped, plain)]
    figures = f"{speeds[0]:.1f} images/s, bare loop {speeds[1]:.1f}: {speeds[0] / speeds[1]:.1%}"
    print(f"{source}: {figures}")  # noqa: T201  # the figures are what it is for
    assert speeds[0] > LEAST * speeds[1]
