"""A small network and set for the tests of training, and one training of them.

Run as a program it trains them to be killed or spread over processes:
`python small_training.py killed FOLDER ITERATION`, `torchrun ... small_training.py spread FOLDER`.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from ann.spec import Size
from bench.training import loop as training
from bench.training.distributed import processes
from bench.training.evaluate import evaluate
from experiments.recipes import Iterations, Recipe

ITERATIONS = 12
RECIPE = Recipe(
    name="small",
    iterations=Iterations(quick=12, standard=12, paper=12),
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=1e-4,
    batch=4,
    crop=Size(height=8, width=8),
)
ROOT = Path(__file__).resolve().parents[3]


class Noise:
    """Images and labels of which the class is the sign of the red channel, drawn anew in each epoch."""

    def __init__(self, length=10, *, ignored=(), broken=()):
        self.length = length
        self.ignored = ignored
        self.broken = broken
        self.visits = []

    def __len__(self):
        return self.length

    def __getitem__(self, visit):
        epoch, index = visit
        self.visits.append(visit)
        if index in self.broken:
            msg = f"image {index}.png can't be read"
            raise ValueError(msg)
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        image = torch.randn(3, 8, 8, generator=generator)
        label = (image[0] > 0).long()
        return image, torch.full_like(label, 255) if index in self.ignored else label


class Net(nn.Module):
    """Everything that has state in training: weights, batch norm, dropout and an auxiliary head."""

    def __init__(self, *, norm=True):
        super().__init__()
        self.spec = SimpleNamespace(preprocessing="imagenet-rgb", align_corners=False)
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.dropout = nn.Dropout2d(0.2 if norm else 0.0)
        self.head = nn.Conv2d(8, 2, 1)
        self.auxiliary = nn.Conv2d(8, 2, 1)

    def forward(self, images):
        x = self.dropout(self.norm(self.features(images)).relu())
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


class Pictures:
    """A set to evaluate: bytes, and labels below 2."""

    name = "pictures"
    classes = ("dark", "bright")

    def __len__(self):
        return 5

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(256, (3, 8, 8), generator=generator, dtype=torch.uint8)
        return image, (image[0] > 100).to(torch.uint8)


def make(**options):
    torch.manual_seed(1)
    return Net(**options)


def run(net, data=None, **changes):
    options = {"recipe": RECIPE, "iterations": ITERATIONS, "seed": 7, "device": "cpu"} | changes
    return training.train(net, Noise() if data is None else data, **options)


class Killed(Exception):
    pass


def stop_at(iteration):
    def on_step(done, loss):
        if done == iteration:
            raise Killed

    return on_step


def kill_at(iteration):
    def on_step(done, loss):
        if done == iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def same(state, other):
    assert state.keys() == other.keys()
    return all(torch.equal(state[key], other[key]) for key in state)


def launch(*arguments, launcher=()):
    """Run this file as a program."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launcher, __file__, *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def spread_out(folder):
    """Train with and without batch norm as one of several processes; keep what this one has."""
    with processes("cpu") as device:
        data, plain = Noise(8), make(norm=False)
        run(plain, data, device=device, folder=folder / "plain")
        rank = torch.distributed.get_rank()
        normed = make()
        trained = run(normed, Noise(8), device=device)
        matrix = evaluate(plain, Pictures())
        content = {
            "plain": plain.state_dict(),
            "normed": normed.state_dict(),
            "visits": data.visits,
            "counts": matrix.counts,
            "images": matrix.packed_images(),
            "losses": trained.losses,
        }
        own = folder / f"own-{rank}"
        if rank == 0:
            shutil.copytree(folder / "plain", own)
        try:
            run(make(norm=False), Noise(8), device=device, folder=own)
        except ValueError as error:
            content["refused"] = str(error)
        torch.save(content, folder / f"{rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "killed":
        training.SAVING_SHARE = float("inf")
        run(make(), folder=Path(sys.argv[2]), on_step=kill_at(int(sys.argv[3])))
    else:
        spread_out(Path(sys.argv[2]))
