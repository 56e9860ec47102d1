# PYTHON_ARGCOMPLETE_OK
"""The regression gate: whether a change made it worse; `python -m bench.regress --base main`, or `... history DIR`.

Exact gates first, which need no clock: parameters, operators and their MACs, predicted bytes,
outputs, and gradients in training. Then time and measured memory of base and head by turns on this
machine, with two controls whose answers are known; if a control reads wrong, this machine cannot
decide.

Exit status: 0 the same or better, 1 worse, 2 a wrong input, 3 a cell could not be examined, nothing
was measured, or the machine cannot decide. `history DIR` draws what runs have measured over time; it judges nothing.
"""

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import reports
from ann.catalogue import BLOCKS
from ann.spec import unknown
from bench import called, cli, shell
from bench.analysis import LEVEL, ROUNDS
from bench.records import Outcome
from bench.regression import DEFAULT_BLOCKS, SideError, make_plan, run_gate

PROGRAM = called("regress")
HISTORY = "history"


def parser() -> cli.Parser:
    """Describe the command line of the gate."""
    texts = {
        "--base": "the reference: a revision, or a folder of records",
        "--head": "what is judged, of the same kind (default: the working tree as it is)",
        "--block": "a block or network by name, NAME:IMPLEMENTATION, or package.module:factory of the revision; "
        f"one or more (default: {', '.join(DEFAULT_BLOCKS)}; known: {', '.join(BLOCKS)})",
        "--experiment": "the cells of an experiment, by name or file",
        "--size": "size of the map; may be given several times (default: 32x32, on a GPU 256x128)",
        "--channels": "channels of the map (default: 512, on a GPU 2048)",
        "--key-channels": "channels of query and key (default: 64, on a GPU 256)",
        "--batch": "",
        "--mode": "",
        "--layout": "",
        "--inputs": "",
        "--dtype": "number format",
        "--device": "where to measure",
        "--quiet": "",
        "--json": "",
    }
    fixed = {
        "--exact-only": "exact checks only, without a clock",
        "--margin": "share of a time that counts as no difference (default: 0.05, on a GPU 0.02)",
        "--rounds": "rounds of fresh processes, at most",
        "--level": "probability of a wrong verdict on each side, shared by the cells",
        "--planted": "share of extra work that the control must notice (default: 0.1, or twice a larger margin)",
        "--accept": "accept every exact change, and write it down with this reason",
        "--accepted": "file of accepted changes",
    }
    settings: cli.Options = {
        "--base": {"required": True, "metavar": "REF|DIR"},
        "--head": {"metavar": "REF|DIR"},
        "--device": {"choices": cli.COMPUTING},
        "--exact-only": {"action": "store_true"},
        "--rounds": {"default": ROUNDS},
        "--level": {"default": LEVEL},
        "--planted": {"type": float, "metavar": "SHARE"},
        "--accept": {"metavar": "REASON"},
        "--accepted": {"type": Path, "default": Path("regressions.jsonl"), "metavar": "FILE"},
        "--out": {"default": Path("results/regress")},
    }
    parser = cli.Parser(PROGRAM, __doc__, texts, settings)
    parser.add(fixed, settings, group="what is fixed beforehand")
    parser.add({"--out": "folder of records and reports"}, settings)
    parser.example = "--base main"
    return parser


def history_parser() -> cli.Parser:
    """Describe the command line of the history."""
    texts = {
        "records": "folder with the records of many runs",
        "--out": "folder of charts and table",
        "--quiet": "",
        "--json": "",
    }
    settings: cli.Options = {
        "records": {"type": Path, "metavar": "DIR"},
        "--out": {"default": Path("results/history")},
    }
    about = "\nDraw each series of records per device, step changes marked; it judges nothing."
    parser = cli.Parser(f"{PROGRAM} {HISTORY}", about, texts, settings)
    parser.example = "results"
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-") and given[0] != HISTORY:
        raise ValueError(unknown("command", given[0], [HISTORY]))
    if given[:1] == [HISTORY]:
        return _draw_history(history_parser().parse_args(given[1:]))
    options = parser().parse_args(given)
    try:
        cli.require_own_module(options, options.block or DEFAULT_BLOCKS)
        plan = make_plan(options)
        with (
            cli.locked(plan.out, goes_on=False),
            cli.progress("comparing", total=plan.steps, quiet=options.quiet) as step,
        ):
            outcome = run_gate(plan, on_step=step)
    except SideError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return shell.UNDECIDED
    command = f"{PROGRAM} {shlex.join(given)}"
    outcome = outcome.model_copy(update={"command": command})
    return cli.give(options, outcome.status, tables=_report(outcome, options), outcome=outcome)


def _report(outcome: Outcome, options: Namespace) -> "list[reports.Table]":
    """Write every form, show the tables unless they are asked for as data, and tell GitHub where it listens."""
    out = options.out
    summary = reports.write_reports(outcome, out)
    tables = [table for table in reports.outcome_tables(outcome) if table.name != "same"]
    if not options.json:
        reports.show(tables)
        sys.stdout.writelines(f"{line}\n" for line in reports.measured_lines(outcome))
        sys.stdout.write(f"{reports.headline(outcome)}; reports are in {out}\n")
    if os.environ.get("GITHUB_ACTIONS"):
        (sys.stderr if options.json else sys.stdout).write(reports.annotations(outcome))
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(summary)
    return tables


def _draw_history(options: Namespace) -> int:
    series = reports.read_series(options.records)
    with cli.locked(options.out, goes_on=False):
        tables = reports.write_history(series, options.out)
    if not options.json:
        reports.show(tables)
        sentence = reports.history_sentence(series)
        sys.stdout.write(f"{sentence}; charts and tables are in {options.out}\n")
    return cli.give(options, shell.DONE, tables=tables, page=options.out / "index.html")


if __name__ == "__main__":
    shell.guarded(PROGRAM, main)
