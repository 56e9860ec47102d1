"""Tables of the experiment `crossover`: where APNB overtakes NB, and how their costs grow.

Each study, a device and a number format, has four: the crossing with the answer in words, fitted
exponents, every size and arm, and the number of anchors.
"""

from collections.abc import Callable, Iterator
from functools import partial

from reports.crossover.answer import (
    Contest,
    contests,
    crossing_size,
    crossover_answer,
    interval_text,
    square_map,
)
from reports.crossover.curves import CROSSOVER, Study, crossover_studies, time_bounds
from reports.crossover.scaling import exponent, upper_half
from reports.model import (
    INCREMENT_NOTE,
    MEASURED_MEMORY,
    Chapter,
    Column,
    Field,
    Frame,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    axis_field,
    axis_value,
    measuring_conditions,
    memory_column,
    predicted_value,
    ratio_of,
    tabulate,
    text_column,
    time_field,
)

REFERENCE = "apnb"
CROSSING = (
    "The crossing is interpolated between two sizes, straight in the logarithms. Its ends follow from the "
    "intervals of the times, half of which is taken as 5 % at least (1 % on a GPU), since another "
    "process has its own luck, and as 25 % (and all calls) where fewer than 8 calls fitted into the time."
)
FIT = (
    "Exponents are slopes of the logarithms over the upper half of the range of sizes, with Student's 95 % "
    "interval from the scatter of the sizes about the line. Those of MACs and of predicted memory have no "
    "noise, hence no interval. A call costs a + b N + c N^2 with equal parts of N and N^2 at N = 2 C "
    "for NB, so that its exponent nears 2 beyond that size alone."
)
TO_REFERENCE = f"A ratio is that arm over {REFERENCE} at the same size; above 1 the arm needs more."
ARM = axis_field("block", "arm")
MEMORIES = (
    MEASURED_MEMORY,
    Field(
        memory_column("memory", "predicted"),
        lambda row: predicted_value(row, "predicted_increment_bytes"),
        note=INCREMENT_NOTE,
    ),
)


def crossover_tables(frame: Frame) -> tuple[Table, ...]:
    """All tables that the records of `crossover` support."""
    return tuple(table for study in crossover_studies(frame) for table in _study_tables(study))


def _study_tables(study: Study) -> Iterator[Table]:
    if study.device:
        yield crossing_table(study)
    yield exponent_table(study)
    yield size_table(study)
    if study.anchored:
        yield anchor_table(study)


def crossing_table(study: Study) -> Table:
    """From which size APNB is the faster one, in three comparisons, with the answer in words."""
    ratio = partial(Column, digits=2, source="measured")
    return Table(
        name=f"crossover{study.suffix}",
        title=f"Crossover: from which size APNB beats NB, {study.place}",
        columns=(
            *map(text_column, ("compared", "APNB faster from", "at the earliest", "at the latest")),
            text_column("smallest size"),
            ratio("NB / APNB, smallest"),
            text_column("largest size"),
            ratio("NB / APNB, largest"),
        ),
        rows=tuple(map(_crossing_row, contests(study))),
        caption=measuring_conditions(study.rows),
        notes=(crossover_answer(study), CROSSING),
    )


def _crossing_row(contest: Contest) -> tuple[Value, ...]:
    crossing = contest.crossing
    if crossing is None:
        return (contest.name, *(Mark("fewer than two sizes have a time of both"),) * 7)
    ratios = crossing.ratios
    ends = (min(ratios), max(ratios))
    sizes = (crossing.at, crossing.low, crossing.high)
    return (
        contest.name,
        *(crossing_size(size, among=ratios) for size in sizes),
        *(value for end in ends for value in (square_map(end), ratios[end])),
    )


def exponent_table(study: Study) -> Table:
    """Fitted exponents of time, memory and MACs against N, a row for each arm."""
    number = partial(Column, digits=2)
    timed = (
        text_column("timed from"),
        text_column("to"),
        number("time", source="measured"),
        number("memory", source="measured"),
        number("MACs there"),
        number("memory there", source="predicted"),
    )
    return Table(
        name=f"crossover-exponents{study.suffix}",
        title=f"Crossover: exponents of N, {study.place}",
        columns=(
            ARM.column,
            *(timed if study.device else ()),
            text_column("all from"),
            text_column("to the largest"),
            number("MACs"),
            number("memory", source="predicted"),
        ),
        rows=tuple((arm, *_exponents(study, arm)) for arm in study.arms),
        caption=measuring_conditions(study.rows),
        notes=(FIT,),
    )


