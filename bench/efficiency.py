# PYTHON_ARGCOMPLETE_OK
"""Measure blocks: `python -m bench.efficiency --size 256x128`.

Parameters, MACs, FLOPs and predicted peak memory need no execution and come first, beside the
published numbers; then each block is run in a process of its own for its time and memory. Two CPU
cores take two minutes at 256x128. What the machine itself reaches is measured ahead of the first
block (a copy, a product in each number format), so that each time stands beside its floor.

`--predict h200` runs nothing and says what the blocks would take on known devices, at the least and likely, with an
interval; of a single device for each operator too.

`--fits h200` runs nothing either and says the largest map and batch that fit, in each mode and in
float32 and autocast; there a block may be a network, too.

`--gallery` takes the context blocks that people choose among today, beside those of `--block`, and puts
all of them into one table, with the size of map from which each needs less than NB.

`--compare A B` runs two arms by turns instead, in fresh processes each round, and says whether B is
FASTER, SLOWER, the SAME, or whether that is INCONCLUSIVE: an arm is a block, a network, either with
an implementation (`apnb:fast`), or somebody's own `package.module:factory`.
"""

import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import reports
from ann.catalogue import BLOCKS
from ann.spec import Size
from bench import called, cli, shell
from bench.analysis import DEVICES, ROUNDS, USUAL_DEVICES, decide_comparison, find_device
from experiments import gallery, machine, select, variants
from experiments.spec import Cell, Job, OwnModule, Protocol

if TYPE_CHECKING:
    from bench.records import Comparison, Fit, Record

PROGRAM = called("efficiency")
BUDGETS_S = {"cpu": 75.0, "cuda": 6.0, "meta": 0.0}
DEFAULT_BLOCKS = ("nb", "apnb", "apnb-concat")
# What a comparison fixes beforehand, and what does not go with one.
OF_COMPARISONS = ("margin", "rounds", "level")
NOT_OF_COMPARISONS = ("block", "protocol", "budget", "fresh", "predict", "fits", "gallery")
NOT_OF_FITS = (
    *("mode", "dtype", "protocol", "budget", "fresh", "predict", "device", "strict"),
    "gallery",
)
NOT_OF_GALLERIES = ("mode", "protocol")
# Times the usual budget, for as many times the blocks.
GALLERY_BUDGETS = 2.0


def parser() -> cli.Parser:
    """Describe the command line."""
    texts = {
        "--size": "size of the feature map, WIDTHxHEIGHT; may be given several times (default: 256x128, "
        f"with --gallery {gallery.USUAL_SIZE})",
        "--block": "a block by name, NAME:IMPLEMENTATION for another way to compute it (e.g. apnb:fast, nb:sdpa), "
        "or package.module:factory for your own module, with arguments or without "
        "(e.g. 'timm.layers:HaloAttn(dim=64)'); one or more "
        f"(default: {', '.join(DEFAULT_BLOCKS)}; known: {', '.join(BLOCKS)})",
        "--channels": f"channels of the map; with --gallery {gallery.USUAL_CHANNELS}",
        "--key-channels": "channels of query and key",
        "--batch": "",
        "--layout": "",
        "--inputs": "",
        "--device": "where to measure; meta only counts and predicts",
        "--dtype": "type of weights and maps",
        "--mode": "",
        "--protocol": "rules of this suite, or those of the paper's released scripts, flaws included",
        "--budget": "seconds for timing, shared among the blocks by their work (default: 75, on a GPU 6; "
        "with --gallery twice that)",
        "--format": "format of standard output",
        "--out": "",
        "--fresh": "",
        "--quiet": "",
        "--json": "",
        "--strict": "end with status 1 if the work of some operator is in no count, and name it",
        "--predict": "estimate times on GPUs that you don't have, and run nothing: lower bound, likely time and its "
        f"interval; one or more of {', '.join(DEVICES)} (none: {', '.join(USUAL_DEVICES)})",
        "--gallery": "context blocks in use today, and those of --block, in one table",
        "--fits": "predict the largest map with the aspect ratio of --size, and the largest batch at --size, that fit "
        "on GPUs, which are named as for --predict",
    }
    comparing = {
        "--compare": "let two blocks take turns; the verdict is on B",
        "--margin": "share of a time that counts as no difference (default: 0.02, 2 %%)",
        "--rounds": f"rounds of fresh processes at most (default: {ROUNDS})",
        "--level": "probability of a wrong verdict on each side, shared by the sizes (default: 0.001)",
    }
    settings: cli.Options = {
        "--channels": {"default": 2048},
        "--key-channels": {"default": 256},
        "--protocol": {"choices": get_args(Protocol), "default": "strict"},
        "--budget": {"type": cli.positive_seconds, "metavar": "S"},
        "--format": {"choices": ("table", "markdown", "latex", "csv", "json"), "default": "table"},
        "--out": {"default": Path("results/efficiency")},
        "--strict": {"action": "store_true"},
        "--predict": {"nargs": "*", "metavar": "DEVICE"},
        "--fits": {"nargs": "*", "metavar": "DEVICE"},
        "--gallery": {"action": "store_true"},
        "--compare": {"nargs": 2, "metavar": ("A", "B")},
    }
    parser = cli.Parser(PROGRAM, __doc__, texts, settings)
    parser.add(comparing, settings, group="comparing two arms")
    return parser


