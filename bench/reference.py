"""What to run on a new device: `python -m bench.reference --minutes 9 --out DIR`.

In order of worth and until the time is up: the GPU tests, Tables 1 and 2, Fig. 2, the model zoo's
pages, Tables 6 and 7 on procedural scenes. Records are written as they come and a later call goes
on; nothing needs a network, nox or uv.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import console
from experiments import ceilings
from experiments.catalogue import EXPERIMENTS, TRAININGS
from experiments.spec import Cell, Experiment
from experiments.training import Setting

if TYPE_CHECKING:
    from argparse import Namespace

    from bench.record import Record

PROGRAM = "python -m bench.reference"
ORDER = (
    *("table1", "fig2", "crossover", "implementations", "precision", "table2"),
    *("zoo_ann", "zoo_dnl", "counters", "table6", "table7"),
)
# Of the whole time, for the tests and for one cell; a GPU needs far less, a processor is kept from
# starving the rest.
TESTS_SHARE = 0.4
CELL_SHARE = 0.25
CELL_BUDGET_S = 8.0
TESTS_LOG = "gpu-tests.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """Time that is left."""

    limit_s: float
    now: Callable[[], float] = time.monotonic
    started_s: float = 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the time is up."""
        return self.started_s + self.limit_s - self.now()


def parser() -> console.Parser:
    """Describe the command line."""
    made = console.Parser(prog=PROGRAM, description=__doc__.partition("\n")[2])
    add = made.add_argument
    add("--minutes", type=console.seconds, default=9.0, help="time for the whole")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the records")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what to measure")
    add("--no-tests", action="store_true", help="leave the GPU tests out")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 1 where a GPU test failed."""
    options = parser().parse_args(arguments)
    with console.held(options.out):
        return run(options)


def run(options: "Namespace") -> int:
    """Test and measure until the time is over; return the exit status."""
    clock = Clock(limit_s=60 * options.minutes, started_s=time.monotonic())
    from bench import runner  # brings torch, not for --help

    device = runner.resolve(options.device)
    status = 0
    if device == "cuda" and not options.no_tests:
        status = _run_tests(options.out / TESTS_LOG, limit_s=TESTS_SHARE * clock.left_s)
    cells = planned()
    records = console.follow(
        measured(cells, options.out, device=device, clock=clock), total=2 * len(cells)
    )
    sys.stdout.write(summary(records, cells, clock=clock))
    return status


def planned() -> tuple[Cell, ...]:
    """All cells in order of worth."""
    return tuple(
        replace(cell, budget_s=min(cell.budget_s, CELL_BUDGET_S))
        for name in ORDER
        for cell in _experiment(name).cells
    )


def _experiment(name: str) -> Experiment:
    """What trains does so on the procedural scenes, which are there on every machine."""
    return EXPERIMENTS[name] if name in EXPERIMENTS else TRAININGS[name](Setting())


def measured(cells: Sequence[Cell], out: Path, *, device: str, clock: Clock) -> Iterator["Record"]:
    """Predict and measure one cell after the other until the time is up."""
    from bench import runner

    if CELL_SHARE * clock.limit_s >= ceilings.CELL.budget_s:
        yield from runner.run([ceilings.CELL], out, source="measured", device=device)
    for cell in cells:
        if clock.left_s <= 0:
            return
        yield from runner.run([cell], out, source="predicted", device=device)
        limited = replace(
            cell, time_limit_s=max(1.0, min(clock.left_s, CELL_SHARE * clock.limit_s))
        )
        yield from runner.run([limited], out, source="measured", device=device)


def summary(records: Sequence["Record"], cells: Sequence[Cell], *, clock: Clock) -> str:
    """Say in a few lines what was done and what was not."""
    measured = (item for item in records if item.source == "measured")
    done = [item for item in measured if item.experiment != ceilings.NAME]
    wanted = sum(bool(cell.probes) for cell in cells)
    good = [item for item in done if item.failure is None]
    lines = [f"{len(good)} of {wanted} cells measured in {clock.limit_s - clock.left_s:.0f} s"]
    if wanted > len(done):
        lines.append(f"{wanted - len(done)} not begun: the time was up; call again to go on")
    lines += [
        f"{item.subject} {item.size} {item.mode}: {item.failure.kind}: {item.failure.reason}"
        for item in done
        if item.failure is not None
    ]
    return "\n".join(lines) + "\n"


def _run_tests(log: Path, *, limit_s: float) -> int:
    """Run the tests that need a GPU, their output into a file; 0 if they passed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        "-o",
        "addopts=--import-mode=importlib",
    ]
    root = Path(__file__).resolve().parent.parent
    with log.open("w", encoding="utf-8") as file:
        try:
            # The command is fixed.
            done = subprocess.run(  # noqa: S603
                command,
                cwd=root,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            sys.stdout.write(f"GPU tests: not done after {limit_s:.0f} s; see {log.name}\n")
            return 1
    last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
    sys.stdout.write(f"GPU tests: {last}; see {log.name}\n")
    return int(done.returncode != 0)


if __name__ == "__main__":
    console.guarded(PROGRAM, main)
