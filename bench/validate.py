"""Check estimated times against kernels that others timed: `python -m bench.validate DIR`.

DIR holds `products.csv`, `convolutions.csv` and `rows.csv` (or .csv.gz, or some of them), a row a
kernel, and `devices.json`, which says what the devices are. For each device and class of operators it
tells how far off the estimate and the floor are, how often the interval held the time, and how often a
floor was above it. Nothing is run. A folder of records, as `bench.reference` writes them, is checked too: the
calls that were measured on known GPUs, by experiment.

`--leave-out` estimates each device with coefficients that were fitted without it, which is what a
device that nobody has measured would see; `--fit` fits to all of them and writes the table.

`--harness` checks comparisons by turns instead: how often equal arms read FASTER or SLOWER, and how often
a known slowdown is found. Simulated from recorded noise (of DIR, or that of known machines) in
seconds; `--real N` compares in real processes too, half a minute each.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reports
from ann.spec import Size
from bench import called, cli, shell
from bench.analysis import PLANTED, ROUNDS
from experiments import select

if TYPE_CHECKING:
    from bench.records import EstimateErrors

PROGRAM = called("validate")
HARNESS_FILE = "harness.jsonl"
# Comparisons of equal arms on known machines.
NOISE = Path(reports.__file__).parent / "reference" / "noise"
# Three milliseconds a call on two cores.
HARNESS_CELL: dict[str, Any] = {
    "channels": 64,
    "key_channels": 32,
    "batch": 1,
    "dtype": "float32",
    "mode": "eval",
}
OF_TIMINGS = ("leave_out", "fit")
OF_HARNESS = ("simulations", "planted", "real", "margin", "rounds", "level")


def parser() -> cli.Parser:
    """Describe the command line."""
    texts = {
        "timings": "folder of the timings or of records, or one of its files",
        "--leave-out": "estimate each device by a fit that leaves it out: these devices (none: all, one by one)",
        "--fit": "fit the coefficients to all rows and write them beside the errors; SOURCE says where rows are from",
        "--format": "format of standard output",
        "--out": "folder of the errors",
        "--quiet": "",
        "--json": "",
    }
    harness = {
        "--harness": "how often interleaved comparisons are wrong, and which slowdowns they find",
        "--simulations": "simulated comparisons for each noise and each planted share",
        "--planted": "planted slowdowns, one or more shares (default: 0.02 0.05 0.1)",
        "--real": "also run so many comparisons of each kind on this machine; their records can be DIR",
        "--margin": "share of a time that counts as no difference (default: 0.02, 2 %%)",
        "--rounds": f"rounds at most (default: {ROUNDS})",
        "--level": "probability of a wrong verdict on each side (default: 0.001)",
    }
    settings: cli.Options = {
        "timings": {"type": Path, "metavar": "DIR", "nargs": "?"},
        "--harness": {"action": "store_true"},
        "--simulations": {"type": cli.positive, "default": 10_000, "metavar": "N"},
        "--planted": {"type": float, "nargs": "+", "metavar": "SHARE"},
        "--real": {"type": cli.positive, "metavar": "N"},
        "--leave-out": {"nargs": "*", "metavar": "DEVICE"},
        "--fit": {"nargs": "?", "const": "", "metavar": "SOURCE"},
        "--format": {"choices": ("table", "markdown", "latex", "csv", "json"), "default": "table"},
        "--out": {"default": Path("results/validation")},
    }
    parser = cli.Parser(PROGRAM, __doc__, texts, settings)
    parser.add(harness, settings, group="checking comparisons")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    from bench import records  # brings pydantic, not for --help

    _require_that_options_fit(options)
    if options.harness:
        return _check_harness(options)
    if options.fit is not None and options.leave_out is not None:
        msg = "--fit takes all rows and --leave-out some; leave one of the two out"
        raise ValueError(msg)
    with cli.locked(options.out, goes_on=False) as out:
        rows = _errors(options)
        lines = (row.model_dump_json(exclude_defaults=True) + "\n" for row in rows)
        records.write_whole(out / records.ERRORS_FILE, "".join(lines).encode())
    tables = reports.validation_tables(rows)
    return _end(options, tables, estimate_errors=rows)


def _require_that_options_fit(options: Namespace) -> None:
    usual = parser().parse_args([])
    other = OF_TIMINGS if options.harness else OF_HARNESS
    for name in other:
        if getattr(options, name) != getattr(usual, name):
            beside = "does not go with" if options.harness else "goes with"
            msg = f"--{name.replace('_', '-')} {beside} --harness; {'leave it out' if options.harness else 'add that'}"
            raise ValueError(msg)
    if options.timings is not None:
        shell.require_path(
            options.timings, "a folder of timings or of records, or one of its files"
        )
    elif not options.harness:
        msg = "no timings to check; pass their folder, or --harness"
        raise ValueError(msg)


def _check_harness(options: Namespace) -> int:
    """Simulate comparisons whose verdict is known, and make some; print how they ended."""
    from bench import compare, records

    given = {name: getattr(options, name) for name in ("margin", "rounds", "level")}
    settings = compare.Settings(
        **{name: value for name, value in given.items() if value is not None}
    )
    planted = tuple(options.planted or PLANTED)
    if not all(0 < share <= 1 for share in planted):
        msg = f"planted {planted} are not shares above 0 and up to 1; pass for example 0.05"
        raise ValueError(msg)
    noise = compare.recorded_noise(options.timings or NOISE)
    with cli.locked(options.out, goes_on=False) as out:
        trials = list(
            compare.simulated_trials(noise, settings, planted=planted, count=options.simulations)
        )
        if options.real:
            size = Size(width=48, height=48)
            cell = select.arm_cell("apnb", size, experiment="harness", **HARNESS_CELL)
            total = (1 + len(planted)) * options.real * (settings.rounds + compare.BESIDE_ROUNDS)
            with cli.progress("comparing", total=total, quiet=options.quiet) as step:
                trials += compare.real_trials(
                    *(cell, out),
                    device="cpu",
                    settings=settings,
                    planted=planted,
                    count=options.real,
                    on_step=step,
                )
        lines = (each.model_dump_json(exclude_defaults=True) + "\n" for each in trials)
        records.write_whole(out / HARNESS_FILE, "".join(lines).encode())
    tables = (reports.trials_table(trials),)
    return _end(options, tables, trials=trials)


def _end(options: Namespace, tables: "Sequence[reports.Table]", **results: Any) -> int:  # noqa: ANN401
    """Print results, by the name that they have in `--json`, in the format that was asked for."""
    if not options.json and options.format == "table":
        reports.show(tables)
    elif not options.json:
        (rows,) = results.values()
        sys.stdout.write(reports.formatted(rows, tables, options.format))
    return cli.give(options, shell.DONE, tables=tables, **results)


def _errors(options: Namespace) -> "Sequence[EstimateErrors]":
    from bench import estimate, records  # bring pandas, not for --help

    if _holds_records(options.timings):
        if options.fit is not None or options.leave_out is not None:
            msg = f"{str(options.timings)!r} holds calls, and fits are to kernels; leave --fit and --leave-out out"
            raise ValueError(msg)
        errors = reports.call_errors(records.read_records(options.timings))
        if not errors:
            msg = f"{str(options.timings)!r} has no times on a known GPU beside predictions; see {called('reference')}"
            raise ValueError(msg)
        return errors
    kernels = estimate.read_timings(options.timings)
    if options.leave_out is not None:
        return estimate.left_out_errors(kernels, options.leave_out)
    if options.fit is None:
        return estimate.errors_of(kernels)
    model, source = estimate.fit_all(kernels)
    source = "; ".join(filter(None, (source, options.fit)))
    table = estimate.fitted_table(model, source)
    records.write_whole(options.out / "coefficients.csv", table.encode())
    return estimate.errors_of(kernels, model, source)


def _holds_records(path: Path) -> bool:
    return path.suffix == ".jsonl" or (any(path.glob("*.jsonl")) and not any(path.glob("*.csv*")))


if __name__ == "__main__":
    shell.guarded(PROGRAM, main)
