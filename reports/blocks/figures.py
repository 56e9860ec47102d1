"""Figures of memory and MACs of one call against the size of the map.

Text and lines take the colour of the page they stand on, and the series colours change with its theme; a file of its
own shows the light ones. The same frame gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reports.crossover import CROSSOVER
from reports.model import (
    COLOURS,
    GIGA,
    MARKERS,
    MEBI,
    Chapter,
    Column,
    Figure,
    Frame,
    Row,
    Table,
    pixels,
    rows_of,
    short,
    svg_of,
    use_log_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLOCK_ORDER = ("nb", "apnb", "apnb-concat", "nb-bottleneck", "apnb-bottleneck", "dnl")

BlockSeries = Mapping[str, Mapping[int, int]]


def size_figures(frame: Frame) -> tuple[Figure, ...]:
    """Predicted memory and MACs of one call against the number of positions N of the map."""
    figures = (
        _size_figure(
            _series(frame, "predicted_increment_bytes"),
            Column("predicted memory", "MiB", 2, MEBI, "predicted_increment_bytes"),
            name="memory",
        ),
        _size_figure(_series(frame, "macs"), Column("MACs", "GMAC", 2, GIGA, "macs"), name="macs"),
    )
    return tuple(figure for figure in figures if figure is not None)


def _size_figure(series: BlockSeries, column: Column, *, name: str) -> Figure | None:
    sizes = sorted({size for points in series.values() for size in points})
    if len(sizes) < 2:
        return None

    def draw(axes: "Axes") -> None:
        _draw_series(axes, series, column)

    title = f"{column.name[0].upper()}{column.name[1:]} of one call"
    last = {block: points[max(points)] / column.scale for block, points in series.items()}
    ends = ", ".join(f"{block} {short(value)} {column.unit}" for block, value in last.items())
    return Figure(
        name=name,
        title=f"{title} against the size of the map",
        svg=svg_of(draw, name),
        alternative=f"Lines over N = height x width from {sizes[0]} to {sizes[-1]}. At the largest: {ends}.",
        data=Table(
            name=f"{name}-data",
            title=title,
            columns=(Column("N"), *(replace(column, name=block) for block in series)),
            rows=tuple((size, *(points.get(size) for points in series.values())) for size in sizes),
        ),
    )


def _series(frame: Frame, column: str) -> BlockSeries:
    """Values by block and number of positions, of blocks as the paper has them: 2048 and 256 channels."""
    series: dict[str, dict[int, int]] = {}
    for row in rows_of(frame.loc[frame[column].notna()]):
        if _is_usual(row):
            series.setdefault(row["axes"]["block"], {})[pixels(row)] = row[column]
    ordered = sorted(
        series, key=lambda block: (BLOCK_ORDER.index(block) if block in BLOCK_ORDER else 99, block)
    )
    chosen = [block for block in ordered if len(series[block]) > 1][: len(COLOURS)]
    return {block: series[block] for block in chosen}


def _is_usual(row: Row) -> bool:
    settings = tuple(row[name] for name in ("batch", "dtype", "mode", "protocol"))
    axes = row["axes"].keys()
    return (
        settings == (1, "float32", "eval", "strict")
        and pixels(row) > 0
        # What has a figure of its own would crowd these.
        and row["experiment"] != CROSSOVER
        and "block" in axes
        and not {"channels", "key_channels"} & axes
    )


def _draw_series(axes: "Axes", series: BlockSeries, column: Column) -> None:
    ends = []
    for colour, marker, (block, points) in zip(COLOURS, MARKERS, series.items(), strict=False):
        sizes = sorted(points)
        values = [points[size] / column.scale for size in sizes]
        axes.plot(sizes, values, color=colour, marker=marker, markersize=5, linewidth=1.8)
        ends.append((values[-1], sizes[-1], block, colour))
    sizes = sorted({size for points in series.values() for size in points})
    use_log_axes(
        axes,
        {size: f"{size:,}" for size in sizes},
        xlabel="positions of the map, N = height \N{MULTIPLICATION SIGN} width",
        ylabel=f"{column.name} of one call ({column.unit})",
    )
    _label_ends(axes, sorted(ends))


def _label_ends(axes: "Axes", ends: Sequence[tuple[float, int, str, str]]) -> None:
    """Write each line's name at its end, moved up where it would cover the one below."""
    lowest = float("-inf")
    for value, size, block, colour in ends:
        height = axes.transData.transform((size, value))[1]
        lowest = max(height, lowest + 14)
        axes.annotate(
            block,
            (size, value),
            xytext=(8, (lowest - height) * 72 / axes.figure.dpi),
            textcoords="offset points",
            color=colour,
            va="center",
            fontweight="bold",
        )


CHAPTER = Chapter(20, figures=size_figures)
