"""Check estimated times against kernels that others timed: `python -m bench.validate DIR`.

DIR holds `products.csv`, `convolutions.csv` and `rows.csv` (or .csv.gz, or some of them), a row a
kernel, and `devices.json`, which says what the devices are. For each device and class of operators it
tells how far off the estimate and the floor are, how often the interval held the time, and how often a
floor was above it. Nothing is run. A folder of records, as `bench.reference` writes them, is checked too: the
calls that were measured on known GPUs, by experiment.

`--leave-out` estimates each device with coefficients that were fitted without it, which is what a
device that nobody has measured would see; `--fit` fits to all of them and writes the table.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import reports
from bench import cli

if TYPE_CHECKING:
    from bench.records import EstimateErrors

PROGRAM = "python -m bench.validate"


def parser() -> cli.Parser:
    """Describe the command line."""
    texts = {
        "timings": "folder of the timings or of records, or one of its files",
        "--leave-out": "fit without a device what it is estimated with: these, by name (none: each in its turn)",
        "--fit": "fit the coefficients to all rows and write them beside the errors; SOURCE says where rows are from",
        "--format": "what standard output gets",
        "--out": "folder of the errors",
    }
    settings: cli.Options = {
        "timings": {"type": Path, "metavar": "DIR"},
        "--leave-out": {"nargs": "*", "metavar": "DEVICE"},
        "--fit": {"nargs": "?", "const": "", "metavar": "SOURCE"},
        "--format": {"choices": ("table", "markdown", "latex", "csv", "json"), "default": "table"},
        "--out": {"default": Path("results/validation")},
    }
    return cli.Parser(PROGRAM, __doc__, texts, settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    from bench import records  # brings pydantic, not for --help

    if options.fit is not None and options.leave_out is not None:
        msg = "--fit takes all rows and --leave-out some; leave one of the two out"
        raise ValueError(msg)
    with cli.locked(options.out) as out:
        rows = _errors(options)
        lines = (row.model_dump_json(exclude_defaults=True) + "\n" for row in rows)
        records.write_whole(out / records.ERRORS_FILE, "".join(lines).encode())
    tables = reports.validation_tables(rows)
    if options.format == "table":
        reports.show(tables)
    else:
        sys.stdout.write(reports.formatted(rows, tables, options.format))
    return 0


def _errors(options: Namespace) -> "Sequence[EstimateErrors]":
    from bench import estimate, records  # bring pandas, not for --help

    if _holds_records(options.timings):
        if options.fit is not None or options.leave_out is not None:
            msg = f"{str(options.timings)!r} holds calls, and fits are to kernels; leave --fit and --leave-out out"
            raise ValueError(msg)
        errors = reports.call_errors(records.read_records(options.timings))
        if not errors:
            msg = f"{str(options.timings)!r} has no times on a known GPU beside predictions; see bench.reference"
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
    cli.guarded(PROGRAM, main)
