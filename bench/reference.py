"""What to run on a new device: `python -m bench.reference --minutes 9 --out DIR`.

In order of worth (`experiments.reference`) and until the time is up: the GPU tests, what the machine
reaches, Table 1, number formats, Table 2, the crossover, trainings, and all else. Records are written as
they come and a later call goes on; nothing needs a network, nox or uv.

`--look` calls each kind of cell once on small maps instead, holds it against float64, and says in a line
each whether it runs here and is right: what to do first where this code has never run.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cli
from experiments import machine, reference
from experiments.reference import Step
from experiments.spec import Job, Measurement, TrainingJob
from experiments.training import Setting

if TYPE_CHECKING:
    from argparse import Namespace

    from bench.records import Record
    from bench.run import Act, Engine, Lost

PROGRAM = "python -m bench.reference"
# Of the whole time, for the tests and for one cell.
TESTS_SHARE = 0.4
CELL_SHARE = 0.25
# No prediction is begun beside a GPU in the last seconds, since the run would wait for it; attention in
# chunks at 512x512 takes 21 s on a slow core.
LONGEST_PREDICTION_S = 25.0
# Seconds of timing: a GPU needs far less than a table asks for, a processor is kept from starving the rest.
CELL_BUDGETS_S = {"cpu": 8.0, "cuda": 4.0}
# Trainings of small networks fill a GPU to a few percent; each wants some cores for its images.
MOST_TRAININGS = 5
CORES_A_TRAINING = 3
TESTS_LOG = "gpu-tests.txt"
ROOT = Path(__file__).resolve().parent.parent


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


def parser() -> cli.Parser:
    """Describe the command line."""
    parser = cli.Parser(prog=PROGRAM, description=__doc__.partition("\n")[2])
    add = partial(cli.option, parser)
    add("--minutes", type=cli.positive_seconds, default=9.0, help="time for the whole")
    add("--out", required=True, help="folder of the records")
    add("--device", choices=cli.COMPUTING, help="what to measure")
    add("--no-tests", action="store_true", help="leave the GPU tests out")
    add("--look", action="store_true", help="does each kind run, and is it right? measures nothing")
    add("--dataset")
    add("--root")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 1 where a GPU test or a kind failed."""
    options = parser().parse_args(arguments)
    setting = Setting(dataset=options.dataset, root=options.root)
    with cli.locked(options.out):
        clock = Clock(limit_s=60 * options.minutes, started_s=time.monotonic())
        from bench.run import resolve_device  # brings torch, not for --help
        from bench.training import find_data

        device = resolve_device(options.device)
        find_data(cell for step in reference.steps(setting) for cell in step.cells)
        if options.look:
            from bench import look

            return look.run(options.out, setting, device=device, has_time=lambda: clock.left_s > 0)
        return run(options, setting, device=device, clock=clock)


def run(options: "Namespace", setting: Setting, *, device: str, clock: Clock) -> int:
    """Test and measure until the time is over; return the exit status."""
    status = 0
    if device == "cuda" and not options.no_tests:
        status = _run_tests(options.out / TESTS_LOG, limit_s=TESTS_SHARE * clock.left_s)
    plan = planned(setting, device=device)
    total = sum(cell.is_executed for step in plan for cell in step.cells)
    records = cli.follow(
        _logged(measured(plan, options.out, device=device, clock=clock), clock), total=total
    )
    sys.stdout.write(summary(records, total, clock=clock))
    return status


def planned(setting: Setting, *, device: str) -> tuple[Step, ...]:
    """All steps, with as much time for a cell as the device needs, less the cells that ask nothing of a GPU."""
    return tuple(
        replace(
            step,
            cells=tuple(
                replace(cell, budget_s=min(cell.budget_s, CELL_BUDGETS_S[device]))
                if isinstance(cell, Measurement)
                else cell
                for cell in step.cells
                if device != "cuda" or reference.needs_device(cell)
            ),
        )
        for step in reference.steps(setting)
    )