def cells(options: Namespace) -> tuple[Cell, ...]:
    """Turn the command line into cells, one for each block and size; of the gallery, more that are predicted alone.

    Raises:
        ValueError: a block is not known.
    """
    settings = {"protocol": options.protocol, **_settings(options)}
    sizes = _sizes(options)
    if options.gallery:
        return gallery.gallery_cells(options.block or (), sizes, **settings)
    names = dict.fromkeys(options.block or DEFAULT_BLOCKS)
    return tuple(select.block_cell(name, size, **settings) for size in sizes for name in names)


def _sizes(options: Namespace) -> tuple[Size, ...]:
    usual = gallery.USUAL_SIZE if options.gallery else Size(width=256, height=128)
    return tuple(dict.fromkeys(options.size or (usual,)))


def _settings(options: Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in (*select.USUAL, *select.OF_OWN)}


def share_budget(
    cells: Sequence[Cell], records: "Sequence[Record]", budget_s: float
) -> tuple[Cell, ...]:
    """Share the time: half of it equally, half by work, so that small blocks get enough calls too."""
    work = [item.measures.counts.macs if item.measures.counts else 0 for item in records]
    every, whole = budget_s / 2 / max(1, len(cells)), max(1, sum(work))
    return tuple(
        replace(cell, budget_s=every + budget_s / 2 * macs / whole)
        for cell, macs in zip(cells, work, strict=True)
    )


def _parse(arguments: Sequence[str] | None) -> Namespace:
    command = parser()
    options: Namespace = command.parse_args(arguments)
    if options.gallery:  # which has a map of its own
        command.set_defaults(channels=gallery.USUAL_CHANNELS)
        options = command.parse_args(arguments)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _parse(arguments)
    _require_that_options_fit(options)
    if (sys.argv[1:] if arguments is None else [*arguments]) in ([], ["--gallery"]):
        sys.stderr.write(_what_comes(options))
    if options.compare:
        return _compare(options)
    if options.fits is not None:
        return _fit(options)
    if options.predict is not None:
        return _predict(options)
    measurements = cells(options)
    with cli.locked(options.out):
        return _measure(measurements, options)


def _what_comes(options: Namespace) -> str:
    """What a call without options does, for who only looks what it does."""
    names = "the gallery" if options.gallery else ", ".join(DEFAULT_BLOCKS)
    return (
        f"{names} at {_sizes(options)[0]}: counted and predicted, then measured, which takes some minutes; "
        "--device meta leaves that out, --help says what else there is\n"
    )


def _measure(measurements: Sequence[Cell], options: Namespace) -> int:
    """Print what needs no execution, then what was measured."""
    from bench import run  # as in other functions, not for --help

    _import_factories(measurements)
    device = run.resolve_device(options.device)
    began = run.timestamp()
    if options.fresh:
        run.set_records_aside(options.out)
    start = partial(run.run_cells, out=options.out, device=device)
    follow = partial(_follow, asked=measurements, quiet=options.quiet)
    predicted = follow(start(measurements, source="predicted"), total=len(measurements))
    report = reports.gallery_report if options.gallery else reports.efficiency_report
    # Printed before the others; the gallery has one table.
    first_table = int(options.format == "table" and not options.gallery and not options.json)
    if first_table:
        reports.show(report(predicted)[:1])
    budgeted = _budgeted(measurements, predicted, options, device=device)
    executed = () if device == "meta" else budgeted
    measured = follow(
        start(executed, source="measured"),
        total=len(executed),
        show=lambda seen: reports.drawn(report((*predicted, *seen))[first_table : first_table + 1]),
    )
    everything = (*predicted, *measured)
    if not options.quiet:
        _say_what_is_old(measured, began=began, out=options.out)
    status = _strict_status(options, _uncounted(predicted)) or cli.status_of(everything)
    tables = report(everything)[first_table:]
    return _end(options, status, tables, records=everything)


