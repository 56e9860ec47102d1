"""Time series of readings per device, from the records of many runs, and where they change their level.

Steps follow a plain rule for charts, never for a gate. Within a stretch, the place is looked for that leaves the least
sum of absolute differences from the medians of both parts. It is a step if their medians differ by more than the margin
and by more than `SCATTERS` times the scatter: 1.0483 times the median absolute difference of neighbours, a standard
deviation for normal noise, which few steps don't change. Then both parts are looked through likewise. In logarithms, so
that a doubling and a halving are as far.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench import records, shell
from bench.analysis import rounds_of
from bench.records import CALL_MEMORY, CLOCK_TIMES, Comparison, Environment, Record

EXACT = ("parameters", "MACs", "predicted peak")
SERIES_UNITS = {"MACs": "MAC", "parameters": "", "predicted peak": "bytes", CALL_MEMORY: "bytes"}
LEVEL_POINTS = 4
SCATTERS = 4.0
STEP_MARGIN = 0.02

SeriesKey = tuple[str, str, str]  # device, quantity, cell


class LevelStep(NamedTuple):
    """A change of level, between the medians before and after."""

    at: int  # the first point of the new level
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """The new level over the old one."""
        return self.after / self.before


class Point(NamedTuple):
    """One reading: when, of which commit, how much in base units."""

    at: str
    commit: str
    value: float


class TimeSeries(NamedTuple):
    """One quantity of one cell on one device."""

    device: str
    quantity: str
    cell: str
    points: tuple[Point, ...]

    @property
    def unit(self) -> str:
        """The base unit of its values."""
        return SERIES_UNITS.get(self.quantity, "s")

    @property
    def steps(self) -> tuple[LevelStep, ...]:
        """Where its level changes; what has no scatter changes with every other value."""
        find = value_changes if self.quantity in EXACT else level_steps
        return find([point.value for point in self.points])


def read_series(folder: Path) -> tuple[TimeSeries, ...]:
    """Series of all records and comparisons below a folder, of which there must be some, by device, quantity and cell.

    Of a gate's output the head is taken; its base is another run's head.
    """
    if not folder.is_dir():
        hint = shell.nearest_path(folder)
        msg = (
            f"folder {str(folder)!r} does not exist; {hint}give one that holds the records of runs"
        )
        raise ValueError(msg)
    readings: dict[SeriesKey, dict[tuple[str, str], Point]] = {}
    for key, point in _readings(folder):
        # A copy of a record lies in the folders of later runs that went on with it.
        readings.setdefault(key, {})[point.at, point.commit] = point
    if not readings:
        msg = f"folder {str(folder)!r} has no records of runs; give one that holds some"
        raise ValueError(msg)
    return tuple(
        TimeSeries(*key, tuple(sorted(points.values()))) for key, points in sorted(readings.items())
    )


def _readings(folder: Path) -> Iterator[tuple[SeriesKey, Point]]:
    for file in sorted(folder.rglob("*.jsonl")):
        is_base = file.parent.name == "base" and (file.parent.parent / "head").is_dir()
        if file.name == records.COMPARISONS_FILE:
            for comparison in records.read_comparisons(file):
                yield from _of_comparison(comparison)
        elif not is_base:
            for record in records.read_records(file):
                yield from _of_record(record)


def _of_record(record: Record) -> Iterator[tuple[SeriesKey, Point]]:
    where, at, measures = record.environment, record.created_at, record.measures
    if where is None or record.source == "published" or record.failure or not _is_moment(at):
        return
    counts, predicted, memory = measures.counts, measures.predicted, measures.memory
    values = [
        ("parameters", counts and counts.parameters),
        ("MACs", counts and not counts.uncounted and counts.macs),
        ("predicted peak", predicted and predicted.peak_bytes),
        (CALL_MEMORY, memory and memory.added_bytes),
        # As a record has a clock that decides, so does a series; the others would say it again.
        *(
            (CLOCK_TIMES[timing.clock], statistics.median(timing.samples_s))
            for timing in measures.timings
            if timing.clock in CLOCK_TIMES and timing.cache == "hot" and timing.samples_s
        ),
    ]
    for quantity, value in values:
        if value:
            device = "any device" if quantity in EXACT else _series_device(where)
            point = Point(at, where.commit or "", float(value))
            yield (device, quantity, records.cell_name(record)), point


def _of_comparison(comparison: Comparison) -> Iterator[tuple[SeriesKey, Point]]:
    where, at = comparison.environment, comparison.created_at
    is_cell = comparison.gate_role == "cell" and comparison.rounds
    if not is_cell or where is None or not _is_moment(at):
        return
    clock = comparison.clocks[0]
    medians = [statistics.median(each.second) for each in rounds_of(comparison, clock)]
    key = (_series_device(where), f"{CLOCK_TIMES[clock]}, by turns", comparison.gate_cell)
    yield key, Point(at, where.commit or "", statistics.median(medians))


def _is_moment(text: str) -> bool:
    # What has no time, as records do, has no place in a history.
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _series_device(where: Environment) -> str:
    """A device as series distinguish it: a driver or a library is a step in them, no series of its own."""
    if where.device == "cuda":
        return where.device_name
    return f"{where.device_name}, {where.threads} thread{'s' if where.threads > 1 else ''}"


def level_steps(values: Sequence[float]) -> tuple[LevelStep, ...]:
    """Steps of a series of readings, the oldest first; a value that is not above zero is a ValueError."""
    if not all(0 < value < math.inf for value in values):
        msg = "a series has values that are not above zero; leave them out"
        raise ValueError(msg)
    return _steps_at(_level_starts([math.log(value) for value in values], 0), values)


def value_changes(values: Sequence[float]) -> tuple[LevelStep, ...]:
    """Places at which a series without scatter is another value than before."""
    places = [at for at, (before, after) in enumerate(pairwise(values), 1) if before != after]
    return _steps_at(places, values)


def _steps_at(places: Sequence[int], values: Sequence[float]) -> tuple[LevelStep, ...]:
    edges = [0, *places, len(values)]
    levels = [statistics.median(values[start:end]) for start, end in pairwise(edges) if end > start]
    return tuple(LevelStep(at, *ends) for at, ends in zip(places, pairwise(levels), strict=True))


def _level_starts(logs: Sequence[float], offset: int) -> list[int]:
    places = range(LEVEL_POINTS, len(logs) - LEVEL_POINTS + 1)
    if not places:
        return []

    def deviations(part: Sequence[float]) -> float:
        middle = statistics.median(part)
        return sum(abs(value - middle) for value in part)

    place = min(places, key=lambda at: deviations(logs[:at]) + deviations(logs[at:]))
    before, after = logs[:place], logs[place:]
    scatter = 1.0483 * statistics.median(abs(later - sooner) for sooner, later in pairwise(logs))
    apart = abs(statistics.median(after) - statistics.median(before))
    if apart <= max(math.log1p(STEP_MARGIN), SCATTERS * scatter):
        return []
    place += offset
    return [*_level_starts(before, offset), place, *_level_starts(after, place)]
