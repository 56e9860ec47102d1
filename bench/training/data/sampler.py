"""Deterministic sample order, the loading of batches in it, and an in-memory sample cache.

What an iteration sees and draws is a function of seed and iteration. Nothing of it is state, so that a
training that goes on after a kill needs nothing but the iteration, and neither the number of workers
nor anything that ran in between changes what it sees.
"""

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from bench.analysis import IGNORE
from bench.training.data.augment import Labelled

Visit = tuple[int, int]
Example = tuple[Tensor, Tensor]
Batch = tuple[Tensor, Tensor, int]


class Drawn(Protocol):
    """Views of a set for training, by visit (epoch, index): what the network takes, and a label [h, w]."""

    def __len__(self) -> int: ...
    def __getitem__(self, visit: Visit, /) -> Example: ...


class SampleCache:
    """In-memory cache of a set's samples; beyond `limit_bytes` they are read each time.

    Workers of a loader keep their own.
    """

    def __init__(self, dataset: Labelled, *, limit_bytes: int = 2**30) -> None:
        self.dataset = dataset
        self._left_bytes = limit_bytes
        self._kept: dict[int, Example] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Example:
        if index in self._kept:
            return self._kept[index]
        sample = self.dataset[index]
        size_bytes = sum(part.nbytes for part in sample)
        if size_bytes <= self._left_bytes:
            self._left_bytes -= size_bytes
            self._kept[index] = sample
        return sample


def seed_of(*parts: int | str) -> int:
    """Derive a seed from whatever tells one draw from all others, evenly spread."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def draw_visits(
    length: int, *, batch: int, seed: int, iterations: Iterable[int], rank: int = 0, world: int = 1
) -> Iterator[list[Visit]]:
    """Yield a batch of visits (epoch, index) for each iteration.

    Each epoch is a permutation of the set; a batch goes over its end into the next. Under torchrun
    each process gets its own part of every batch.
    """
    if length < 1:
        msg = "the set has no images to train on; check its folder and its split"
        raise ValueError(msg)
    if batch % world:
        msg = (
            f"a batch of {batch} can't be shared evenly by {world} processes; "
            "change the recipe's batch or --nproc-per-node"
        )
        raise ValueError(msg)
    share = batch // world
    for iteration in iterations:
        first = iteration * batch + rank * share
        visits = (divmod(at, length) for at in range(first, first + share))
        yield [(epoch, _permutation(length, seed, epoch)[at]) for epoch, at in visits]


@lru_cache(maxsize=2)
def _permutation(length: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    return torch.randperm(length, generator=generator).tolist()


def load_batches(
    dataset: Drawn,
    visits: Iterable[list[Visit]],
    device: torch.device,
    *,
    workers: int | None = None,
) -> Generator[Batch, None, None]:
    """Load batches of visits: images [n, 3, h, w], labels [n, h, w], and how many of these are empty.

    For a GPU batches are pinned, and `workers` processes load ahead, by default some; on the CPU
    none, where they would take the cores from the training (`SampleCache` saves the reading instead).
    """
    gpu = device.type == "cuda"
    batches: DataLoader[Batch] = DataLoader(
        dataset,  # type: ignore[arg-type]  # which is what the collation makes of it
        batch_sampler=visits,
        num_workers=(_worker_count() if gpu else 0) if workers is None else workers,
        pin_memory=gpu,
        collate_fn=collate_batch,
        # Without one of its own a loader draws from the global generator.
        generator=torch.Generator(),
    )
    yield from batches


def _worker_count() -> int:
    """Cores for this process of those on this machine, 8 at most."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun, which gives each process a single thread
        return max(1, min(8, cores // int(os.environ["LOCAL_WORLD_SIZE"])))
    return min(8, cores, torch.get_num_threads())


def collate_batch(samples: list[Example]) -> Batch:
    """Make a batch, and count the labels that are ignored everywhere."""
    images, labels = zip(*samples, strict=True)
    # The first pixel tells in nearly all cases.
    empty = sum(int(label[0, 0]) == IGNORE and bool((label == IGNORE).all()) for label in labels)
    return torch.stack(images), torch.stack(labels), empty
