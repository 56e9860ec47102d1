"""Pairing of arms by seed: what they share starts alike and meets the same random numbers.

Arms that differ in a block differ in how many random numbers building and training them takes. Drawn one after another,
numbers that belong to shared parts would be others in each arm; here each part has its own.
"""

from collections import Counter
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from ann.backbones import BACKBONES
from ann.catalogue import NETWORKS
from ann.heads import make_auxiliary, make_head
from ann.network import SegmentationNetwork, fit
from ann.spec import NetworkSpec
from bench.training.data import seed_of

# It has all parts that arms of the paper share: fusion, reduction, context, classifier, auxiliary head.
FULL = "paper/afnb+apnb"


@torch.no_grad()
def share_start(network: SegmentationNetwork, seed: int) -> None:
    """Start the heads' parameters as those of the same name and shape start in the full network with that seed.

    Torch's generator on the CPU is seeded anew.
    """
    spec, backbone = network.spec, BACKBONES[network.spec.backbone]
    same = {name: getattr(spec, name) for name in ("backbone", "num_classes", "initialisation")}
    full = fit(replace(NETWORKS[FULL], **same), backbone)
    low, high = backbone.low_channels, backbone.high_channels
    torch.manual_seed(seed_of(seed, "start"))
    parts = {
        "head": make_head(full, low=low, high=high),
        "auxiliary": make_auxiliary(full, low=low),
    }
    others = tuple(f"{name}." for name in ("fusion", "context") if not _alike(spec, full, name))
    for part, module in parts.items():
        if part == "head" and spec.head != full.head:
            continue
        own = dict(getattr(network, part).named_parameters()) if getattr(network, part) else {}
        for name, parameter in module.named_parameters() if module else ():
            shared = name in own and own[name].shape == parameter.shape
            if shared and not name.startswith(others):
                own[name].copy_(parameter)


def _alike(one: NetworkSpec, other: NetworkSpec, name: str) -> bool:
    """Whether a block starts as another network's does: they differ in nothing but how anchors are taken."""
    first, second = (
        block and replace(block, sampler="all", grids=(), seed=0)
        for block in (getattr(one, name), getattr(other, name))
    )
    return bool(first == second)


class PairedDraws:
    """Seeds torch's generator anew in each iteration, and ahead of each dropout by that module's name.

    What is drawn then follows from seed, iteration, process and name, so that a training which goes on after a kill
    draws what it would have drawn, and arms drop the same channels in the parts that they share.
    """

    def __init__(self, network: nn.Module, *, seed: int, rank: int) -> None:
        self._seed, self._rank, self._iteration = seed, rank, 0
        self._calls: Counter[str] = Counter()
        on_cpu = next(network.parameters()).device.type == "cpu"
        # torch.manual_seed would note where it was called for GPUs that are asleep: 0.3 ms a step.
        self._reseed = torch.default_generator.manual_seed if on_cpu else torch.manual_seed
        self._hooks = [
            module.register_forward_pre_hook(partial(self._enter, name))
            for name, module in network.named_modules()
            if isinstance(module, _DropoutNd) and module.p > 0
        ]

    def end(self) -> None:
        """Leave the network as it was."""
        for hook in self._hooks:
            hook.remove()

    def begin(self, iteration: int) -> None:
        """Begin an iteration, counted from 0."""
        self._iteration = iteration
        self._calls.clear()
        self._reseed(seed_of(self._seed, "step", iteration, self._rank))

    def corner(self, stride: int) -> tuple[int, int]:
        """Return the first row and column of the pixels that count in this iteration, of every `stride`-th."""
        row, column = divmod(seed_of(self._seed, "corner", self._iteration) % stride**2, stride)
        return row, column

    def _enter(self, name: str, module: nn.Module, _: object) -> None:
        if module.training:
            self._calls[name] += 1
            call = self._calls[name]
            self._reseed(seed_of(self._seed, "drop", self._iteration, self._rank, name, call))
