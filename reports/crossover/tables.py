"""Tables of the experiment `crossover`: where APNB overtakes NB, and how their costs grow.

Each study, a device and a number format, has four: the crossing with the answer in words, fitted
exponents, every size and arm, and the number of anchors.
"""

from functools import partial

from reports.crossover import answer, curves
from reports.crossover.answer import Contest
from reports.crossover.curves import CROSSOVER, Study
from reports.crossover.scaling import exponent, upper_half
from reports.model import (
    INCREMENT_NOTE,
    MILLI,
    TIME_NOTE,
    Chapter,
    Column,
    Field,
    Frame,
    Interval,
    Mark,
    Row,
    Table,
    Value,
    axis_value,
    measured_value,
    measuring_conditions,
    memory_column,
    predicted_value,
    ratio_of,
    tabulate,
    time_value,
)

REFERENCE = "apnb"
ARM = Field(Column("arm", align="left"), axis_value("block"))
MILLISECONDS = Column("time", "ms", 2, MILLI, "seconds", "measured", best="min")
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
RATIO = f"A ratio is that arm over {REFERENCE} at the same size; above 1 the arm needs more."


def crossover_tables(frame: Frame) -> tuple[Table, ...]:
    """All tables that the records of `crossover` support."""
    return tuple(table for study in curves.crossover_studies(frame) for table in _tables(study))


def _tables(study: Study) -> tuple[Table, ...]:
    made = [crossing_table(study)] if study.device else []
    made += [exponent_table(study), size_table(study)]
    return (*made, anchor_table(study)) if study.anchored else tuple(made)


def crossing_table(study: Study) -> Table:
    """From which size APNB is the faster one, in three comparisons, with the answer in words."""
    text = partial(Column, align="left")
    columns = (
        text("compared"),
        text("APNB faster from"),
        text("at the earliest"),
        text("at the latest"),
        text("smallest size"),
        Column("NB / APNB, smallest", "", 2, source="measured"),
        text("largest size"),
        Column("NB / APNB, largest", "", 2, source="measured"),
    )
    return Table(
        name=f"crossover{study.suffix}",
        title=f"Crossover: from which size APNB beats NB, {study.place}",
        columns=columns,
        rows=tuple(_crossing(contest) for contest in answer.contests(study)),
        caption=measuring_conditions(study.rows),
        notes=(answer.crossover_answer(study), CROSSING),
    )


def _crossing(contest: Contest) -> tuple[Value, ...]:
    found = contest.crossing
    if found is None:
        absent = Mark("fewer than two sizes have a time of both")
        return (contest.name, *(absent,) * 7)
    ends = (min(found.ratios), max(found.ratios))
    said = (
        answer.crossing_size(at, among=found.ratios) for at in (found.at, found.low, found.high)
    )
    beside = ((answer.square_map(end), found.ratios[end]) for end in ends)
    return (contest.name, *said, *(value for pair in beside for value in pair))


def exponent_table(study: Study) -> Table:
    """Fitted exponents of time, memory and MACs against N, a row for each arm."""
    text = partial(Column, align="left")
    columns = (
        ARM.column,
        text("timed from"),
        text("to"),
        Column("time", "", 2, source="measured"),
        Column("memory", "", 2, source="measured"),
        Column("MACs there", "", 2),
        Column("memory there", "", 2, source="predicted"),
        text("all from"),
        text("to the largest"),
        Column("MACs", "", 2),
        Column("memory", "", 2, source="predicted"),
    )
    return Table(
        name=f"crossover-exponents{study.suffix}",
        title=f"Crossover: exponents of N, {study.place}",
        columns=columns if study.device else (columns[0], *columns[7:]),
        rows=tuple(_fits(study, arm) for arm in study.arms),
        caption=measuring_conditions(study.rows),
        notes=(FIT,),
    )


def _fits(study: Study, arm: str) -> tuple[Value, ...]:
    macs, predictions = (
        study.numbers(arm, column) for column in ("macs", "predicted_increment_bytes")
    )
    whole = upper_half(macs)
    alone = (*_span(whole), _bare(exponent(macs, whole)), _bare(exponent(predictions, whole)))
    if not study.device:
        return (arm, *alone)
    times = {size: time.median for size, time in study.times(arm).items()}
    timed = upper_half(times)
    fitted = (exponent(times, timed), exponent(study.numbers(arm, "memory_bytes"), timed))
    beside = (_bare(exponent(one, timed)) for one in (macs, predictions))
    return (arm, *_span(timed), *map(_known, fitted), *beside, *alone)


