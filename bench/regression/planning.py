"""Plan of a gate: which cells, on what device, and what is fixed beforehand."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ann.spec import Size
from bench.analysis import MARGIN
from bench.compare import ArmDevice, Settings
from bench.regression import accepted, folders, requests
from bench.regression.requests import Ask
from bench.regression.revisions import HARNESS, WORKING_TREE
from bench.run import resolve_device
from experiments import select

PLANTED = 0.10
# Of a time that does not matter: rounds of equal processes scatter by one to two percent on two shared cores.
MARGINS = {"cpu": 0.05, "cuda": MARGIN}
# What is measured if nothing else is said: a few milliseconds on a processor, the paper's on a GPU.
SHAPES: dict[str, dict[str, Any]] = {
    "cpu": {"size": [Size(width=32, height=32)], "channels": 512, "key_channels": 64},
    "cuda": {"size": [Size(width=256, height=128)], "channels": 2048, "key_channels": 256},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What the command line wants."""

    base: str  # revision or folder of records
    head: str | None  # the same; None for the working tree as it is
    asks: Sequence[Ask] = ()  # the cells, by name; folders need none
    device: ArmDevice = "cpu"
    settings: Settings = Settings()  # noqa: RUF009  # frozen
    planted: float = PLANTED  # share of extra work of the control that has to read SLOWER
    exact_only: bool = False
    accept: str | None = None  # reason with which every change is accepted
    accepted: Path = accepted.FILE
    out: Path = Path("results/regress")

    @property
    def is_of_folders(self) -> bool:
        """Whether both sides are folders of records.

        Raises:
            ValueError: only one of them is.
        """
        sides = [self.base, self.head or WORKING_TREE]
        have_records = [folders.is_records(side or "") for side in (self.base, self.head)]
        if any(have_records) and not all(have_records):
            msg = (
                f"{sides[have_records.index(True)]!r} is a folder of records, "
                f"{sides[have_records.index(False)]!r} is not; "
                "pass two folders of records, or two revisions"
            )
            raise ValueError(msg)
        return all(have_records)

    @property
    def steps(self) -> int:
        """Calls of `on_step`, if no cell is measured twice: two examinations of each, and all rounds."""
        timed = 0 if self.exact_only else len(self.asks) * self.settings.rounds
        return 2 * len(self.asks) + timed


def make_plan(options: Namespace) -> Plan:
    """Turn the command line into a plan.

    Raises:
        ValueError: a block, experiment or setting is wrong.
    """
    device: Any = resolve_device(options.device)
    margin = MARGINS[device] if options.margin is None else options.margin
    fixed = {"margin": margin, "level": options.level, "rounds": options.rounds}
    Settings(**fixed)  # refuses what is no margin before that is made use of
    usual = min(1.0, max(PLANTED, 2 * margin))
    planted = usual if options.planted is None else options.planted
    if not margin < planted <= 1:
        msg = (
            f"planted {planted:g} is not a share above the margin of {margin:g} and up to 1; "
            f"pass for example {usual:g}"
        )
        raise ValueError(msg)
    names = ("base", "head", "exact_only", "accept", "accepted", "out")
    given = {name: getattr(options, name) for name in names}
    plan = Plan(device=device, planted=planted, **given)
    if plan.is_of_folders:
        return plan
    asks = requested_cells(options, device)
    return replace(plan, asks=asks, settings=Settings(**fixed, comparisons=len(asks)))


def requested_cells(options: Namespace, device: str) -> tuple[Ask, ...]:
    """What is to be compared: blocks, experiments, or both."""
    names = options.block or ([] if options.experiment else requests.DEFAULT_BLOCKS)
    for name in names:
        package = name.partition(":")[0].partition(".")[0]
        if ":" in name and package in HARNESS:
            msg = (
                f"{name!r}: of both revisions {package!r} is this suite's own package, which measures them; "
                "give yours another name"
            )
            raise ValueError(msg)
    shape = {name: getattr(options, name) or usual for name, usual in SHAPES[device].items()}
    sizes = shape.pop("size")
    shape |= {name: getattr(options, name) for name in ("batch", "mode", "dtype", *select.OF_OWN)}
    blocks = requests.of_blocks(names, sizes, **shape)
    experiments = map(requests.of_experiment, dict.fromkeys(options.experiment))
    return (*blocks, *(ask for asks in experiments for ask in asks))
