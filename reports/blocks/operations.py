"""Fig. 2 of the paper: time of each group of operations of NB and APNB, as a table and as bars."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.model import (
    COLOURS,
    MILLI,
    Chapter,
    Column,
    Figure,
    Frame,
    Mark,
    Row,
    Table,
    Value,
    group_times,
    measuring_conditions,
    number_of,
    ratio_of,
    rows_of_experiment,
    short,
    svg_of,
    text_column,
    time_column,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROFILED = "fig2"
SHOWN_S = 1e-3


def fig2_tables(frame: Frame) -> tuple[Table, ...]:
    """Time of each group of operations, NB beside APNB; a table for each size and device."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows_of_experiment(frame, PROFILED):
        if row["operations"]:
            groups.setdefault((row["size"], row["device_name"]), []).append(row)
    return tuple(
        _operations(rows, *place, number=number)
        for number, (place, rows) in enumerate(groups.items(), start=1)
    )


def _operations(rows: Sequence[Row], size: str, device: str, *, number: int) -> Table:
    times = {
        row["axes"].get("block", row["subject"]): group_times(row["operations"]) for row in rows
    }
    blocks = tuple(times.values())
    largest = sorted(
        dict.fromkeys(group for block in blocks for group in block),
        key=lambda group: -max(block.get(group, 0.0) for block in blocks),
    )
    absent = Mark("this block has no operation of this group")
    lines: list[tuple[Value, ...]] = [
        *((group, *(block.get(group, absent) for block in blocks)) for group in largest),
        ("sum", *(sum(block.values()) for block in blocks)),
    ]
    columns = [text_column("operations"), *(time_column(name, digits=3) for name in times)]
    if len(times) == 2:
        columns.append(Column(" / ".join(times), "", 1))
        lines = [(*line, ratio_of(line[1], line[2])) for line in lines]
    return Table(
        name="fig2" if number == 1 else f"fig2-{number}",
        title=f"Fig. 2: operations of {' and '.join(times)} at {size} on {device}",
        columns=tuple(columns),
        rows=tuple(lines),
        caption=measuring_conditions(rows),
        notes=("Medians over runs, from the profiler; profiling itself slows short operations.",),
    )


def fig2_figures(frame: Frame) -> tuple[Figure, ...]:
    """Fig. 2 of the paper: time of each operation of NB and APNB, the sum as the last pair of bars.

    As in the paper operations below 1 ms are left out of the bars, and those below 0.5 % of the largest sum, by which
    alone it goes where fewer than three reach 1 ms. The sum counts them all.
    """
    drawn = ((table, _time_columns(table)) for table in fig2_tables(frame))
    return tuple(_bars(table, series) for table, series in drawn if len(series) > 1)


def _time_columns(table: Table) -> list[int]:
    return [at for at, column in enumerate(table.columns) if column.unit == "ms"]


def _bars(table: Table, series: Sequence[int]) -> Figure:
    numbers = [[number_of(row[at]) or 0.0 for at in series] for row in table.rows]
    largest = max(max(row) for row in numbers)
    enough = sum(max(row) >= SHOWN_S for row in numbers) > 3
    least = max(SHOWN_S, largest / 200) if enough else largest / 200
    shown = [at for at, row in enumerate(numbers) if max(row) >= least or at == len(numbers) - 1]
    names = [str(table.rows[at][0]) for at in shown]
    values = [[numbers[at][which] / MILLI for at in shown] for which in range(len(series))]
    labels = [table.columns[at].name.upper() for at in series]

    def draw(axes: "Axes") -> None:
        _draw_bars(axes, names, values, labels=labels)

    sums = ", ".join(
        f"{label} {short(line[-1])} ms" for label, line in zip(labels, values, strict=True)
    )
    return Figure(
        name=table.name,
        title=f"{table.title} (figure)",
        svg=svg_of(draw, table.name, width=max(6.4, 1.5 * len(names))),
        alternative=f"Bars of the time of each operation of at least {short(least / MILLI)} ms. In all: {sums}.",
        data=table,
    )


def _draw_bars(
    axes: "Axes", names: Sequence[str], values: Sequence[Sequence[float]], *, labels: Sequence[str]
) -> None:
    thick = 0.8 / len(values)
    for which, (line, label) in enumerate(zip(values, labels, strict=True)):
        places = [at + thick * (which - (len(values) - 1) / 2) for at in range(len(names))]
        bars = axes.bar(places, line, thick * 0.94, color=COLOURS[which], label=label)
        axes.bar_label(
            bars, [short(value) if value else "" for value in line], padding=2, fontsize=9
        )
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("time of one call (ms)")
    axes.margins(y=0.12)
    axes.legend(frameon=False, loc="upper left", ncols=len(labels))


CHAPTER = Chapter(10, figures=fig2_figures)