def _follow(
    records: "Iterable[Record]",
    *,
    asked: Sequence[Cell],
    **options: Any,  # noqa: ANN401
) -> "tuple[Record, ...]":
    """Wait for records as `cli.follow`; give them in the order of what was asked, whatever is on file."""
    places = {cell.id: place for place, cell in enumerate(asked)}
    found = cli.follow(records, **options)
    return tuple(sorted(found, key=lambda record: places.get(record.cell, -1)))


def _budgeted(
    measurements: Sequence[Cell], predicted: "Sequence[Record]", options: Namespace, *, device: str
) -> tuple[Job, ...]:
    """What is executed, with its time; ahead of it what the machine reaches, which the gallery does without."""
    by_cell = {record.cell: record for record in predicted}
    executed = [cell for cell in measurements if cell.is_executed]
    budget_s = options.budget or BUDGETS_S[device] * (GALLERY_BUDGETS if options.gallery else 1)
    shared = share_budget(executed, [by_cell[cell.id] for cell in executed], budget_s)
    return shared if options.gallery else machine.first(shared)


def _end(
    options: Namespace,
    status: int,
    tables: "Sequence[reports.Table]",
    **results: Any,  # noqa: ANN401
) -> int:
    """Print results, by the name that they have in `--json`, in the format that was asked for."""
    if not options.json and options.format == "table":
        reports.show(tables)
    elif not options.json:
        (rows,) = results.values()
        sys.stdout.write(reports.formatted(rows, tables, options.format))
    return cli.give(options, status, tables=tables, **results)


def _predict(options: Namespace) -> int:
    """Print what the blocks would take on known devices; of those that were measured, the error too."""
    from bench import run
    from bench.records import read_records

    if options.protocol == "paper":
        msg = "--predict knows no protocol of the paper's, which says how to measure; leave one of them out"
        raise ValueError(msg)
    names = dict.fromkeys(name.lower() for name in options.predict or USUAL_DEVICES)
    chosen = tuple(map(find_device, names))
    # By CUDA's rules, which all known devices follow.
    measurements = tuple(replace(cell, device="cuda") for cell in cells(options))
    _import_factories(measurements)
    with cli.locked(options.out):
        start = run.run_cells(measurements, options.out, source="predicted", device="meta")
        total = len(measurements)
        predicted = _follow(start, total=total, asked=measurements, quiet=options.quiet)
    status = _strict_status(options, _uncounted(predicted)) or cli.status_of(predicted)
    if options.gallery:
        return _end(options, status, reports.gallery_report(predicted, chosen), records=predicted)
    axes = [dict(cell.axes) for cell in measurements]
    kept = read_records(options.out / run.RECORDS_FILE)
    measured = [item for item in kept if item.axes in axes and item.source == "measured"]
    tables = reports.prediction_report((*predicted, *measured), chosen)
    return _end(options, status, tables, records=predicted)


def _fit(options: Namespace) -> int:
    """Print the largest maps and batches that fit on known devices."""
    _require_usual(
        options, NOT_OF_FITS, "--fits, which predicts each mode and format by CUDA's rules"
    )
    chosen = {name.lower(): find_device(name) for name in options.fits or USUAL_DEVICES}
    names = dict.fromkeys(options.block or DEFAULT_BLOCKS)
    arms = select.fitted_cells(names, _sizes(options), **_settings(options))
    _import_factories(arms)
    from bench import predict

    fits: list[Fit] = []
    with cli.progress("predicting", total=len(arms), quiet=options.quiet) as step:
        for cell in arms:
            with shell.undisturbed():
                fits.extend(predict.find_fits(cell, chosen))
            step(f"{cell.name} {cell.mode} {cell.dtype}")
    lacking = any(fit.largest_size is None and fit.largest_batch is None for fit in fits)
    status = shell.FAILED if lacking else shell.DONE
    return _end(options, status, reports.fit_report(fits), fits=fits)


def _require_usual(options: Namespace, names: Sequence[str], of: str) -> None:
    usual = parser().parse_args([])
    for name in names:
        if getattr(options, name) != getattr(usual, name):
            msg = f"--{name} does not go with {of}; leave it out"
            raise ValueError(msg)


