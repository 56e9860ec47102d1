# PYTHON_ARGCOMPLETE_OK
"""Measure blocks: `python -m bench.efficiency --size 256x128`.

Parameters, MACs, FLOPs and predicted peak memory need no execution and come first, beside the
published numbers; then each block is run in a process of its own for its time and memory. Two CPU
cores take two minutes at 256x128. What the machine itself reaches is measured ahead of the first
block (a copy, a product in each number format), so that each time stands beside its floor.

`--predict h200` runs nothing and says what the blocks would take on known devices at the least.

`--compare A B` runs two arms by turns instead, in fresh processes each round, and says whether B is
FASTER, SLOWER, the SAME, or whether that is INCONCLUSIVE: an arm is a block, a network, either with
an implementation (`apnb:fast`), or somebody's own `package.module:factory`.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench import cli
from bench.analysis import DEVICES, find_device
from experiments import machine, select
from experiments.spec import Cell, OwnModule, Protocol

if TYPE_CHECKING:
    from argparse import Namespace

    from bench.records import Record

PROGRAM = "python -m bench.efficiency"
FORMATS = ("table", "markdown", "latex", "csv", "json")
BUDGETS_S = {"cpu": 75.0, "cuda": 6.0, "meta": 0.0}
DEFAULT_BLOCKS = ("nb", "apnb", "apnb-concat")


def parser() -> cli.Parser:
    """Describe the command line."""
    parser = cli.Parser(prog=PROGRAM, description=__doc__.partition("\n")[2])
    add = partial(cli.option, parser)
    add(
        "--size",
        help="size of the feature map, WIDTHxHEIGHT; may be given several times (default: 256x128)",
    )
    add(
        "--block",
        help="a block by name, NAME:IMPLEMENTATION for another way to compute it (e.g. apnb:fast, nb:sdpa), "
        "or package.module:factory for your own module; one or more "
        f"(default: {', '.join(DEFAULT_BLOCKS)}; known: {', '.join(BLOCKS)})",
    )
    add("--channels", default=2048, help="channels of the map")
    add("--key-channels", default=256, help="channels of query and key")
    add("--batch")
    add("--device", help="where to measure; meta only counts and predicts")
    add("--dtype", help="type of weights and maps")
    add("--mode")
    add(
        "--protocol",
        choices=get_args(Protocol),
        default="strict",
        help="this suite's, or what the paper's released scripts did, flaws included",
    )
    add(
        "--budget",
        type=cli.positive_seconds,
        metavar="S",
        help="seconds for timing, shared among the blocks by their work (default: 75, on a GPU 6)",
    )
    add("--format", choices=FORMATS, default="table", help="what standard output gets")
    add("--out", default=Path("results/efficiency"))
    add("--fresh")
    add(
        "--predict",
        nargs="*",
        metavar="DEVICE",
        help="predict times from datasheets and run nothing; one or more of "
        f"{', '.join(DEVICES)} (none: all of them)",
    )
    add = partial(cli.option, parser.add_argument_group("comparing two arms"))
    add("--compare", nargs=2, metavar=("A", "B"), help="arms to run by turns; the verdict is on B")
    add("--margin", help="what does not matter (default: 0.02, 2 %%)")
    add("--rounds", help="rounds of fresh processes (default: 20)")
    add("--level", help="of a wrong verdict on each side, shared by the sizes (default: 0.001)")
    return parser


def cells(options: "Namespace") -> tuple[Cell, ...]:
    """Turn the command line into cells, one for each block and size.

    Raises:
        ValueError: a block is not known.
    """
    names = tuple(dict.fromkeys(options.block or DEFAULT_BLOCKS))
    protocol, settings = options.protocol, _settings(options)
    return tuple(
        select.block_cell(name, size, protocol=protocol, **settings)
        for size in _sizes(options)
        for name in names
    )


def _sizes(options: "Namespace") -> tuple[Size, ...]:
    return tuple(dict.fromkeys(options.size or (Size(width=256, height=128),)))


def _settings(options: "Namespace") -> dict[str, Any]:
    return {name: getattr(options, name) for name in select.USUAL}


def share_budget(
    cells: Sequence[Cell], records: Sequence["Record"], budget_s: float
) -> tuple[Cell, ...]:
    """Share the time: half of it equally, half by work, so that small blocks get enough calls too."""
    work = [item.measures.counts.macs if item.measures.counts else 0 for item in records]
    every, whole = budget_s / 2 / max(1, len(cells)), max(1, sum(work))
    return tuple(
        replace(cell, budget_s=every + budget_s / 2 * macs / whole)
        for cell, macs in zip(cells, work, strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    if _comparing(options):
        return _compare(options)
    if options.predict is not None:
        return _predict(options)
    measurements = cells(options)
    with cli.locked(options.out):
        return _measure(measurements, options)


def _measure(measurements: Sequence[Cell], options: "Namespace") -> int:
    """Print what needs no execution, then what was measured."""
    from bench.run import (  # brings torch, not for --help
        resolve_device,
        run_cells,
        set_records_aside,
        timestamp,
    )
    from reports import drawn, efficiency_report, formatted, show

    _find_own(measurements)
    device = resolve_device(options.device)
    began = timestamp()
    if options.fresh:
        set_records_aside(options.out)
    start = partial(run_cells, out=options.out, device=device)
    predicted = cli.follow(start(measurements, source="predicted"), total=len(measurements))
    if options.format == "table":
        show(efficiency_report(predicted)[:1])
    budgeted = share_budget(measurements, predicted, options.budget or BUDGETS_S[device])
    executed = () if device == "meta" else machine.first(budgeted)
    measured = cli.follow(
        start(executed, source="measured"),
        total=len(executed),
        show=lambda seen: drawn(efficiency_report((*predicted, *seen))[1:2]),
    )
    everything = (*predicted, *measured)
    _say_what_is_old(measured, began=began, out=options.out)
    if options.format == "table":
        show(efficiency_report(everything)[1:])
    else:
        sys.stdout.write(formatted(everything, efficiency_report(everything), options.format))
    return 0


def _predict(options: "Namespace") -> int:
    """Print what the blocks would take on known devices; of those that were measured, the error too.

    Raises:
        ValueError: a device is not known, or the protocol is the paper's.
    """
    if options.protocol == "paper":
        msg = "--predict knows no protocol of the paper's, which says how to measure; leave one of them out"
        raise ValueError(msg)
    chosen = tuple(map(find_device, options.predict)) or tuple(DEVICES.values())
    # By CUDA's rules, which all known devices follow.
    measurements = tuple(replace(cell, device="cuda") for cell in cells(options))
    from bench.records import read_records
    from bench.run import RECORDS_FILE, run_cells  # brings torch, not for --help

    _find_own(measurements)
    with cli.locked(options.out):
        start = run_cells(measurements, options.out, source="predicted", device="meta")
        predicted = cli.follow(start, total=len(measurements))
    rows = [dict(cell.axes) for cell in measurements]
    kept = [item for item in read_records(options.out / RECORDS_FILE) if item.axes in rows]
    from reports import formatted, prediction_report, show  # brings pandas

    everything = (*predicted, *(item for item in kept if item.source == "measured"))
    made = prediction_report(everything, chosen)
    if options.format == "table":
        show(made)
    else:
        sys.stdout.write(formatted(predicted, made, options.format))
    return 0


def _comparing(options: "Namespace") -> bool:
    """Whether two arms are to be compared.

    Raises:
        ValueError: an option does not go with that, or goes with that alone.
    """
    if not options.compare:
        for name in ("margin", "rounds", "level"):
            if getattr(options, name) is not None:
                msg = f"--{name} goes with --compare; add --compare A B, or leave it out"
                raise ValueError(msg)
        return False
    usual = {"block": None, "protocol": "strict", "budget": None, "fresh": False, "predict": None}
    for name, value in usual.items():
        if getattr(options, name) != value:
            msg = f"--{name} does not go with --compare, which names its arms and sets their time; leave it out"
            raise ValueError(msg)
    if options.device == "meta":
        msg = "--device meta runs nothing, so nothing can be compared; pass auto, cpu or cuda"
        raise ValueError(msg)
    return True


def pairs(options: "Namespace") -> tuple[tuple[Cell, Cell], ...]:
    """Turn `--compare` into two cells for each size.

    Raises:
        ValueError: an arm is not known.
    """
    settings = {"experiment": "compare", **_settings(options)}
    first, second = options.compare
    return tuple(
        (select.arm_cell(first, size, **settings), select.arm_cell(second, size, **settings))
        for size in _sizes(options)
    )


def _compare(options: "Namespace") -> int:
    """Compare by turns and print the verdict; status 1 where an arm could not be run."""
    measurements = pairs(options)
    from bench.compare import BESIDE_ROUNDS, Settings, compare_arms
    from bench.run import resolve_device  # brings torch, not for --help

    given = {name: getattr(options, name) for name in ("margin", "rounds", "level")}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = Settings(**chosen, comparisons=len(measurements))
    _find_own([cell for pair in measurements for cell in pair])
    device: Any = resolve_device(options.device)
    total = len(measurements) * (settings.rounds + BESIDE_ROUNDS)
    with cli.locked(options.out), cli.progress("comparing", total=total) as step:
        made = compare_arms(
            measurements, options.out, device=device, settings=settings, on_step=step
        )
    from reports import comparison_tables, formatted, show

    if options.format == "table":
        show(comparison_tables(made))
    else:
        sys.stdout.write(formatted(made, comparison_tables(made), options.format))
    return int(any(one.failure is not None for one in made))


def _say_what_is_old(measured: Sequence["Record"], *, began: str, out: Path) -> None:
    rows = [item for item in measured if item.experiment != machine.NAME]
    old = sum(item.created_at < began for item in rows)
    if old:
        sys.stderr.write(
            f"{old} of {len(rows)} rows were measured before and are on file in {out}; "
            "--fresh measures again\n"
        )


def _find_own(measurements: Sequence[Cell]) -> None:
    """Import somebody's own modules now, so that a wrong name is said at once."""
    from bench.workloads import find_factory

    for cell in measurements:
        if isinstance(cell.subject, OwnModule):
            find_factory(cell.subject.factory)


if __name__ == "__main__":
    cli.guarded(PROGRAM, main)
