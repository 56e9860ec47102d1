"""The gallery: context blocks at one map, and from which size of map each needs less than NB."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from reports import model
from reports.crossover.answer import crossing_size
from reports.crossover.curves import time_bounds
from reports.crossover.scaling import crossing
from reports.model import Chapter, Column, Field, Frame, Interval, Mark, Row, Table, Value

GALLERY, GALLERY_SIZES = "gallery", "gallery-sizes"
AGAINST = "nb-residual"
MEMORY_NOTE = (
    "Memory is what one call adds to its input and parameters; predicted memory is that of the live tensors, "
    "of training that of a forward and a backward pass."
)
CROSSING_NOTE = (
    f"Fewer or less than NB from: the square map from which the block stays below {AGAINST}, interpolated between "
    "squares that were predicted, straight in the logarithms; of measured times between this table's maps."
)
ESTIMATE_NOTE = "A predicted time is the likely one, in brackets where 90 % of single kernels lay (docs/estimates.md)."
BLOCKS_NOTE = "docs/gallery.md says what each block is and by which paper."
ITSELF = Mark("the block that the others are held against")
ALONE = Mark(f"the records hold no two sizes of it and of {AGAINST}")

Read = Callable[[Row], Interval | None]
Estimates = Mapping[str, Callable[[Row], Value]]
Settings = tuple[tuple[str, object], ...]


def gallery_tables(frame: Frame, estimates: Estimates | None = None) -> tuple[Table, ...]:
    """One table for each device that measured the gallery; of what was predicted alone where none did.

    `estimates` tell the likely time of a row on GPUs that need not be there, by their names.
    """
    rows = model.rows_of_experiment(frame, GALLERY)
    trained = {_place_of_row(row): row for row in rows if row["mode"] == "train"}
    squares = model.rows_of_experiment(frame, GALLERY_SIZES)
    return tuple(
        _table(here, trained, squares, estimates or {}, name=f"{GALLERY}{suffix}")
        for _, here, suffix in model.by_device([row for row in rows if row["mode"] == "eval"])
    )


def _table(
    rows: Sequence[Row],
    trained: Mapping[Settings, Row],
    squares: Sequence[Row],
    estimates: Estimates,
    *,
    name: str,
) -> Table:
    settings = list(dict.fromkeys(map(_settings_of_row, rows)))
    rows = sorted(rows, key=lambda row: (settings.index(_settings_of_row(row)), model.pixels(row)))
    batches = {row["batch"] for row in trained.values()}
    varied = [field for field in model.BLOCK_FIELDS[2:6] if len(settings) > 1]
    sizes = [model.axis_field("size")] if len({row["axes"]["size"] for row in rows}) > 1 else []
    fields = (
        model.axis_field("block"),
        *sizes,
        *varied,
        model.PARAMETERS_FIELD,
        model.WORK_FIELDS[0],
        Field(_gallery_memory("memory", "predicted"), model.predicted_increment, note=MEMORY_NOTE),
        Field(
            _gallery_memory(f"training, {_batch(batches)}", "predicted"),
            lambda row: _of_training(trained.get(_place_of_row(row))),
        ),
        replace(model.time_field(1), optional=True),
        *(_estimate_field(*each) for each in estimates.items()),
        Field(_gallery_memory("memory", "measured"), model.measured_memory, optional=True),
        _crossing_field("fewer MACs", squares, partial(_number, column="macs")),
        _crossing_field(
            "less memory", squares, partial(_number, column="predicted_increment_bytes")
        ),
        _crossing_field("less time", rows, time_bounds),
        *(
            _crossing_field(f"less time, {device},", squares, partial(_estimated, estimate))
            for device, estimate in estimates.items()
        ),
    )
    maps = () if sizes else (f"map {rows[0]['axes']['size']}",)
    where = "; ".join((*maps, *map(_setting_words, settings)))
    return model.tabulate(
        rows,
        fields,
        caption=f"{model.measuring_conditions(rows)[:-1]}; {where}.",
        notes=(BLOCKS_NOTE,),
        name=name,
        title="Context blocks at one map",
        group_by=tuple(range(1, 1 + len(sizes) + len(varied))),
    )


def _gallery_memory(name: str, source: Literal["predicted", "measured"]) -> Column:
    return replace(model.memory_column(name, source), best="min")


def _batch(batches: Iterable[int]) -> str:
    return f"batch {' or '.join(map(str, sorted(batches)))}"


def _of_training(row: Row | None) -> Value:
    return model.UNPREDICTED if row is None else model.predicted_increment(row)


def _crossing_field(name: str, rows: Sequence[Row], read: Read) -> Field:
    """From which map on a block has less than NB, of the rows in the same settings; no column where none is known."""
    curves: dict[Settings, dict[int, Interval]] = {}
    for row in rows:
        value = read(row)
        if value is not None:
            curves.setdefault(_arm_of_row(row), {})[model.pixels(row)] = value

    def crossed(row: Row) -> Value:
        if row["axes"]["block"] == AGAINST:
            return ITSELF
        against = curves.get(_arm_of_row(row, block=AGAINST), {})
        meeting = crossing(against, curves.get(_arm_of_row(row), {}))
        return ALONE if meeting is None else crossing_size(meeting.at, among=meeting.ratios)

    return Field(
        model.text_column(f"{name} than NB from"), crossed, optional=True, note=CROSSING_NOTE
    )


def _estimate_field(device: str, estimate: Callable[[Row], Value]) -> Field:
    column = replace(model.time_column(f"time, {device}", "predicted", 3), best="min")
    return Field(column, estimate, note=ESTIMATE_NOTE)


def _estimated(estimate: Callable[[Row], Value], row: Row) -> Interval | None:
    time = model.number_of(estimate(row))
    return Interval(time) if time else None


def _number(row: Row, *, column: str) -> Interval | None:
    value = row[column]
    return Interval(float(value)) if value else None


def _settings_of_row(row: Row) -> Settings:
    """What tells two runs of the gallery apart, beside block, size and mode."""
    apart = (axis for axis in row["axes"].items() if axis[0] not in {"block", "size", "mode"})
    return tuple(sorted(apart))


def _place_of_row(row: Row) -> Settings:
    return (*_arm_of_row(row), ("size", row["axes"]["size"]))


def _arm_of_row(row: Row, *, block: str = "") -> Settings:
    return (*_settings_of_row(row), ("block", block or row["axes"]["block"]))


def _setting_words(settings: Settings) -> str:
    words = (f"{name.replace('_', ' ')} {value}" for name, value in settings)
    return ", ".join(words)


# What the squares say stands in the gallery's own table.
CHAPTER = Chapter(65, {GALLERY: gallery_tables, GALLERY_SIZES: lambda _: ()})