def _span(chosen: tuple[int, ...]) -> tuple[Value, Value]:
    return (answer.square_map(chosen[0]), answer.square_map(chosen[-1])) if chosen else (None, None)


def _known(fit: Interval | None) -> Value:
    return Mark("fewer than three sizes were measured") if fit is None else fit


def _bare(fit: Interval | None) -> Value:
    return Mark("fewer than three sizes") if fit is None else fit.median


def size_table(study: Study) -> Table:
    """Every size and arm: time, memory, and how many times plain APNB's that is."""

    def times_of(row: Row, column: str) -> Value:
        reference = _reference(study, row)
        return None if reference is None else ratio_of(row[column], reference[column])

    def time_ratio(row: Row) -> Value:
        reference = _reference(study, row)
        times = [curves.time_bounds(one) for one in (row, reference) if one is not None]
        return ratio_of(times[0], times[1]) if len(times) == 2 else None

    every_row = sorted(study.rows, key=lambda row: list(study.sizes.values()).index(row["size"]))
    return tabulate(
        every_row,
        (
            Field(Column("size", align="left"), axis_value("size")),
            ARM,
            *_read(MILLISECONDS),
            Field(Column("time ratio", "", 2), time_ratio, optional=True, note=RATIO),
            *_used(),
            Field(
                Column("memory ratio", "", 2, source="predicted"),
                lambda row: times_of(row, "predicted_increment_bytes"),
                note=RATIO,
            ),
        ),
        name=f"crossover-sizes{study.suffix}",
        title=f"Crossover: time and memory against N, {study.place}",
        caption=measuring_conditions(study.rows),
        group_by=(0,),
    )


def _reference(study: Study, row: Row) -> Row | None:
    same = study.arms.get(REFERENCE, {}).values()
    return next((one for one in same if one["size"] == row["size"]), None)


def _read(column: Column) -> tuple[Field, ...]:
    return (Field(column, time_value, note=TIME_NOTE),)


def _used() -> tuple[Field, ...]:
    return (
        Field(
            memory_column("memory", "measured", best="min"),
            lambda row: measured_value(row, row["memory_bytes"]),
            note=INCREMENT_NOTE,
        ),
        Field(
            memory_column("memory", "predicted"),
            lambda row: predicted_value(row, "predicted_increment_bytes"),
            note=INCREMENT_NOTE,
        ),
    )


def anchor_table(study: Study) -> Table:
    """Time and memory of APNB against the number of anchors S."""
    rows = [row for arm in study.anchored.values() for row in arm.values()]
    ordered = sorted(rows, key=lambda row: row["axes"]["anchors"])
    first = {arm: next(iter(by_anchors.values())) for arm, by_anchors in study.anchored.items()}

    def time_ratio(row: Row) -> Value:
        return ratio_of(curves.time_bounds(row), curves.time_bounds(first[row["axes"]["block"]]))

    fewest = min(row["axes"]["anchors"] for row in rows)
    return tabulate(
        ordered,
        (
            Field(Column("anchors S"), axis_value("anchors")),
            ARM,
            Field(MILLISECONDS, time_value, note=TIME_NOTE),
            Field(
                Column("time ratio", "", 2),
                time_ratio,
                optional=True,
                note=f"A ratio is to the same arm with S = {fewest}.",
            ),
            *_used(),
        ),
        name=f"crossover-anchors{study.suffix}",
        title=f"Crossover: time and memory against S at {rows[0]['size']}, {study.place}",
        caption=measuring_conditions(rows),
        notes=tuple(filter(None, (_growth(study, arm) for arm in study.anchored))),
        group_by=(0,),
    )


def _growth(study: Study, arm: str) -> str:
    """Fit the exponent of S over the upper half of the range, in words."""
    read = {at: curves.time_bounds(row) for at, row in study.anchored[arm].items()}
    times = {at: time.median for at, time in read.items() if time is not None}
    chosen = upper_half(times)
    fit = exponent(times, chosen)
    if fit is None:
        return ""
    return (
        f"Time of {arm} grows as S to the power of {answer.interval_text(fit)} from S = {chosen[0]} to "
        f"{chosen[-1]}, with a 95 % interval."
    )


CHAPTER = Chapter(50, {CROSSOVER: crossover_tables})
