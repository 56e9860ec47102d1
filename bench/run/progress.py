"""How far a run is and how long it will take, from what its cells took so far; told in plain lines where no bar is.

Cells of one stage (predicted, trained, measured alone) are alike enough that one factor corrects what was expected
of all of them: what the finished ones took on the wall clock, over what they were expected to take.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from bench.records import SETTING_AXES, Failure, Record
from bench.run.job_records import Source, timestamp
from bench.shell import rough_time
from experiments.spec import Job, Measurement, TrainingJob

# Two cores of a server: the start of a cell, its prediction, a pixel of a training of the tiny network, an evaluation.
START_S, PREDICTION_S, PIXEL_S, EVALUATION_S = 2.0, 0.15, 0.9e-6, 2.0
# Where nothing says how long a cell is timed.
PROBE_S = 15.0
SILENCE_S = 60.0
NOT_RUN = ("unavailable", "foreseen")


def expected_s(cell: Job, source: Source) -> float:
    """Seconds that a cell may take, before any was seen."""
    if source == "predicted":
        return PREDICTION_S
    if isinstance(cell, TrainingJob):
        recipe = cell.training.recipe
        return EVALUATION_S + cell.training.iterations * recipe.batch * recipe.crop.pixels * PIXEL_S
    budget_s = (
        cell.budget_s if isinstance(cell, Measurement) and "timing" in cell.probes else PROBE_S
    )
    return START_S + budget_s


@dataclass
class Stage:
    """Cells that are done in one way, `slots` at once."""

    source: Source
    cells: Sequence[Job]
    slots: int = 1
    spent_s: float = 0.0
    done_s: float = 0.0  # what was expected of those that took it
    rows: dict[str, list[Job]] = field(
        init=False
    )  # left to do, by id; rows of one id are one measurement

    def __post_init__(self) -> None:
        self.rows = {}
        for cell in self.cells:
            self.rows.setdefault(cell.id, []).append(cell)

    @property
    def left_s(self) -> float:
        """Seconds on the wall clock."""
        expected = sum(expected_s(same[0], self.source) for same in self.rows.values())
        factor = self.spent_s / self.done_s if self.done_s else 1 / self.slots
        return expected * factor


class Progress:
    """Counts records as they come; those of earlier runs teach nothing about time."""

    def __init__(
        self, stages: Sequence[Stage], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stages = stages
        self.total = sum(len(stage.cells) for stage in stages)
        self.done = 0
        self._clock, self._last_s, self._began = clock, clock(), timestamp()
        # The thread that writes lines looks at what another one changes.
        self._lock = threading.RLock()

    def finish(self, record: Record) -> None:
        """Take a record into account."""
        with self._lock:
            self._finish(record)

    def _finish(self, record: Record) -> None:
        now_s = self._clock()
        self.done += 1
        for stage in self.stages:
            if stage.source == record.source and record.cell in stage.rows:
                same = stage.rows[record.cell]
                expected = expected_s(same.pop(), stage.source)
                if not same:
                    del stage.rows[record.cell]
                if (record.created_at or "") >= self._began:
                    stage.spent_s += now_s - self._last_s
                    stage.done_s += 0 if same else expected
                break
        self._last_s = now_s

    @property
    def left_s(self) -> float:
        """Seconds until the last record; what is under way counts as if the time since the last one were its own."""
        with self._lock:
            waited_s = self._clock() - self._last_s
            return max(0.0, sum(stage.left_s for stage in self.stages) - waited_s)

    @property
    def is_predicted(self) -> bool:
        """Whether all predictions are there."""
        return not any(stage.rows for stage in self.stages if stage.source == "predicted")

    @property
    def running(self) -> tuple[str, ...]:
        """What is done now: stages follow one another, and their cells begin in order."""
        with self._lock:
            for stage in self.stages:
                if stage.rows:
                    firsts = [same[0] for same in stage.rows.values()][: stage.slots]
                    return tuple(map(describe, firsts))
        return ()

    @property
    def words(self) -> tuple[str, ...]:
        """Sentences for a page that is not complete yet."""
        running = f"Running now: {', '.join(self.running)}." if self.running else ""
        counted = f"{self.done} of {self.total} records are there; {remaining(self.left_s)}."
        written = f"Written at {timestamp()}, and anew as long as the run goes on."
        return tuple(filter(None, (counted, running, written)))


def describe(cell: Job) -> str:
    """Name a cell in a line."""
    return _line(cell.experiment, cell.name, str(cell.size), cell.axes)


def _line(experiment: str, name: str, size: str, axes: Mapping[str, object]) -> str:
    """Name a row, by its own axes where it is none of a block or network."""
    if name == experiment:
        own = (str(value) for axis, value in axes.items() if axis not in ("seed", *SETTING_AXES))
        name = " ".join(own) or name
    seed = f" seed {axes['seed']}" if "seed" in axes else ""
    return f"{experiment} {name} {size}{seed}"


def _no_reading(failure: Failure | None) -> str:
    if failure is None:
        return ""
    # What a machine lacks, or is known not to hold, is no fault of a run.
    return f" not run: {failure.reason}" if failure.kind in NOT_RUN else f" failed ({failure.kind})"


def remaining(seconds: float) -> str:
    """Say how long it takes yet."""
    return f"{rough_time(seconds)} are left"


class _Lines:
    """Lines about records; one after another that are not run for one reason have two."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self.written = threading.Event()
        self._progress, self._stream = progress, stream
        self._alike: list[Record] = []  # the first of them has a line

    def write(self, text: str) -> None:
        progress = self._progress
        done, left = f"[{progress.done}/{progress.total}]", remaining(progress.left_s)
        self._stream.write(f"{done} {text}; {left}\n")
        self._stream.flush()
        self.written.set()

    def tell(self, record: Record) -> None:
        if record.source != "measured":
            return
        if self._alike and record.failure == self._alike[0].failure:
            self._alike.append(record)
            return
        self.end_alike()
        name = _line(record.experiment, record.subject, record.size, record.axes)
        self.write(f"{name}{_no_reading(record.failure)}")
        if record.failure and record.failure.kind in NOT_RUN:
            self._alike.append(record)

    def end_alike(self) -> None:
        if len(self._alike) > 1:
            self.write(f"{len(self._alike) - 1} more not run for that reason")
        self._alike.clear()


@contextmanager
def plain_lines(
    progress: Progress, stream: TextIO | None = None, *, silence_s: float = SILENCE_S
) -> Iterator[Callable[[Record], None]]:
    """Write a line for each cell that was executed, and one where nothing else was written for so long.

    Gives what is to be called with each record, after `progress` has it. Predictions come many a second, and
    are counted in the lines of others.
    """
    ended, lines = threading.Event(), _Lines(progress, stream or sys.stderr)

    def keep_telling() -> None:
        while not ended.is_set():
            if not lines.written.wait(silence_s) and not ended.is_set():
                lines.write(f"running {', '.join(progress.running) or 'the last steps'}")
            lines.written.clear()

    watch = threading.Thread(target=keep_telling, name="progress", daemon=True)
    watch.start()
    try:
        yield lines.tell
    finally:
        ended.set()
        lines.written.set()
        watch.join()
        lines.end_alike()
