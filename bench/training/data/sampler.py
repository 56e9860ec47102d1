"""What each iteration sees and draws: functions of seed and iteration alone, and the loading in that order.

Nothing of it is state, so that a training that goes on after a kill needs nothing but the iteration,
and neither the number of workers nor anything that ran in between changes what it sees.
"""

import hashlib
import os
from collections.abc import Generator, Iterator
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from bench.training.data.augment import IGNORE
from bench.training.distributed import Place

Visit = tuple[int, int]
Sample = tuple[Tensor, Tensor]
Batch = tuple[Tensor, Tensor, int]


class Visited(Protocol):
    """What can be trained on: `Augmented`, or anything else that gives a sample for (epoch, index)."""

    def __len__(self) -> int: ...
    def __getitem__(self, visit: Visit, /) -> Sample: ...


def seed_of(*parts: int | str) -> int:
    """Derive a seed from whatever tells one draw from all others, evenly spread."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Order(Sampler[list[Visit]]):
    """Batches of visits (epoch, index), one batch an iteration, from one iteration to before another.

    Each epoch is a permutation of the set; a batch goes over its end into the next. Under torchrun
    each process gets its own part of every batch.
    """

    def __init__(
        self, length: int, *, batch: int, seed: int, start: int, stop: int, place: Place
    ) -> None:
        if length < 1:
            msg = "the set has no images to train on; check its folder and its split"
            raise ValueError(msg)
        if batch % place.world:
            msg = (
                f"a batch of {batch} can't be shared evenly by {place.world} processes; "
                "change the recipe's batch or --nproc-per-node"
            )
            raise ValueError(msg)
        self.length = length
        self.batch = batch
        self.seed = seed
        self.start = start
        self.stop = stop
        self.place = place
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Visit]]:
        share = self.batch // self.place.world
        for iteration in range(self.start, self.stop):
            first = iteration * self.batch + self.place.rank * share
            yield [self._visit(position) for position in range(first, first + share)]

    def _visit(self, position: int) -> Visit:
        epoch, place_in_epoch = divmod(position, self.length)
        return epoch, self._permutation(epoch)[place_in_epoch]

    def _permute(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        return torch.randperm(self.length, generator=generator).tolist()


def load_batches(
    dataset: Visited, order: Order, device: torch.device, *, workers: int | None = None
) -> Generator[Batch, None, None]:
    """Load batches in an order: images [n, 3, h, w], labels [n, h, w], and how many of these are empty.

    Args:
        dataset: gives a sample for a visit, from whatever process it is asked.
        order: which visits make a batch.
        device: for which; batches for a GPU are pinned.
        workers: processes that load ahead; None for some with a GPU and none without, where they
            would take the cores from the training (`Held` saves the reading instead).
    """
    gpu = device.type == "cuda"
    batches: DataLoader[Batch] = DataLoader(
        dataset,  # type: ignore[arg-type]  # torch wants an index to be an integer
        batch_sampler=order,
        num_workers=(_cores() if gpu else 0) if workers is None else workers,
        pin_memory=gpu,
        collate_fn=stack,
        # Without one of its own a loader draws from the global generator.
        generator=torch.Generator(),
    )
    yield from batches


def _cores() -> int:
    """Cores for this process of those on this machine, 8 at most."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun, which gives each process a single thread
        return max(1, min(8, cores // int(os.environ["LOCAL_WORLD_SIZE"])))
    return min(8, cores, torch.get_num_threads())


def stack(samples: list[Sample]) -> Batch:
    """Make a batch, and count the labels that are ignored everywhere."""
    images, labels = zip(*samples, strict=True)
    # The first pixel tells in nearly all cases.
    empty = sum(int(label[0, 0]) == IGNORE and bool((label == IGNORE).all()) for label in labels)
    return torch.stack(images), torch.stack(labels), empty
