"""The figures as SVG text: Fig. 2 of the paper, memory and MACs against the size of the map, and those of trainings.

Text and lines take the colour of the page they stand on, and the series colours change with its theme; a file of its
own shows the light ones. The same frame gives the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import report
from reports.crossover import figure as crossings
from reports.model import (
    COLOURS,
    GIGA,
    INK,
    MARKERS,
    MEBI,
    MILLI,
    Column,
    Figure,
    Row,
    Table,
    number_of,
    pixels,
    rows_of,
    short,
    svg_of,
)
from reports.training import cost_figure, qualitative

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SHOWN_S = 1e-3
BLOCKS = ("nb", "apnb", "apnb-concat", "nb-bottleneck", "apnb-bottleneck", "dnl")


def report_figures(frame: "pd.DataFrame", folder: Path | None = None) -> tuple[Figure, ...]:
    """Every figure that the frame supports.

    Args:
        frame: the records.
        folder: where pictures that a training left are looked for; without it there are none.
    """
    made = (
        *fig2_figures(frame),
        memory_figure(frame),
        macs_figure(frame),
        *crossings.crossover_figures(frame),
        *cost_figure.cost_figures(frame),
    )
    made += qualitative.qualitative_figures(frame, folder) if folder else ()
    return tuple(figure for figure in made if figure is not None)


def fig2_figures(frame: "pd.DataFrame") -> tuple[Figure, ...]:
    """Fig. 2 of the paper: time of each operation of NB and APNB, the sum as the last pair of bars.

    As in the paper operations below 1 ms are left out of the bars, and those below 0.5 % of the largest sum, by which
    alone it goes where fewer than three reach 1 ms. The sum counts them all.
    """
    return tuple(_bars(table) for table in report.fig2_tables(frame) if _is_pair(table))


def _is_pair(table: Table) -> bool:
    return len([column for column in table.columns if column.unit == "ms"]) >= 2


def _bars(table: Table) -> Figure:
    series = [at for at, column in enumerate(table.columns) if column.unit == "ms"]
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


def memory_figure(frame: "pd.DataFrame") -> Figure | None:
    """Predicted memory of one call against the number of positions N of the map."""
    return _lines(
        frame,
        "predicted_increment_bytes",
        name="memory",
        unit=("MiB", MEBI),
        what="predicted memory",
    )


def macs_figure(frame: "pd.DataFrame") -> Figure | None:
    """MACs of one call against the number of positions N of the map."""
    return _lines(frame, "macs", name="macs", unit=("GMAC", GIGA), what="MACs")


def _lines(
    frame: "pd.DataFrame", column: str, *, name: str, unit: tuple[str, int], what: str
) -> Figure | None:
    series = _series(frame, column)
    sizes = sorted({size for points in series.values() for size in points})
    if len(sizes) < 2:
        return None

    def draw(axes: "Axes") -> None:
        _draw_lines(axes, series, scale=unit[1])
        axes.set_ylabel(f"{what} of one call ({unit[0]})")

    data = Table(
        name=f"{name}-data",
        title=f"{what[0].upper()}{what[1:]} of one call",
        columns=(Column("N"), *(Column(block, unit[0], 2, unit[1], column) for block in series)),
        rows=tuple((size, *(points.get(size) for points in series.values())) for size in sizes),
    )
    last = {block: points[max(points)] / unit[1] for block, points in series.items()}
    ends = ", ".join(f"{block} {short(value)} {unit[0]}" for block, value in last.items())
    return Figure(
        name=name,
        title=f"{what[0].upper()}{what[1:]} of one call against the size of the map",
        svg=svg_of(draw, name),
        alternative=f"Lines over N = height x width from {sizes[0]} to {sizes[-1]}. At the largest: {ends}.",
        data=data,
    )


def _series(frame: "pd.DataFrame", column: str) -> dict[str, dict[int, int]]:
    """Values by block and number of positions, of blocks as the paper has them: 2048 and 256 channels."""
    series: dict[str, dict[int, int]] = {}
    for row in rows_of(frame.loc[frame[column].notna()]):
        if _is_usual(row):
            points = series.setdefault(row["axes"]["block"], {})
            points[pixels(row)] = row[column]
    ordered = sorted(
        series, key=lambda block: (BLOCKS.index(block) if block in BLOCKS else 99, block)
    )
    chosen = [block for block in ordered if len(series[block]) > 1][: len(COLOURS)]
    return {block: series[block] for block in chosen}


def _is_usual(row: Row) -> bool:
    axes: dict[str, Any] = row["axes"]
    asked = (row["batch"], row["dtype"], row["mode"], row["protocol"])
    usual = asked == (1, "float32", "eval", "strict") and pixels(row) > 0
    # What has a figure of its own would crowd these.
    usual = usual and row["experiment"] != crossings.EXPERIMENT
    return usual and "block" in axes and not {"channels", "key_channels"} & axes.keys()


def _draw_lines(axes: "Axes", series: dict[str, dict[int, int]], *, scale: int) -> None:
    from matplotlib.ticker import NullLocator

    ends = []
    for colour, marker, (block, points) in zip(COLOURS, MARKERS, series.items(), strict=False):
        sizes = sorted(points)
        values = [points[size] / scale for size in sizes]
        axes.plot(sizes, values, color=colour, marker=marker, markersize=5, linewidth=1.8)
        ends.append((values[-1], sizes[-1], block, colour))
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="positions of the map, N = height \N{MULTIPLICATION SIGN} width",
    )
    sizes = sorted({size for points in series.values() for size in points})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(visible=True, which="major", color=INK, alpha=0.15, linewidth=0.6)
    _label_ends(axes, sorted(ends))


def _label_ends(axes: "Axes", ends: Sequence[tuple[float, int, str, str]]) -> None:
    """Write each line's name at its end, moved up where it would cover the one below."""
    lowest = float("-inf")
    for value, size, block, colour in ends:
        own = axes.transData.transform((size, value))[1]
        place = max(own, lowest + 14)
        lowest = place
        axes.annotate(
            block,
            (size, value),
            xytext=(8, (place - own) * 72 / axes.figure.dpi),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
        )
