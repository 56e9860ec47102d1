# PYTHON_ARGCOMPLETE_OK
"""Run the experiments: `python -m bench.ablations`, which `nox -s ablations` calls.

Without arguments all that the paper has runs as far as this machine can run it: Tables 1 and 2, Fig. 2
and the model zoo, then Tables 6 and 7 trained on procedural scenes; with `--all` what we ask beyond it
too, such as the crossover with fused attention. What has a record already is not run again. The tables,
the figures and the page are in the folder `report` beside the records.
"""

import os
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cli
from experiments import machine
from experiments.catalogue import BEYOND, EXPERIMENTS, PAPER, TRAININGS
from experiments.recipes import BUDGETS, RECIPES
from experiments.select import find_experiment
from experiments.spec import Experiment, TrainingJob
from experiments.training import Setting

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.records import Record

PROGRAM = "python -m bench.ablations"
NAMES = (*EXPERIMENTS, *TRAININGS)
TABLES = {name.removeprefix("table"): name for name in NAMES if name.startswith("table")}


def parser() -> cli.Parser:
    """Describe the command line."""
    parser = cli.Parser(prog=PROGRAM, description=__doc__.partition("\n")[2])
    add = partial(cli.option, parser)
    add(
        "--experiment",
        help="or the path of your own file; repeatable "
        f"(default: what the paper has: {', '.join(PAPER)}; beyond it: {', '.join(BEYOND)})",
    )
    add("--all", action="store_true", help="everything, what is beyond the paper too")
    add(
        "--table",
        action="append",
        default=[],
        choices=tuple(TABLES),
        help="a table of the paper; repeatable",
    )
    add("--dataset")
    add("--root")
    add("--budget", choices=BUDGETS, default="quick", help="how long to train")
    add("--recipe", choices=tuple(RECIPES), help="how to train (default: the data set's usual one)")
    add(
        "--backbone",
        metavar="NAME",
        help="resnet101s-ceil, resnet18, tiny, ... (default: the data set's usual one)",
    )
    add("--seeds", type=cli.positive, default=3, metavar="N", help="trainings of each row")
    add("--device", help="where to measure; meta only counts and predicts")
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="what runs the trainings: this machine's devices, or the Ray cluster of RAY_ADDRESS",
    )
    add(
        "--slots",
        type=cli.positive,
        metavar="N",
        help="trainings at once (default: one for each GPU; two without one); small networks may share a GPU",
    )
    add("--out", default=Path("results/ablations"))
    add(
        "--evaluate",
        type=Path,
        metavar="CHECKPOINT",
        help="judge a published checkpoint on --dataset instead of training; needs --network",
    )
    add("--network", metavar="NAME", help="of the checkpoint, e.g. mmseg/ann-r50")
    add("--evaluation", metavar="NAME", help="how it is judged (default: whole images)")
    add("--fresh")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    if options.evaluate is not None:
        return judge(options)
    chosen = experiments(options)
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        with cli.locked(options.out):
            run(chosen, options)
    elif not _run_together(chosen, options):
        return 0
    from reports import write_report  # brings pandas and matplotlib

    return write_report(options.out, options.out / "report")


def _run_together(chosen: Sequence[Experiment], options: Namespace) -> bool:
    """Train as one of torchrun's processes; whether this is the one that writes."""
    from bench.run import run_under_torchrun

    cells = [cell for experiment in chosen for cell in experiment.cells]
    writes = os.environ.get("RANK", "0") == "0"
    with cli.locked(options.out) if writes else nullcontext():
        return run_under_torchrun(cells, options.out, device=options.device)


def setting_of(options: Namespace) -> Setting:
    """Read on which data and how to train.

    Raises:
        ValueError: the set needs a folder, or the recipe is not for it.
    """
    return Setting(
        dataset=options.dataset,
        root=options.root,
        budget=options.budget,
        recipe=options.recipe,
        backbone=options.backbone,
        seeds=tuple(range(options.seeds)),
    )


def judge(options: Namespace) -> int:
    """Judge a checkpoint and print its table.

    Raises:
        ValueError: no network is named, or it, the checkpoint and the data don't fit.
    """
    if options.network is None:
        msg = "--evaluate needs the network of the checkpoint; pass for example --network mmseg/ann-r50"
        raise ValueError(msg)
    setting = setting_of(options)
    from bench.records import Measures, append_line
    from bench.run import RECORDS_FILE, environment_of, make_record, resolve_device
    from bench.training import evaluate_checkpoint
    from reports import evaluation_report, show

    device = resolve_device(options.device)
    with cli.locked(options.out):
        cell, accuracy = evaluate_checkpoint(
            options.evaluate,
            options.network,
            setting,
            protocol=options.evaluation,
            device=device,
        )
        where = environment_of(device, cell)
        made = make_record(cell, "measured", where, measures=Measures(accuracy=accuracy))
        append_line(options.out / RECORDS_FILE, made)
    show(evaluation_report(made))
    return 0


def experiments(options: Namespace) -> tuple[Experiment, ...]:
    """Find the experiments that the options name.

    Raises:
        ValueError: an experiment is not known, a file holds none, or the setting does not fit.
    """
    setting = setting_of(options)
    names = [*options.experiment, *(TABLES[number] for number in options.table)]
    names += NAMES if options.all else () if names else PAPER
    return tuple(find_experiment(name, setting) for name in dict.fromkeys(names))


def run(experiments: Sequence[Experiment], options: Namespace) -> None:
    """Predict all cells, train what is trained, then measure one cell after the other, under one progress bar."""
    from bench.run import (  # brings torch, not for --help
        default_slots,
        local,
        ray,
        resolve_device,
        run_cells,
        set_records_aside,
    )

    device = resolve_device(options.device)
    cells = tuple(cell for experiment in experiments for cell in experiment.cells)
    if device != "meta":
        from bench.training import find_data

        find_data(cells)
    if options.fresh:
        set_records_aside(options.out)
    executed = [cell for cell in cells if cell.is_executed and device != "meta"]
    # Trainings at once, since no clock decides; whatever is timed, alone.
    trained = [cell for cell in executed if isinstance(cell, TrainingJob)]
    alone = machine.first([cell for cell in executed if not isinstance(cell, TrainingJob)])
    slots = 1 if options.engine == "ray" else options.slots or default_slots(device)
    engine = ray(device) if options.engine == "ray" else local(slots)
    start = partial(run_cells, out=options.out, device=device)
    records = chain(
        start(cells, source="predicted"),
        start(trained, source="measured", engine=engine, slots=slots),
        start(alone, source="measured"),
    )
    cli.follow(records, total=len(cells) + len(alone) + len(trained), show=_trained)


def _trained(records: Sequence["Record"]) -> "RenderableType":
    """The tables of what was trained so far, as they fill in."""
    from reports import drawn, training_report

    own = [item for item in records if item.experiment in TRAININGS]
    if not any(item.measures.accuracy for item in own):
        return drawn(())
    return drawn(training_report(own))


if __name__ == "__main__":
    cli.guarded(PROGRAM, main)
