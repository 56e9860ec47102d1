"""Measures a new device within a time, what is worth most first: `python -m bench.reference --minutes 9 --out DIR`.

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
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from bench import called, cli, gpu_tests, run, shell, training
from bench.records import Record
from experiments import machine, reference
from experiments.reference import Step
from experiments.spec import Job, Measurement, TrainingJob
from experiments.training import Setting

PROGRAM = called("reference")
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
    texts = {
        "--minutes": "time limit for the whole run, in minutes",
        "--out": "folder of the records",
        "--device": "device to measure",
        "--no-tests": "skip the GPU tests",
        "--look": "only check that each kind of cell runs and is right; measures nothing",
        "--dataset": "",
        "--root": "",
        "--quiet": "",
        "--json": "",
    }
    settings: cli.Options = {
        "--minutes": {"type": cli.positive_seconds, "default": 9.0},
        "--out": {"required": True},
        "--device": {"choices": cli.COMPUTING},
        "--no-tests": {"action": "store_true"},
        "--look": {"action": "store_true"},
    }
    parser = cli.Parser(PROGRAM, __doc__, texts, settings)
    parser.example = "--look --out results/look"
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = parser().parse_args(arguments)
    setting = Setting(dataset=options.dataset, root=options.root)
    with cli.locked(options.out):
        clock = Clock(limit_s=60 * options.minutes, started_s=time.monotonic())
        device = run.resolve_device(options.device)
        training.find_data(cell for step in reference.steps(setting) for cell in step.cells)
        if not options.look:
            return run_steps(options, setting, device=device, clock=clock)
        from bench import look  # brings torch, not for --help

        with redirect_stdout(sys.stderr) if options.json else nullcontext():
            status, results = look.run(
                options.out, setting, device=device, has_time=lambda: clock.left_s > 0
            )
        return cli.give(options, status, looked_at=results)


def run_steps(options: Namespace, setting: Setting, *, device: str, clock: Clock) -> int:
    """Test and measure until the time is over; return the exit status."""
    tests = device == "cuda" and not options.no_tests
    log = options.out / "gpu-tests.txt"
    with redirect_stdout(sys.stderr) if options.json else nullcontext():
        status = gpu_tests.run_gpu_tests(log, limit_s=TESTS_SHARE * clock.left_s) if tests else 0
    plan = planned(setting, device=device)
    total = sum(cell.is_executed for step in plan for cell in step.cells)
    records = measured(plan, options.out, device=device, clock=clock)
    logged = records if options.quiet else _logged(records, clock)
    finished = cli.follow(logged, total=total, quiet=options.quiet, lines=False)
    if not options.json:
        sys.stdout.write(summary(finished, total, clock=clock))
    # What its time cuts off is for the next call.
    status = status or cli.status_of(finished, answers=(*cli.ANSWERS, "timeout"))
    return cli.give(options, status, records=finished)


def planned(setting: Setting, *, device: str) -> tuple[Step, ...]:
    """All steps, with as much time for a cell as the device needs, less the cells that ask nothing of a GPU."""

    def limited(cell: Job) -> Job:
        if not isinstance(cell, Measurement):
            return cell
        return replace(cell, budget_s=min(cell.budget_s, CELL_BUDGETS_S[device]))

    steps = []
    for step in reference.steps(setting):
        cells = (cell for cell in step.cells if device != "cuda" or reference.needs_device(cell))
        steps.append(replace(step, cells=tuple(map(limited, cells))))
    return tuple(steps)


def measured(plan: Sequence[Step], out: Path, *, device: str, clock: Clock) -> Iterator[Record]:
    """Measure one cell after the other until the time is up; trainings several at once on a GPU."""
    measure = partial(run.run_cells, out=out, source="measured", device=device)
    cells = [cell for step in plan for cell in step.cells]
    first: list[Job] = [machine.CELL] if CELL_SHARE * clock.limit_s >= machine.BUDGET_S else []
    with predicting(cells, out, device=device, clock=clock) as ahead:
        # In one run as far as can be: the process that a GPU's cells share ends with it.
        for trains, group in groupby(plan, key=lambda step: step.trains):
            group_cells = [*first, *(cell for step in group for cell in step.cells)]
            first = []
            at_once = trainings_at_once(group_cells, device=device) if trains else 1
            engine = until(clock, at_once=at_once, ahead=ahead)
            yield from measure(group_cells, engine=engine, slots=at_once)


def until(clock: Clock, *, at_once: int, ahead: Callable[[Job], object]) -> run.Engine:
    """An engine that begins no cell when the time is up, gives each a share of it, and calls `ahead` with it before."""

    def engine(cells: Sequence[Job], act: run.Act) -> Iterator[Record | run.Lost]:
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
            yield from run.local(at_once)(batch, act)

    return engine


def trainings_at_once(cells: Sequence[Job], *, device: str) -> int:
    """How many trainings share a GPU: as many as have cores, if the largest step fits so often."""
    if device != "cuda":
        return run.default_slots(device)
    needs = [run.predicted_need(None)]
    for cell in cells:
        if isinstance(cell, Measurement) and cell.mode == "train":
            record = run.predicted_record(cell, run.environment_of("meta", cell))
            needs.append(run.predicted_need(record.measures.predicted))
    fits = run.available_bytes("cuda") // max(needs)
    cores = run.environment_of(device, cells[0]).cores
    return max(1, min(MOST_TRAININGS, cores // CORES_A_TRAINING, fits))


@contextmanager
def predicting(
    cells: Sequence[Job], out: Path, *, device: str, clock: Clock
) -> Iterator[Callable[[Job], object]]:
    """Predict all cells; gives what is to be called before a cell is measured.

    On a GPU a thread goes ahead, so that the device waits for no prediction; the end of the block waits
    for it, and raises what went wrong there. On a processor that would disturb every reading: there each
    cell is predicted just before it runs, and what is left at the end.
    """
    stopped = threading.Event()
    least_s = LONGEST_PREDICTION_S if device == "cuda" else 0.0

    def engine(cells: Sequence[Job], act: run.Act) -> Iterator[Record | run.Lost]:
        for cell in cells:
            if stopped.is_set() or clock.left_s <= least_s:
                return
            yield act(cell, 0)

    records = run.run_cells(cells, out, source="predicted", device=device, engine=engine)
    if device != "cuda":
        left = {cell.id for cell in cells}

        def ahead(cell: Job) -> None:
            while cell.id in left and (record := next(records, None)) is not None:
                left.discard(record.cell)

        yield ahead
        deque(records, maxlen=0)
        return
    # Where it is a thread's, what is measured comes first.
    give_way = partial(os.nice, 10) if sys.platform == "linux" else None
    with ThreadPoolExecutor(1, "predictions", initializer=give_way) as pool:
        drained = pool.submit(deque, records, maxlen=0)
        try:
            yield lambda _: None
        except BaseException:
            stopped.set()
            raise
    drained.result()


def _logged(records: Iterator[Record], clock: Clock) -> Iterator[Record]:
    """Say a line for each record on standard error where that is no terminal, which has a bar."""
    for record in records:
        if not sys.stderr.isatty():
            sys.stderr.write(f"{clock.limit_s - clock.left_s:5.0f} s  {_line(record)}\n")
        yield record


def _line(record: Record) -> str:
    unusual = (
        name for name in (record.dtype, record.protocol) if name not in ("float32", "strict")
    )
    names = (record.experiment, record.subject, record.size, record.mode, *unusual)
    failure = record.failure
    outcome = f"{failure.kind}: {failure.reason}" if failure else "measured"
    return f"{' '.join(names)}: {outcome}"


def summary(records: Sequence[Record], total: int, *, clock: Clock) -> str:
    """Say in a few lines what was done and what was not."""
    done = [record for record in records if record.experiment != machine.NAME]
    failed = [record for record in done if record.failure is not None]
    spent_s = clock.limit_s - clock.left_s
    lines = [f"{len(done) - len(failed)} of {total} cells measured in {spent_s:.0f} s"]
    if total > len(done):
        lines.append(f"{total - len(done)} not begun: the time was up; call again to go on")
    return "\n".join([*lines, *map(_line, failed)]) + "\n"


if __name__ == "__main__":
    shell.guarded(PROGRAM, main)