def _require_that_options_fit(options: Namespace) -> None:
    """Refuse options of a comparison without one, of a measurement beside one, and of own modules without one."""
    cli.require_own_module(options, options.compare or options.block or DEFAULT_BLOCKS)
    if options.gallery:
        _require_usual(options, NOT_OF_GALLERIES, "--gallery, which shows inference and training")
    if not options.compare:
        for name in OF_COMPARISONS:
            if getattr(options, name) is not None:
                msg = f"--{name} goes with --compare; add --compare A B, or leave it out"
                raise ValueError(msg)
        return
    _require_usual(
        options, NOT_OF_COMPARISONS, "--compare, which names its arms and sets their time"
    )
    if options.device == "meta":
        msg = "--device meta runs nothing, so nothing can be compared; pass auto, cpu or cuda"
        raise ValueError(msg)


def pairs(options: Namespace) -> tuple[tuple[Cell, Cell], ...]:
    """Turn `--compare` into two cells for each size.

    Raises:
        ValueError: an arm is not known.
    """
    settings = {"experiment": "compare", **_settings(options)}
    arms = options.compare
    # Both go back to the maps that come in, or neither.
    settings["input_gradient"] = options.mode == "train" and any(map(variants.is_own, arms))
    first, second = (
        [select.arm_cell(arm, size, **settings) for size in _sizes(options)] for arm in arms
    )
    return tuple(zip(first, second, strict=True))


def _compare(options: Namespace) -> int:
    """Compare by turns and print the verdict."""
    from bench import compare, run

    arms = pairs(options)
    given = {name: getattr(options, name) for name in OF_COMPARISONS}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = compare.Settings(**chosen, comparisons=len(arms))
    _import_factories([cell for pair in arms for cell in pair])
    device: Any = run.resolve_device(options.device)
    total = len(arms) * (settings.rounds + compare.BESIDE_ROUNDS)
    with (
        cli.locked(options.out, goes_on=False),
        cli.progress("comparing", total=total, quiet=options.quiet) as step,
    ):
        comparisons = compare.compare_arms(
            arms, options.out, device=device, settings=settings, on_step=step
        )
    sides = [(item.size, arm) for item in comparisons for arm in (item.first, item.second)]
    lacking = {f"{arm.arm} {size}": arm.uncounted for size, arm in sides if arm.uncounted}
    status = _strict_status(options, lacking) or compared_status(comparisons)
    return _end(options, status, reports.comparison_tables(comparisons), comparisons=comparisons)


def compared_status(comparisons: "Sequence[Comparison]") -> int:
    """FAILED where an arm could not be run, UNDECIDED where a verdict is INCONCLUSIVE: any other is the answer."""
    if any(comparison.failure is not None for comparison in comparisons):
        return shell.FAILED
    verdicts = (decide_comparison(each, each.clocks[0]).verdict for each in comparisons)
    return shell.UNDECIDED if "INCONCLUSIVE" in verdicts else shell.DONE


def _uncounted(records: "Sequence[Record]") -> dict[str, str]:
    """Cells of which work is in no count, and of which operators."""
    from bench.records import cell_name

    counted = [(cell_name(item), item.measures.counts) for item in records]
    return {name: counts.uncounted for name, counts in counted if counts and counts.uncounted}


def _strict_status(options: Namespace, uncounted: Mapping[str, str]) -> int:
    """Exit status; with `--strict` standard error says what is in no count, and the status is 1."""
    if not options.strict:
        return 0
    for name, note in uncounted.items():
        sys.stderr.write(f"--strict: {name}: {note}\n")
    return int(bool(uncounted))


def _say_what_is_old(measured: "Sequence[Record]", *, began: str, out: Path) -> None:
    rows = [item for item in measured if item.experiment != machine.NAME]
    old = sum(item.created_at < began for item in rows)
    if old:
        sys.stderr.write(
            f"{old} of {len(rows)} rows were measured before and are on file in {out}; "
            "--fresh measures again\n"
        )


def _import_factories(measurements: Sequence[Cell]) -> None:
    """Import somebody's own modules now, so that a wrong name, or an argument that lacks, is said at once."""
    from bench.workloads import prepare_call  # brings torch, not for --help

    for cell in measurements:
        if isinstance(cell.subject, OwnModule):
            prepare_call(cell.subject, cell.size)


if __name__ == "__main__":
    shell.guarded(PROGRAM, main)
