"""From the command line to a plan: which cells, on what device, and what is fixed beforehand."""

from argparse import Namespace
from dataclasses import replace
from typing import Any, NamedTuple

from ann.spec import Size
from bench.analysis import MARGIN
from bench.compare import Settings
from bench.regression import requests
from bench.regression.gate import Plan
from bench.regression.jobs import PLANTED
from bench.regression.requests import Ask
from bench.run import resolve_device


class Usual(NamedTuple):
    """What is measured on a device if nothing else is said, and by which margin."""

    size: str
    channels: int
    key_channels: int
    margin: float


USUAL = {
    # A few milliseconds. Rounds of equal processes scatter by one to two percent on two shared cores.
    "cpu": Usual("32x32", 512, 64, 0.05),
    "cuda": Usual("256x128", 2048, 256, MARGIN),  # the paper's
}


def plan(options: Namespace) -> Plan:
    """Turn the command line into a plan.

    Raises:
        ValueError: a block, experiment or setting is wrong.
    """
    device: Any = resolve_device(options.device)
    margin = USUAL[device].margin if options.margin is None else options.margin
    made = Plan(
        base=options.base,
        head=options.head,
        device=device,
        exact_only=options.exact_only,
        planted=_planted(options.planted, margin),
        accept=options.accept,
        accepted=options.accepted,
        out=options.out,
    )
    if made.is_of_folders:
        return made
    asks = cells(options, device)
    settings = Settings(
        margin=margin, level=options.level, rounds=options.rounds, comparisons=len(asks)
    )
    return replace(made, asks=asks, settings=settings)


def _planted(asked_for: float | None, margin: float) -> float:
    planted = max(PLANTED, 2 * margin) if asked_for is None else asked_for
    if not margin < planted <= 1:
        msg = (
            f"planted {planted:g} is not a share above the margin of {margin:g} and up to 1; "
            f"pass for example {2 * margin:g}"
        )
        raise ValueError(msg)
    return planted


def cells(options: Namespace, device: str) -> tuple[Ask, ...]:
    """What is to be compared: blocks, experiments, or both."""
    usual = USUAL[device]
    names = options.block or ([] if options.experiment else requests.DEFAULT_BLOCKS)
    blocks = requests.of_blocks(
        names,
        options.size or [Size.parse(usual.size)],
        channels=options.channels or usual.channels,
        key_channels=options.key_channels or usual.key_channels,
        batch=options.batch,
        mode=options.mode,
        dtype=options.dtype,
    )
    experiments = [requests.of_experiment(text) for text in dict.fromkeys(options.experiment)]
    return (*blocks, *(ask for one in experiments for ask in one))
