"""Series over time, per device, from the records of many runs. No torch."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.analysis import rounds_of
from bench.records import (
    COMPARISONS_FILE,
    Comparison,
    Environment,
    Record,
    read_comparisons,
    read_records,
)
from bench.regression import exact
from bench.regression.verdicts import CLOCKS, MEMORY, compared_cell, role_of
from reports.gate import change_points
from reports.gate.change_points import Step

# As a record has a clock that decides, so does a series; the others would say it again.
HOT = "hot"
UNITS = {"MACs": "MAC", "parameters": "", "predicted peak": "bytes", MEMORY: "bytes"}
EXACT = ("parameters", "MACs", "predicted peak")


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One reading: when, of which commit, how much in base units."""

    at: str
    commit: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One quantity of one cell on one device."""

    device: str
    cell: str
    quantity: str
    unit: str
    points: tuple[Point, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Where its level changes; what has no scatter changes with every other value."""
        values = [point.value for point in self.points]
        if self.quantity in EXACT:
            return change_points.changes(values)
        return change_points.find(values)


def read_series(folder: Path) -> tuple[Series, ...]:
    """Series of all records and comparisons below a folder, by device, quantity and cell.

    Of a gate's output the head is taken; its base is another run's head.

    Raises:
        ValueError: there is no such folder, it has nothing, or a line is no record.
    """
    if not folder.is_dir():
        msg = f"folder {str(folder)!r} does not exist; give one that holds the records of runs"
        raise ValueError(msg)
    found: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
    for device, cell, quantity, point in _points(folder):
        # A copy of a record lies in the folders of later runs that went on with it.
        found.setdefault((device, quantity, cell), {})[point.at, point.commit] = point.value
    if not found:
        msg = f"folder {str(folder)!r} has no records of runs; give one that holds some"
        raise ValueError(msg)
    return tuple(
        Series(
            device=device,
            cell=cell,
            quantity=quantity,
            unit=UNITS.get(quantity, "s"),
            points=tuple(
                Point(at=at, commit=commit, value=value)
                for (at, commit), value in sorted(points.items())
            ),
        )
        for (device, quantity, cell), points in sorted(found.items())
    )


def _points(folder: Path) -> Iterator[tuple[str, str, str, Point]]:
    for file in sorted(folder.rglob("*.jsonl")):
        is_base = file.parent.name == "base" and (file.parent.parent / "head").is_dir()
        if file.name == COMPARISONS_FILE:
            for made in read_comparisons(file):
                yield from _of_comparison(made)
        elif not is_base:
            for one in read_records(file):
                yield from _of_record(one)


def _of_record(one: Record) -> Iterator[tuple[str, str, str, Point]]:
    where = one.environment
    if where is None or one.source == "published" or one.failure or not is_moment(one.created_at):
        return
    for quantity, value in _values(one):
        device = "any device" if quantity in EXACT else device_of(where)
        if value:
            yield device, exact.name_of(one), quantity, _point(one.created_at, where, float(value))


def _values(one: Record) -> Iterator[tuple[str, float | None]]:
    measures = one.measures
    if measures.counts:
        yield "parameters", measures.counts.parameters
        yield "MACs", measures.counts.macs
    if measures.predicted:
        yield "predicted peak", measures.predicted.peak_bytes
    if measures.memory:
        yield MEMORY, measures.memory.added_bytes
    for timing in measures.timings:
        if timing.clock in CLOCKS and timing.cache == HOT and timing.samples_s:
            yield CLOCKS[timing.clock], statistics.median(timing.samples_s)


def _of_comparison(made: Comparison) -> Iterator[tuple[str, str, str, Point]]:
    """The head's time, as the median over rounds."""
    is_cell = role_of(made) == "cell" and is_moment(made.created_at)
    if not (is_cell and made.rounds) or made.environment is None:
        return
    where, clock = made.environment, made.clocks[0]
    medians = [statistics.median(one.second) for one in rounds_of(made, clock)]
    value = statistics.median(medians)
    named = f"{CLOCKS[clock]}, by turns"
    yield device_of(where), compared_cell(made), named, _point(made.created_at, where, value)


def is_moment(text: str) -> bool:
    """Whether this says when, as records do; what has no time has no place in a history."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _point(at: str, where: Environment, value: float) -> Point:
    return Point(at=at, commit=where.commit or "", value=value)


def device_of(where: Environment) -> str:
    """A device as series are told apart: a driver or a library is a step in them, no series of its own."""
    if where.device == "cuda":
        return where.device_name
    return f"{where.device_name}, {where.threads} thread{'s' if where.threads > 1 else ''}"