def measured(plan: Sequence[Step], out: Path, *, device: str, clock: Clock) -> Iterator["Record"]:
    """Measure one cell after the other until the time is up; trainings several at once on a GPU."""
    from bench.run import run_cells

    measure = partial(run_cells, out=out, source="measured", device=device)
    cells = [cell for step in plan for cell in step.cells]
    first: list[Job] = [machine.CELL] if CELL_SHARE * clock.limit_s >= machine.BUDGET_S else []
    with _predicting(cells, out, device=device, clock=clock) as ahead:
        # In one run as far as can be: the process that a GPU's cells share ends with it.
        for trains, group in groupby(plan, key=lambda step: step.trains):
            group_cells = [*first, *(cell for step in group for cell in step.cells)]
            first = []
            at_once = trainings_at_once(group_cells, device=device) if trains else 1
            engine = until(clock, at_once=at_once, ahead=ahead)
            yield from measure(group_cells, engine=engine, slots=at_once)


def until(clock: Clock, *, at_once: int, ahead: Callable[[Job], object]) -> "Engine":
    """An engine that begins no cell when the time is up, and gives each a share of it.

    Args:
        clock: what is left.
        at_once: cells that run at the same time.
        ahead: called with each cell before it begins.
    """
    from bench.run import local

    def engine(cells: Sequence[Job], act: "Act") -> "Iterator[Record | Lost]":
        for first in range(0, len(cells), at_once):
            if clock.left_s <= 0:
                return
            whole_s = max(1.0, clock.left_s)
            share_s = max(1.0, min(whole_s, CELL_SHARE * clock.limit_s))
            batch = [
                replace(cell, time_limit_s=whole_s if isinstance(cell, TrainingJob) else share_s)
                for cell in cells[first : first + at_once]
            ]
            for cell in batch:
                ahead(cell)
            yield from local(at_once)(batch, act)

    return engine


