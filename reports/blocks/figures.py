"""Figures of memory and MACs of one call against the size of the map."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from reports import model
from reports.crossover import CROSSOVER
from reports.model import Chapter, Column, Figure, Frame, Plot, Row, Table

BLOCK_ORDER = ("nb", "apnb", "apnb-concat", "nb-bottleneck", "apnb-bottleneck", "dnl")
DRAWN_COLUMNS = {
    "memory": Column("predicted memory", "MiB", 2, model.MEBI, "predicted_increment_bytes"),
    "macs": Column("MACs", "GMAC", 2, model.GIGA, "macs"),
}

# How many times the one before a size is whose number is written on the axis.
TICK_GAP = 1.2

BlockSeries = Mapping[str, Mapping[int, int]]


def size_figures(frame: Frame) -> tuple[Figure, ...]:
    """Predicted memory and MACs of one call against the number of positions N of the map."""
    lacking = {
        row["axes"]["block"]: note
        for row in filter(_is_usual, model.rows_of(frame))
        if (note := model.uncounted_work(row))
    }
    notes = tuple(f"{block}: {note}" for block, note in lacking.items())
    figures = []
    for name, column in DRAWN_COLUMNS.items():
        series = _series(frame, column.base)
        is_of_work = name == "macs"
        if is_of_work:
            series = {
                f"{block}, at the least" if block in lacking else block: points
                for block, points in series.items()
            }
        # Each block in it has two sizes or more.
        if series:
            figures.append(_size_figure(name, column, series, notes if is_of_work else ()))
    return tuple(figures)


def _size_figure(
    name: str, column: Column, series: BlockSeries, notes: tuple[str, ...] = ()
) -> Figure:
    sizes = sorted(set[int]().union(*series.values()))
    title = f"{column.name[0].upper()}{column.name[1:]} of one call"
    last = {block: points[max(points)] / column.scale for block, points in series.items()}
    ends = ", ".join(f"{block} {model.short(at)} {column.unit}" for block, at in last.items())
    return Figure(
        name=name,
        title=f"{title} against the size of the map",
        svg=model.svg_of(lambda axes: _draw_series(axes, series, column), name),
        alternative=f"Lines over N = height x width from {sizes[0]} to {sizes[-1]}. At the largest: {ends}.",
        data=Table(
            name=f"{name}-data",
            title=title,
            notes=notes,
            columns=(Column("N"), *(replace(column, name=block) for block in series)),
            rows=tuple((size, *(points.get(size) for points in series.values())) for size in sizes),
        ),
    )


def _series(frame: Frame, column: str) -> BlockSeries:
    """Values by block and number of positions, of blocks as the paper has them: 2048 and 256 channels."""
    series: dict[str, dict[int, int]] = defaultdict(dict)
    for row in filter(_is_usual, model.rows_of(frame.loc[frame[column].notna()])):
        series[row["axes"]["block"]][model.pixels(row)] = row[column]
    known = [block for block in BLOCK_ORDER if block in series]
    ordered = (*known, *sorted(series.keys() - known))
    chosen = [block for block in ordered if len(series[block]) > 1][: len(model.COLOURS)]
    return {block: series[block] for block in chosen}


def _is_usual(row: Row) -> bool:
    settings = tuple(row[name] for name in ("batch", "dtype", "mode", "protocol"))
    axes = row["axes"].keys()
    return (
        settings == (1, "float32", "eval", "strict")
        and model.pixels(row) > 0
        # What has a figure of its own would crowd these.
        and row["experiment"] != CROSSOVER
        and "block" in axes
        and not {"channels", "key_channels"} & axes
    )


def _draw_series(axes: Plot, series: BlockSeries, column: Column) -> None:
    ends = []
    styles = zip(model.COLOURS, model.MARKERS, series.items(), strict=False)
    for colour, marker, (block, points) in styles:
        sizes = sorted(points)
        values = [points[size] / column.scale for size in sizes]
        (line,) = axes.plot(sizes, values, color=colour, marker=marker, markersize=5, linewidth=1.8)
        ends.append((block, sizes[-1], values[-1], colour))
        texts = [
            f"{block} at N = {n:,}: {model.short(v)} {column.unit}"
            for n, v in zip(sizes, values, strict=True)
        ]
        model.tell_points(line, texts)
    model.use_log_axes(
        axes,
        _size_ticks(set[int]().union(*series.values())),
        xlabel="positions of the map, N = height \N{MULTIPLICATION SIGN} width",
        ylabel=f"{column.name} of one call ({column.unit})",
    )
    model.label_lines(axes, ends)


def _size_ticks(sizes: Iterable[int]) -> dict[int, str]:
    """A tick for each size, with its number where the one before is not too near."""
    ticks: dict[int, str] = {}
    written = 0.0
    for size in sorted(sizes):
        ticks[size] = f"{size:,}" if size > TICK_GAP * written else ""
        written = size if ticks[size] else written
    return ticks


CHAPTER = Chapter(20, figures=size_figures)
