"""Run the experiments: `python -m bench.ablations`, which `nox -s ablations` calls.

Without arguments every experiment runs that this machine can run; what has a record already is not
run again. The tables, the figures and the page are in the folder `report` beside the records.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from bench import console
from experiments.catalogue import EXPERIMENTS
from experiments.spec import Cell, Experiment

PROGRAM = "python -m bench.ablations"


def parser() -> console.Parser:
    """Describe the command line."""
    made = console.Parser(prog=PROGRAM, description=__doc__.partition("\n")[2])
    add = made.add_argument
    add(
        "--experiment",
        action="append",
        metavar="NAME",
        choices=tuple(EXPERIMENTS),
        help=f"may be given several times (default: all; known: {', '.join(EXPERIMENTS)})",
    )
    add(
        "--device",
        choices=("auto", "cpu", "cuda", "meta"),
        default="auto",
        help="where to measure; meta only counts and predicts",
    )
    add(
        "--out",
        type=Path,
        default=Path("results/ablations"),
        metavar="DIR",
        help="folder of the records; a run that was ended goes on there",
    )
    add("--fresh", action="store_true", help="measure again what has records")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    console.writable(options.out)
    chosen = tuple(EXPERIMENTS[name] for name in options.experiment or EXPERIMENTS)
    run(chosen, options)
    from reports.__main__ import main as report  # brings pandas and matplotlib

    return report([str(options.out), "--out", str(options.out / "report")])


def run(experiments: Sequence[Experiment], options: Namespace) -> None:
    """Predict and then measure all cells of the experiments, under one progress bar."""
    from bench import runner  # brings torch, not for --help

    device = runner.resolve(options.device)
    if options.fresh:
        runner.start_over(options.out)
    cells = tuple(cell for experiment in experiments for cell in experiment.cells)
    executed: tuple[Cell, ...] = tuple(cell for cell in cells if cell.probes and device != "meta")
    start = partial(runner.run, out=options.out, device=device)
    records = chain(start(cells, source="predicted"), start(executed, source="measured"))
    console.follow(records, total=len(cells) + len(executed))


if __name__ == "__main__":
    console.guarded(PROGRAM, main)
