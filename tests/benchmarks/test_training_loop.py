"""What the training loop costs beside a bare one on the same network with its batches in memory.

    python -m pytest tests/benchmarks -m slow -s -k training

A step of each by turns, in a training that reads, writes and saves as often as a long one does; a
round goes from reading to reading. `from memory` shows the loop alone; `augmented` adds the augmenting
of images that lie in memory, which on a CPU takes its time from the same cores. About three minutes.
"""

import copy
import time
from dataclasses import replace

import pytest
import torch

from ann.build import network as build
from bench.analysis.statistics import median_interval
from bench.training.data.augment import Augmented
from bench.training.data.sampler import SampleCache
from bench.training.data.scenes import Scenes
from bench.training.loop import CHECKPOINT_FILE, READ_EVERY, train
from bench.training.losses import make_loss
from bench.training.optim import make_optimiser
from experiments.recipes import RECIPES

pytestmark = pytest.mark.slow
RECIPE = replace(RECIPES["scenes"], batch=8, precision="float32")  # as in the bare loop
ITERATIONS = 20 * READ_EVERY  # a shorter training would be read more often
ROUNDS = 8  # as many as an interval of 99 % needs, after one that warms up
CLOCKS = {"wall": time.perf_counter, "process": time.process_time}
# Of the bare loop's images per second, by process time: where others compute, wall time says little.
LEAST = {"from memory": 0.95, "augmented": 0.9}


class Over(Exception):
    """Enough was measured."""


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


def read_clocks():
    return torch.tensor([clock() for clock in CLOCKS.values()], dtype=torch.float64)


def race(data, samples, network, folder):
    """Seconds that a round took the training loop and the bare one, by each clock: [rounds, 2, clocks]."""
    bare = bare_steps(copy.deepcopy(network), samples)
    steps, marks = [], [read_clocks()]

    def on_step(done, loss):
        looped = read_clocks()
        next(bare)
        marks.append(read_clocks())
        steps.append(torch.stack([looped - marks[-2], marks[-1] - looped]))
        if done == (1 + ROUNDS) * READ_EVERY:
            raise Over

    options = {"iterations": ITERATIONS, "seed": 0, "device": "cpu", "folder": folder}
    with pytest.raises(Over):
        train(network, data, RECIPE, on_step=on_step, **options)
    rounds = torch.stack(steps).unflatten(0, (1 + ROUNDS, READ_EVERY)).sum(1)
    return rounds[1:]


@pytest.mark.parametrize("source", ["from memory", "augmented"])
def test_images_per_second_of_training_are_near_those_of_a_bare_loop(source, tmp_path):
    scenes = Scenes("train", length=64)
    torch.manual_seed(0)
    network = build("mmseg/ann-r50", backbone="tiny", num_classes=len(scenes.classes))
    data = Augmented(SampleCache(scenes), RECIPE, preprocessing=network.spec.preprocessing, seed=0)
    samples = Samples(data, 64)
    taken = race(samples if source == "from memory" else data, samples, network, tmp_path)
    assert (tmp_path / CHECKPOINT_FILE).exists()
    shares = {}
    for at, clock in enumerate(CLOCKS):
        looped, bare = taken[..., at].mT
        shares[clock] = median_interval((bare / looped).tolist())
        speed = READ_EVERY * RECIPE.batch / looped.median()
        figures = f"{speed:.1f} images/s, {shares[clock].median:.1%} of a bare loop's"
        interval = f"{shares[clock].low:.1%} to {shares[clock].high:.1%}, {ROUNDS} rounds"
        print(f"{source}, {clock} time: {figures} ({interval})")  # noqa: T201  # what it is for
    assert shares["process"].median > LEAST[source]
