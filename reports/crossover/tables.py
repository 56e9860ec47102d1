"""Tables of the experiment `crossover`, for each device and number format: where APNB overtakes NB, how costs grow."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial

from reports import model
from reports.crossover import answer
from reports.crossover.curves import CROSSOVER, Study, crossover_studies, time_bounds
from reports.crossover.scaling import Crossing, exponent, upper_half
from reports.model import Chapter, Column, Frame, Mark, Table, Value

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
TO_APNB = "A ratio is that arm over apnb at the same size; above 1 the arm needs more."
ARM, SIZE, _ = model.ARM_FIELDS
MEMORIES = (
    model.MEASURED_MEMORY,
    model.predicted_field(
        model.memory_column("memory", "predicted"),
        "predicted_increment_bytes",
        model.INCREMENT_NOTE,
    ),
)


def crossover_tables(frame: Frame) -> tuple[Table, ...]:
    """All tables that the records of `crossover` support."""
    tables: list[Table] = []
    for study in crossover_studies(frame):
        tables += [crossing_table(study)] if study.device else []
        tables += [exponent_table(study), size_table(study)]
        tables += [anchor_table(study)] if study.anchored else []
    return tuple(tables)


def crossing_table(study: Study) -> Table:
    """From which size APNB is the faster one, in three comparisons, with the answer in words."""
    ratio = partial(Column, digits=2, source="measured")
    crossed = ("APNB faster from", "at the earliest", "at the latest")
    return Table(
        name=f"crossover{study.suffix}",
        title=f"Crossover: from which size APNB beats NB, {study.place}",
        columns=(
            *map(model.text_column, ("compared", *crossed, "smallest size")),
            ratio("NB / APNB, smallest"),
            model.text_column("largest size"),
            ratio("NB / APNB, largest"),
        ),
        rows=tuple((name, *_crossing_row(at)) for name, at in answer.contests(study).items()),
        caption=model.measuring_conditions(study.rows),
        notes=(answer.crossover_answer(study), CROSSING),
    )


def _crossing_row(crossing: Crossing | None) -> tuple[Value, ...]:
    if crossing is None:
        return (Mark(answer.TOO_FEW),) * 7
    ratios = crossing.ratios
    sizes = (crossing.at, crossing.low, crossing.high)
    small, large = min(ratios), max(ratios)
    return (
        *(answer.crossing_size(size, among=ratios) for size in sizes),
        *(answer.square_map(small), ratios[small], answer.square_map(large), ratios[large]),
    )


def exponent_table(study: Study) -> Table:
    """Fitted exponents of time, memory and MACs against N, a row for each arm."""
    number = partial(Column, digits=2)
    timed = (
        *map(model.text_column, ("timed from", "to")),
        *(number(name, source="measured") for name in ("time", "memory")),
        *(number("MACs there"), number("memory there", source="predicted")),
    )
    return Table(
        name=f"crossover-exponents{study.suffix}",
        title=f"Crossover: exponents of N, {study.place}",
        columns=(
            ARM.column,
            *(timed if study.device else ()),
            *map(model.text_column, ("all from", "to the largest")),
            *(number("MACs"), number("memory", source="predicted")),
        ),
        rows=tuple((arm, *_exponents(study, arm)) for arm in study.arms),
        caption=model.measuring_conditions(study.rows),
        notes=(FIT,),
    )


def _exponents(study: Study, arm: str) -> Iterator[Value]:
    counted = tuple(study.numbers(arm, name) for name in ("macs", "predicted_increment_bytes"))
    if study.device:
        times = study.medians(arm)
        sizes = upper_half(times)
        yield from _range(sizes)
        for curve in (times, study.numbers(arm, "memory_bytes")):
            yield exponent(curve, sizes) or Mark("fewer than three sizes were measured")
        yield from (_exact_exponent(curve, sizes) for curve in counted)
    sizes = upper_half(counted[0])
    yield from _range(sizes)
    yield from (_exact_exponent(curve, sizes) for curve in counted)


def _range(sizes: tuple[int, ...]) -> tuple[Value, Value]:
    return (answer.square_map(sizes[0]), answer.square_map(sizes[-1])) if sizes else (None, None)


def _exact_exponent(curve: Mapping[int, float], sizes: Collection[int]) -> Value:
    fit = exponent(curve, sizes)
    return Mark("fewer than three sizes") if fit is None else fit.median


def size_table(study: Study) -> Table:
    """Every size and arm: time, memory, and how many times plain APNB's that is."""
    plain = {row["size"]: row for row in study.arms.get("apnb", {}).values()}
    time_ratio, memory_ratio = model.reference_ratios(
        lambda row: plain.get(row["size"]), TO_APNB, source="predicted"
    )
    order = list(study.sizes.values())
    return model.tabulate(
        sorted(study.rows, key=lambda row: order.index(row["size"])),
        (SIZE, ARM, model.time_field(2), time_ratio, *MEMORIES, memory_ratio),
        name=f"crossover-sizes{study.suffix}",
        title=f"Crossover: time and memory against N, {study.place}",
        group_by=(0,),
    )


def anchor_table(study: Study) -> Table:
    """Time and memory of APNB against the number of anchors S."""
    rows = [row for arm in study.anchored.values() for row in arm.values()]
    rows.sort(key=lambda row: row["axes"]["anchors"])
    fewest = {arm: next(iter(sizes.values())) for arm, sizes in study.anchored.items()}
    note = f"A ratio is to the same arm with S = {rows[0]['axes']['anchors']}."
    time_ratio, _ = model.reference_ratios(lambda row: fewest[row["axes"]["block"]], note)
    anchors = model.axis_field("anchors", Column("anchors S"))
    return model.tabulate(
        rows,
        (anchors, ARM, model.time_field(2), time_ratio, *MEMORIES),
        name=f"crossover-anchors{study.suffix}",
        title=f"Crossover: time and memory against S at {rows[0]['size']}, {study.place}",
        notes=tuple(filter(None, (_growth(study, arm) for arm in study.anchored))),
        group_by=(0,),
    )


def _growth(study: Study, arm: str) -> str:
    bounds = {anchors: time_bounds(row) for anchors, row in study.anchored[arm].items()}
    times = {anchors: time.median for anchors, time in bounds.items() if time is not None}
    chosen = upper_half(times)
    fit = exponent(times, chosen)
    if fit is None:
        return ""
    return (
        f"Time of {arm} grows as S to the power of {answer.interval_text(fit)} from S = {chosen[0]} to "
        f"{chosen[-1]}, with a 95 % interval."
    )


CHAPTER = Chapter(50, {CROSSOVER: crossover_tables})
