# PYTHON_ARGCOMPLETE_OK
"""Run the experiments: `python -m bench.ablations`, which `nox -s ablations` calls.

Without arguments all that the paper has runs as far as this machine can run it: Tables 1 and 2, Fig. 2
and the model zoo, then Tables 6 and 7 trained on procedural scenes; with `--all` what we ask beyond it
too, such as the crossover with fused attention. What has a record already is not run again. The tables,
the figures and the page are in the folder `report` beside the records, from the first minute on, and are
written again as results come. `--budget smoke` shows in five minutes that all of it works, and nothing else.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import reports
from ann.spec import look_up
from bench import called, cli, shell, training
from experiments import machine
from experiments.catalogue import BEYOND, EXPERIMENTS, PAPER, SETTLING, TRAININGS
from experiments.recipes import BUDGETS, RECIPES
from experiments.select import find_experiment
from experiments.smoke import shrink
from experiments.spec import FEATURES, Experiment, TrainingJob
from experiments.training import Setting

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.records import Record
    from bench.run import Progress

PROGRAM = called("ablations")
REPORT = "report"
NAMES = (*EXPERIMENTS, *TRAININGS)
# Where records go; what is only to show that it works does not lie beside results.
OUT, SMOKE_OUT = Path("results/ablations"), Path("results/smoke")
TABLES = {name.removeprefix("table"): name for name in NAMES if name.startswith("table")}


def parser() -> cli.Parser:
    """Describe the command line."""
    texts = {
        "--experiment": "an experiment by name, or your own by the path of its file; repeatable "
        f"(default: those of the paper: {', '.join(PAPER)}; beyond it: {', '.join(BEYOND)}; to settle how networks are "
        f"trained: {', '.join(SETTLING)})",
        "--all": "the experiments of the paper and those beyond it",
        "--table": "a table of the paper; repeatable",
        "--dataset": "",
        "--root": "",
        "--palette": "read masks in colours, as datumaro exports them, by the classes' colours; else they are refused",
        "--budget": "length of the training; smoke shortens all measurements, too, and writes into a folder of its own",
        "--recipe": "training recipe (default: the data set's usual one)",
        "--backbone": "backbone by name: resnet101s-ceil, resnet18, tiny, ... (default: the data set's usual one)",
        "--pretrained": "weights of the backbone: package, timm:TAG or file:PATH (default: random ones)",
        "--features": "train the whole network, or only heads on a frozen backbone (its default: "
        "efficientnet-lite0 with its package's weights)",
        "--seeds": "trainings for each row (default: 3; 2 for smoke)",
        "--device": "where to measure; meta only counts and predicts",
        "--engine": "run trainings on this machine's devices, or on the Ray cluster of RAY_ADDRESS",
        "--slots": "trainings at the same time (default: one on each GPU, two on a CPU); small networks may share one",
        "--out": f"folder of the records; an interrupted run continues there (default: {OUT}; {SMOKE_OUT})",
        "--evaluate": "evaluate a published checkpoint on --dataset instead of training; needs --network",
        "--network": "network of the checkpoint, e.g. mmseg/ann-r50",
        "--evaluation": "evaluation protocol (default: that of the network's source on the data set)",
        "--fresh": "",
        "--quiet": "",
        "--json": "",
    }
    settings: cli.Options = {
        "--all": {"action": "store_true"},
        "--table": {"action": "append", "default": [], "choices": tuple(TABLES)},
        "--budget": {"choices": BUDGETS, "default": "quick"},
        "--palette": {"action": "store_true"},
        "--recipe": {"choices": tuple(RECIPES)},
        "--backbone": {"metavar": "NAME"},
        "--pretrained": {"metavar": "SOURCE"},
        "--features": {"choices": FEATURES, "default": "trained"},
        "--seeds": {"type": cli.positive, "metavar": "N"},
        "--engine": {"choices": ("local", "ray"), "default": "local"},
        "--slots": {"type": cli.positive, "metavar": "N"},
        "--evaluate": {"type": Path, "metavar": "CHECKPOINT"},
        "--network": {"metavar": "NAME"},
        "--evaluation": {"metavar": "NAME"},
    }
    return cli.Parser(PROGRAM, __doc__, texts, settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    options.out = options.out or (SMOKE_OUT if options.budget == "smoke" else OUT)
    if options.evaluate is not None:
        return evaluate_published(options)
    chosen = experiments(options)
    check_folder(options.out, smoke=options.budget == "smoke")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        with cli.locked(options.out):
            finished = run_experiments(chosen, options)
            failed = cli.status_of(finished)
    else:  # this is one of torchrun's processes, of which one writes
        from bench import run  # as in other functions, not for --help

        cells = [cell for experiment in chosen for cell in experiment.cells]
        writes = os.environ.get("RANK", "0") == "0"
        with cli.locked(options.out) if writes else nullcontext():
            if not run.run_under_torchrun(cells, options.out, device=options.device):
                return shell.DONE
            # A process that fails ends all of them.
            finished, failed = (), shell.DONE
    page = options.out / REPORT / "index.html"
    status = reports.write_report(options.out, options.out / REPORT, quiet=options.json)
    if not options.json:
        sys.stdout.write(f"{page}\n")
    return cli.give(options, status or failed, page=page, records=finished)


def check_folder(out: Path, *, smoke: bool) -> None:
    """Raise ValueError where records that only show that all of it works would lie beside results."""
    from bench.run import RECORDS_FILE

    path = out / RECORDS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if any(('"budget":"smoke"' in line) != smoke for line in lines):
        kinds = (
            ("results", "records of --budget smoke")
            if smoke
            else ("records of --budget smoke", "results")
        )
        msg = f"{out} holds {kinds[0]}, beside which {kinds[1]} can't lie; choose another --out"
        raise ValueError(msg)


def setting_of(options: Namespace) -> Setting:
    """Read on which data and how to train."""
    names = ("dataset", "root", "budget", "recipe", "backbone", "pretrained", "features", "palette")
    chosen = {name: getattr(options, name) for name in names}
    seeds = options.seeds or (2 if options.budget == "smoke" else 3)
    if (options.recipe or "").startswith("frozen") and options.features != "frozen":
        msg = (
            f"recipe {options.recipe!r} is for heads on maps that are kept; pass --features frozen with it, or another "
            "recipe"
        )
        raise ValueError(msg)
    if options.backbone is not None:
        from ann.backbones import BACKBONES  # brings torch, not for --help

        look_up("backbone", options.backbone, BACKBONES)
    # Workers of a cluster run in folders of their own.
    if options.root:
        chosen["root"] = str(Path(options.root).absolute())
    kind, _, place = (options.pretrained or "").partition(":")
    if kind == "file" and place:
        chosen["pretrained"] = f"file:{Path(place).absolute()}"
    return Setting(**chosen, seeds=tuple(range(seeds)))


def evaluate_published(options: Namespace) -> int:
    """Evaluate a checkpoint and print its table.

    Not by the runner: a file that doesn't fit its network is a wrong input, and each call is a record.

    Raises:
        ValueError: no network is named, or it, the checkpoint and the data don't fit.
    """
    if options.network is None:
        msg = "--evaluate needs the network of the checkpoint; pass for example --network mmseg/ann-r50"
        raise ValueError(msg)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        msg = "--evaluate runs in one process; call it without torchrun"
        raise ValueError(msg)
    from bench import run
    from bench.records import Measures, append_line

    setting, device = setting_of(options), run.resolve_device(options.device)
    protocol = options.evaluation
    with cli.locked(options.out):
        cell, accuracy = training.evaluate_checkpoint(
            options.evaluate, options.network, setting, protocol=protocol, device=device
        )
        where = run.environment_of(device, cell)
        record = run.make_record(cell, "measured", where, Measures(accuracy=accuracy))
        append_line(options.out / run.RECORDS_FILE, record)
    tables = reports.evaluation_report(record)
    if not options.json:
        reports.show(tables)
    return cli.give(options, shell.DONE, tables=tables, records=(record,))


def experiments(options: Namespace) -> tuple[Experiment, ...]:
    """Find the experiments that the options name.

    Raises:
        ValueError: an experiment is not known, a file holds none, or the setting does not fit.
    """
    setting = setting_of(options)
    names = [*options.experiment, *(TABLES[number] for number in options.table)]
    everything = [name for name in NAMES if name not in SETTLING]
    names += everything if options.all else () if names else PAPER
    chosen = tuple(find_experiment(name, setting) for name in dict.fromkeys(names))
    return tuple(map(shrink, chosen)) if options.budget == "smoke" else chosen


def run_experiments(experiments: Sequence[Experiment], options: Namespace) -> "tuple[Record, ...]":
    """Predict all cells, train what is trained, then measure one cell after the other, under one progress bar."""
    if not options.quiet:
        names = ", ".join(experiment.name for experiment in experiments)
        about = f"{names} into {options.out}, but for what has a record there"
        sys.stderr.write(f"{about}; --budget smoke shows in five minutes that all of it works\n")
    from bench import run

    device = run.resolve_device(options.device)
    cells = tuple(cell for experiment in experiments for cell in experiment.cells)
    if device != "meta":
        training.find_data(cells)
    if options.fresh:
        run.set_records_aside(options.out)
    executed = [cell for cell in cells if cell.is_executed and device != "meta"]
    # Trainings at once, since no clock decides; whatever is timed, alone.
    trained = [cell for cell in executed if isinstance(cell, TrainingJob)]
    alone = machine.first([cell for cell in executed if not isinstance(cell, TrainingJob)])
    slots = 1 if options.engine == "ray" else options.slots or run.default_slots(device)
    engine = run.ray(device) if options.engine == "ray" else run.local(slots)
    start = partial(run.run_cells, out=options.out, device=device)
    records = chain(
        start(cells, source="predicted"),
        start(trained, source="measured", engine=engine, slots=slots),
        start(alone, source="measured"),
    )
    stages = (
        run.Stage("predicted", cells),
        run.Stage("measured", trained, slots),
        run.Stage("measured", alone),
    )
    progress = run.Progress(stages)
    if not options.quiet:
        sys.stderr.write(f"{progress.words[0]}\n")
    followed = _published(records, progress, options)
    total = len(cells) + len(alone) + len(trained)
    return cli.follow(followed, total=total, show=_trained, quiet=options.quiet, lines=False)


def _published(
    records: "Iterable[Record]", progress: "Progress", options: Namespace
) -> "Iterator[Record]":
    """Hand on records, with a line for each and a page that is written again between them."""
    from bench import run

    page = reports.LivePage(options.out, options.out / REPORT)
    silent = options.quiet or sys.stderr.isatty()  # which has a bar
    with nullcontext(lambda _: None) if silent else run.plain_lines(progress) as tell:
        for record in records:
            progress.finish(record)
            tell(record)
            yield record
            # Here nothing is timed: the next cell starts when it is asked for.
            if page.is_due(whole=progress.is_predicted):
                page.write(progress.words)


def _trained(records: "Sequence[Record]") -> "RenderableType":
    """The tables of what was trained so far, as they fill in."""
    of_trainings = [record for record in records if record.experiment in TRAININGS]
    if not any(record.measures.accuracy for record in of_trainings):
        return reports.drawn(())
    return reports.drawn(reports.training_report(of_trainings))


if __name__ == "__main__":
    shell.guarded(PROGRAM, main)