def trainings_at_once(cells: Sequence[Job], *, device: str) -> int:
    """How many trainings share a GPU: as many as have cores, if the largest step fits so often."""
    from bench.run import (
        PROCESS_BYTES,
        available_bytes,
        default_slots,
        environment_of,
        predicted_record,
    )

    if device != "cuda":
        return default_slots(device)
    largest = 0
    for cell in cells:
        if isinstance(cell, Measurement) and cell.mode == "train":
            memory = predicted_record(cell, environment_of("meta", cell)).measures.predicted
            largest = max(largest, memory.peak_bytes if memory else 0)
    fits = available_bytes("cuda") // (largest + PROCESS_BYTES)
    cores = environment_of(device, cells[0]).cores
    return max(1, min(MOST_TRAININGS, cores // CORES_A_TRAINING, fits))


@contextmanager
def _predicting(
    cells: Sequence[Job], out: Path, *, device: str, clock: Clock
) -> Iterator[Callable[[Job], object]]:
    """Predict all cells; gives what is to be called before a cell is measured.

    On a GPU a thread goes ahead, so that the device waits for no prediction. On a processor that would
    disturb every reading: there each cell is predicted just before it runs, and what is left at the end.
    """
    from bench.run import one_by_one, run_cells

    stopped = threading.Event()
    least_s = LONGEST_PREDICTION_S if device == "cuda" else 0.0

    def engine(cells: Sequence[Job], act: "Act") -> "Iterator[Record | Lost]":
        for cell in cells:
            if stopped.is_set() or clock.left_s <= least_s:
                return
            yield from one_by_one([cell], act)

    predicted = run_cells(cells, out, source="predicted", device=device, engine=engine)
    if device == "cuda":
        with _drained(predicted, stopped):
            yield lambda _: None
        return
    left = {cell.id for cell in cells}

    def ahead(cell: Job) -> None:
        while cell.id in left:
            item = next(predicted, None)
            if item is None:
                return
            left.discard(item.cell)

    yield ahead
    for _ in predicted:
        continue


@contextmanager
def _drained(records: Iterator["Record"], stopped: threading.Event) -> Iterator[None]:
    """Take records in a thread; the end of the block waits for it, and raises what went wrong there."""

    def drain() -> None:
        if sys.platform == "linux":  # where it is a thread's: what is measured comes first
            os.nice(10)
        for _ in records:
            continue

    with ThreadPoolExecutor(1, thread_name_prefix="predictions") as pool:
        drained = pool.submit(drain)
        try:
            yield
        except BaseException:
            stopped.set()
            raise
    drained.result()


def _logged(records: Iterator["Record"], clock: Clock) -> Iterator["Record"]:
    """Say a line for each record on standard error where that is no terminal, which has a bar."""
    for item in records:
        if not sys.stderr.isatty():
            failure = item.failure
            outcome = f"{failure.kind}: {failure.reason}" if failure else "measured"
            spent_s = clock.limit_s - clock.left_s
            sys.stderr.write(f"{spent_s:5.0f} s  {_name(item)}: {outcome}\n")
        yield item


def _name(item: "Record") -> str:
    unusual = [value for value in (item.dtype, item.protocol) if value not in ("float32", "strict")]
    return " ".join((item.experiment, item.subject, item.size, item.mode, *unusual))


def summary(records: Sequence["Record"], total: int, *, clock: Clock) -> str:
    """Say in a few lines what was done and what was not."""
    done = [item for item in records if item.experiment != machine.NAME]
    good = [item for item in done if item.failure is None]
    lines = [f"{len(good)} of {total} cells measured in {clock.limit_s - clock.left_s:.0f} s"]
    if total > len(done):
        lines.append(f"{total - len(done)} not begun: the time was up; call again to go on")
    lines += [
        f"{_name(item)}: {item.failure.kind}: {item.failure.reason}"
        for item in done
        if item.failure is not None
    ]
    return "\n".join(lines) + "\n"


def tests() -> tuple[str, ...]:
    """Files that have tests for a GPU; all others would be imported in vain, which takes most of a minute."""
    folder = ROOT / "tests"
    return tuple(
        str(path.relative_to(ROOT))
        for path in sorted(folder.rglob("test_*.py"))
        if "mark.gpu" in path.read_text(encoding="utf-8")
    )


def _run_tests(log: Path, *, limit_s: float) -> int:
    """Run the tests that need a GPU in a process that ends with this one; 0 if they passed."""
    files = tests()
    if not files:
        sys.stdout.write("GPU tests: there are none beside this code\n")
        return 0
    arguments = [
        *("-q", "-m", "gpu", "-p", "no:cacheprovider"),
        # Neither a file that can't be imported here keeps others from being run, nor a warning of another version.
        *("-o", "addopts=--import-mode=importlib", "--continue-on-collection-errors"),
        *("-W", "default"),
        *files,
    ]
    from bench.records import Failure  # brings pydantic, not for --help
    from bench.workers import call

    # Of these tests alone, should they die before they say a word.
    log.write_text("", encoding="utf-8")
    outcome = call("bench.reference:run_pytest", (arguments, ROOT, log), limit_s=limit_s)
    if isinstance(outcome, Failure) and outcome.kind == "timeout":
        sys.stdout.write(f"GPU tests: not done after {limit_s:.0f} s; see {log.name}\n")
        return 1
    last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
    sys.stdout.write(f"GPU tests: {last}; see {log.name}\n")
    return int(outcome != 0)


def run_pytest(message: tuple[Sequence[str], Path, Path]) -> int:
    """Run tests in this process, whose output goes into a file; return pytest's exit status."""
    arguments, root, log = message
    with log.open("w", encoding="utf-8") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    import pytest

    os.chdir(root)
    sys.path.insert(0, str(root))
    return int(pytest.main(list(arguments)))


if __name__ == "__main__":
    cli.guarded(PROGRAM, main)
