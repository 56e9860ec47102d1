"""Fig. 2 of the paper: time of each group of operations of NB and APNB, as a table and as bars."""

from collections.abc import Mapping, Sequence

from reports import model
from reports.model import Chapter, Column, Figure, Frame, Mark, Plot, Row, Table, Value, short

PROFILED = "fig2"


def fig2_tables(frame: Frame) -> tuple[Table, ...]:
    """Time of each group of operations, NB beside APNB; a table for each size and device."""
    rows = [row for row in model.rows_of_experiment(frame, PROFILED) if row["operations"]]
    groups = model.grouped(rows, lambda row: (row["size"], row["device_name"]))
    return tuple(
        _operations(same, PROFILED if number == 1 else f"{PROFILED}-{number}")
        for number, same in enumerate(groups.values(), start=1)
    )


def _operations(rows: Sequence[Row], name: str) -> Table:
    times = {
        row["axes"].get("block", row["subject"]): model.group_times(row["operations"])
        for row in rows
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
    columns = [model.text_column("operations"), *(model.time_column(at, digits=3) for at in times)]
    if len(times) == 2:
        columns.append(Column(" / ".join(times), "", 1))
        lines = [(*line, model.ratio_of(line[1], line[2])) for line in lines]
    place = f"{rows[0]['size']} on {rows[0]['device_name']}"
    return Table(
        name=name,
        title=f"Fig. 2: operations of {' and '.join(times)} at {place}",
        columns=tuple(columns),
        rows=tuple(lines),
        caption=model.measuring_conditions(rows),
        notes=("Medians over runs, from the profiler; profiling itself slows short operations.",),
    )


def fig2_figures(frame: Frame) -> tuple[Figure, ...]:
    """Fig. 2 of the paper: time of each operation of NB and APNB, the sum as the last pair of bars."""
    return tuple(
        _bars(table, series)
        for table in fig2_tables(frame)
        if len(series := [at for at, each in enumerate(table.columns) if each.unit == "ms"]) > 1
    )


def _bars(table: Table, series: Sequence[int]) -> Figure:
    # As in the paper operations below 1 ms are left out of the bars, not of the sum, and those below 0.5 % of the
    # largest sum, by which alone it goes where fewer than three reach 1 ms.
    numbers = [[model.number_of(row[at]) or 0.0 for at in series] for row in table.rows]
    largest = max(map(max, numbers))
    enough = sum(max(row) >= model.MILLI for row in numbers) > 3
    least = max(model.MILLI if enough else 0, largest / 200)
    shown = [at for at, row in enumerate(numbers) if max(row) >= least or at == len(numbers) - 1]
    names = [str(table.rows[at][0]) for at in shown]
    bars = {
        table.columns[at].name.upper(): [numbers[row][which] / model.MILLI for row in shown]
        for which, at in enumerate(series)
    }
    sums = ", ".join(f"{label} {short(heights[-1])} ms" for label, heights in bars.items())
    height = 1 + 0.2 * len(names) * len(bars)
    return Figure(
        name=table.name,
        title=f"{table.title}, as bars",
        svg=model.svg_of(lambda axes: _draw_bars(axes, names, bars), table.name, height=height),
        alternative=f"Bars of the time of each operation of at least {short(least / model.MILLI)} ms. In all: {sums}.",
        data=table,
    )


def _draw_bars(axes: Plot, names: Sequence[str], bars: Mapping[str, Sequence[float]]) -> None:
    thick = 0.8 / len(bars)
    for which, (label, lengths) in enumerate(bars.items()):
        places = [at + thick * (which - (len(bars) - 1) / 2) for at in range(len(names))]
        drawn = axes.barh(places, lengths, thick * 0.94, color=model.COLOURS[which], label=label)
        labels = [short(length) if length else "" for length in lengths]
        axes.bar_label(drawn, labels, padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel("time of one call (ms)")
    axes.margins(x=0.12)
    axes.legend(frameon=False, loc="center right")


CHAPTER = Chapter(10, figures=fig2_figures)