def _exponents(study: Study, arm: str) -> Iterator[Value]:
    counted = tuple(study.numbers(arm, name) for name in ("macs", "predicted_increment_bytes"))
    times = {size: time.median for size, time in study.times(arm).items()}
    if study.device:
        sizes = upper_half(times)
        yield from _range(sizes)
        for curve in (times, study.numbers(arm, "memory_bytes")):
            yield exponent(curve, sizes) or Mark("fewer than three sizes were measured")
        yield from (_without_ends(exponent(curve, sizes)) for curve in counted)
    sizes = upper_half(counted[0])
    yield from _range(sizes)
    yield from (_without_ends(exponent(curve, sizes)) for curve in counted)


def _range(sizes: tuple[int, ...]) -> tuple[Value, Value]:
    return (square_map(sizes[0]), square_map(sizes[-1])) if sizes else (None, None)


def _without_ends(fit: Interval | None) -> Value:
    return Mark("fewer than three sizes") if fit is None else fit.median


def size_table(study: Study) -> Table:
    """Every size and arm: time, memory, and how many times plain APNB's that is."""
    plain = {row["size"]: row for row in study.arms.get(REFERENCE, {}).values()}

    def over_plain(read: Callable[[Row], Value], row: Row) -> Value:
        reference = plain.get(row["size"])
        return None if reference is None else ratio_of(read(row), read(reference))

    time_ratio = partial(over_plain, time_bounds)
    memory_ratio = partial(over_plain, lambda row: row["predicted_increment_bytes"])
    order = list(study.sizes.values())
    return tabulate(
        sorted(study.rows, key=lambda row: order.index(row["size"])),
        (
            axis_field("size"),
            ARM,
            time_field(2),
            Field(Column("time ratio", "", 2), time_ratio, optional=True, note=TO_REFERENCE),
            *MEMORIES,
            Field(
                Column("memory ratio", "", 2, source="predicted"), memory_ratio, note=TO_REFERENCE
            ),
        ),
        name=f"crossover-sizes{study.suffix}",
        title=f"Crossover: time and memory against N, {study.place}",
        caption=measuring_conditions(study.rows),
        group_by=(0,),
    )


def anchor_table(study: Study) -> Table:
    """Time and memory of APNB against the number of anchors S."""
    rows = [row for arm in study.anchored.values() for row in arm.values()]
    first = {arm: next(iter(by_anchors.values())) for arm, by_anchors in study.anchored.items()}
    fewest = min(row["axes"]["anchors"] for row in rows)

    def time_ratio(row: Row) -> Value:
        return ratio_of(time_bounds(row), time_bounds(first[row["axes"]["block"]]))

    return tabulate(
        sorted(rows, key=lambda row: row["axes"]["anchors"]),
        (
            Field(Column("anchors S"), axis_value("anchors")),
            ARM,
            time_field(2),
            Field(
                Column("time ratio", "", 2),
                time_ratio,
                optional=True,
                note=f"A ratio is to the same arm with S = {fewest}.",
            ),
            *MEMORIES,
        ),
        name=f"crossover-anchors{study.suffix}",
        title=f"Crossover: time and memory against S at {rows[0]['size']}, {study.place}",
        caption=measuring_conditions(rows),
        notes=tuple(filter(None, (_growth(study, arm) for arm in study.anchored))),
        group_by=(0,),
    )


def _growth(study: Study, arm: str) -> str:
    """Fit the exponent of S over the upper half of the range, in words."""
    bounds = {anchors: time_bounds(row) for anchors, row in study.anchored[arm].items()}
    times = {anchors: time.median for anchors, time in bounds.items() if time is not None}
    chosen = upper_half(times)
    fit = exponent(times, chosen)
    if fit is None:
        return ""
    return (
        f"Time of {arm} grows as S to the power of {interval_text(fit)} from S = {chosen[0]} to "
        f"{chosen[-1]}, with a 95 % interval."
    )


CHAPTER = Chapter(50, {CROSSOVER: crossover_tables})
