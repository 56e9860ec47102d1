# PYTHON_ARGCOMPLETE_OK
"""Did a change make it worse? `python -m bench.regress --base main`, or `... history DIR`.

Exact gates first, which need no clock: parameters, operators and their MACs, predicted bytes,
outputs. Then time and measured memory of base and head by turns on this machine, with two controls
whose answers are known; if a control reads wrong, this machine cannot decide.

Exit status: 0 the same or better, 1 worse, 2 a wrong input, 3 nothing was measured or the machine
cannot decide. `history DIR` draws what runs have measured over time; it judges nothing.
"""

import os
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from ann.catalogue import BLOCKS
from bench import cli
from bench.analysis import LEVEL, ROUNDS
from bench.records import UNDECIDED, Outcome
from bench.regression import DEFAULT_BLOCKS, SideError, make_plan, run_gate

PROGRAM = "python -m bench.regress"
HISTORY = "history"


def parser() -> cli.Parser:
    """Describe the command line of the gate."""
    parser = cli.Parser(prog=PROGRAM, description=__doc__.partition("\n")[2])
    add = partial(cli.option, parser)
    add(
        "--base",
        required=True,
        metavar="REF|DIR",
        help="what the head is held against: a revision, or a folder of records",
    )
    add("--head", metavar="REF|DIR", help="what is judged (default: the working tree as it is)")
    add(
        "--block",
        help="a block or network by name, NAME:IMPLEMENTATION, or package.module:factory of the revision; one or more "
        f"(default: {', '.join(DEFAULT_BLOCKS)}; known: {', '.join(BLOCKS)})",
    )
    add("--experiment", help="the cells of an experiment, by name or file")
    add("--size", help="of the map; may be given several times (default: 32x32, on a GPU 256x128)")
    add("--channels", help="channels of the map (default: 512, on a GPU 2048)")
    add("--key-channels", help="channels of query and key (default: 64, on a GPU 256)")
    add("--batch")
    add("--mode")
    add("--dtype", help="number format")
    add("--device", choices=cli.COMPUTING, help="where to measure")
    _add_rules(parser)
    add("--out", default=Path("results/regress"), help="folder of records and reports")
    return parser


def _add_rules(parser: cli.Parser) -> None:
    add = partial(cli.option, parser.add_argument_group("what is fixed beforehand"))
    add("--exact-only", action="store_true", help="no clock: the exact gates alone")
    add("--margin", help="of a time that does not matter (default: 0.05, on a GPU 0.02)")
    add("--rounds", default=ROUNDS, help="of fresh processes")
    add("--level", default=LEVEL, help="of a wrong verdict on each side, shared by the cells")
    add(
        "--planted",
        type=float,
        metavar="SHARE",
        help="of extra work that the control must notice (default: 0.1, or twice a larger margin)",
    )
    add(
        "--accept",
        metavar="REASON",
        help="write every exact change down as wanted, with the reason",
    )
    add(
        "--accepted",
        type=Path,
        default=Path("regressions.jsonl"),
        metavar="FILE",
        help="of accepted changes",
    )


def history_parser() -> cli.Parser:
    """Describe the command line of the history."""
    parser = cli.Parser(
        prog=f"{PROGRAM} {HISTORY}",
        description="Draw each series of records per device, step changes marked; it judges nothing.",
    )
    parser.add_argument(
        "records", type=Path, metavar="DIR", help="folder with the records of many runs"
    )
    cli.option(parser, "--out", default=Path("results/history"), help="folder of charts and table")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [HISTORY]:
        return _history(history_parser().parse_args(given[1:]))
    options = parser().parse_args(given)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        outcome = _run(options, command=shlex.join(["python", "-m", "bench.regress", *given]))
    except SideError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return UNDECIDED
    finally:
        signal.signal(signal.SIGTERM, before)
    _report(outcome, options.out)
    return outcome.status


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that worktrees and processes are taken down."""
    del number, frame
    raise KeyboardInterrupt


def _run(options: Namespace, *, command: str) -> Outcome:
    plan = make_plan(options)
    with cli.locked(plan.out), cli.progress("comparing", total=plan.steps) as step:
        return run_gate(plan, on_step=step).model_copy(update={"command": command})


def _report(outcome: Outcome, out: Path) -> None:
    """Write every form, show the table, and tell GitHub where it listens."""
    from reports import annotations, headline, outcome_tables, show, write_reports

    summary = write_reports(outcome, out)
    show(table for table in outcome_tables(outcome) if table.name != "same")
    sys.stdout.write(f"{headline(outcome)}; reports are in {out}\n")
    if os.environ.get("GITHUB_ACTIONS"):
        sys.stdout.write(annotations(outcome))
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(summary)


def _history(options: Namespace) -> int:
    from reports import history_sentence, read_series, show, write_history

    series = read_series(options.records)
    with cli.locked(options.out):
        show(write_history(series, options.out))
    sys.stdout.write(f"{history_sentence(series)}; charts and tables are in {options.out}\n")
    return 0


if __name__ == "__main__":
    cli.guarded(PROGRAM, main)
