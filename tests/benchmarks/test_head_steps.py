"""How much faster a step of heads on frozen maps is than a plain one: all pixels, float32, maps in torch's own layout.

    python -m pytest tests/benchmarks -m slow -s -k heads

A step of each by turns, on one thread, at the sizes of CamVid's records: 23x30 maps, 240x180 labels, batches of eight.
About two minutes.
"""

import copy
import time

import pytest
import torch

from ann import build
from ann.backbones import BACKBONES
from ann.layers import resize
from bench.analysis.statistics import median_interval
from bench.training.frozen import FrozenHead
from bench.training.loop import train
from bench.training.losses import make_loss
from experiments.recipes import RECIPES
from experiments.training import FROZEN_BACKBONE

pytestmark = pytest.mark.slow
RECIPE = RECIPES["frozen"]
PLAIN = RECIPES["half"]  # whose loss is on all pixels
HEIGHT, WIDTH, CLASSES = 23, 30, 11
ROUNDS, STEPS, WARM = 8, 5, 5
LEAST = 2.0


class Over(Exception):
    """Enough was measured."""


class Maps:
    """One batch of maps and labels."""

    def __init__(self, channels):
        draw = torch.Generator().manual_seed(0)
        shape = (RECIPE.batch, HEIGHT, WIDTH, channels)
        self.maps = torch.randn(shape, generator=draw).half()
        size = (RECIPE.batch, RECIPE.crop.height, RECIPE.crop.width)
        self.labels = torch.randint(0, CLASSES, size, generator=draw).byte()

    def __len__(self):
        return RECIPE.batch

    def __getitem__(self, visit):
        return self.maps[visit[1]], self.labels[visit[1]]


def plain_steps(network, data, low_channels):
    """Steps as one would first write them."""
    parts = data.maps.float().permute(0, 3, 1, 2).contiguous()
    low, high = (part.contiguous() for part in parts.tensor_split([low_channels], dim=1))
    loss, labels = make_loss(PLAIN), data.labels.long()
    optimiser = torch.optim.AdamW([*network.head.parameters(), *network.auxiliary.parameters()])
    network.train()
    while True:
        optimiser.zero_grad(set_to_none=True)
        pair = (network.head(low, high), network.auxiliary(low))
        large = tuple(resize(each, labels.shape[1:], align_corners=False) for each in pair)
        loss(large, labels).backward()
        optimiser.step()
        yield


def seconds_of(steps):
    began_s = time.process_time()
    for _ in range(STEPS):
        next(steps)
    return time.process_time() - began_s


@pytest.mark.parametrize("name", ["baseline", "nb", "apnb", "afnb+apnb"])
def test_a_step_of_heads_is_at_least_twice_as_fast_as_a_plain_one(name):
    torch.manual_seed(0)
    backbone = BACKBONES[FROZEN_BACKBONE]
    data = Maps(backbone.low_channels + backbone.high_channels)
    network = build.network(f"paper/{name}", num_classes=CLASSES, backbone=FROZEN_BACKBONE)
    plain = plain_steps(copy.deepcopy(network), data, backbone.low_channels)
    taken, marks = [], []

    def on_step(done, loss):
        if done >= WARM and (done - WARM) % STEPS == 0:
            if marks:
                taken.append((time.process_time() - marks[-1], seconds_of(plain)))
            if len(taken) == ROUNDS:
                raise Over
            marks.append(time.process_time())

    with pytest.raises(Over):
        train(
            FrozenHead(network),
            data,
            RECIPE,
            iterations=1000,
            seed=0,
            device="cpu",
            on_step=on_step,
        )
    ours, others = torch.tensor(taken).T / STEPS * 1e3
    ratio = median_interval((others / ours).tolist())
    figures = f"{ours.median():.1f} ms, plain {others.median():.1f} ms"
    print(f"{name}: {figures}, {ratio.median:.1f} times [{ratio.low:.1f}, {ratio.high:.1f}]")  # noqa: T201
    assert ratio.median > LEAST
