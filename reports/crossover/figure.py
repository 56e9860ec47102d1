"""The figure of the experiment `crossover`: time and memory of each arm against the size of the map.

The upper panel has the measured times with their intervals and marks where the fastest form of APNB
overtakes the fastest of NB; a line ends where an arm was not run, with the reason if it was too large.
The lower panel has predicted memory as lines and measured memory as markers.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reports.crossover import answer, curves, tables
from reports.crossover.curves import Study
from reports.crossover.scaling import Crossing, exponent, upper_half
from reports.model import (
    COLOURS,
    GIBI,
    INK,
    MARKERS,
    MEBI,
    MILLI,
    Chapter,
    Figure,
    Frame,
    Interval,
    short,
    svg_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dashes tell the families apart where colours are alike.
DASHES = {"nb": (0, (5, 2))}
# Sides whose labels would cover each other on the axis go without.
UNLABELLED = (96, 192, 384)


def crossover_figures(frame: Frame) -> tuple[Figure, ...]:
    """One figure for each study over two sizes or more."""
    return tuple(
        crossover_figure(study) for study in curves.crossover_studies(frame) if len(study.sizes) > 1
    )


def crossover_figure(study: Study) -> Figure:
    """Draw a study: time above memory, over the same sizes."""
    name = f"crossover-figure{study.suffix}"

    def draw(axes: "Axes") -> None:
        if not study.device:
            _draw_memory(axes, study)
            return
        grid = axes.figure.add_gridspec(2, 1)
        axes.set_subplotspec(grid[0])
        _draw_times(axes, study)
        _draw_memory(axes.figure.add_subplot(grid[1], sharex=axes), study)
        axes.set_xlabel("")

    return Figure(
        name=name,
        title=f"Crossover: cost of one call against the size of the map, {study.place}",
        svg=svg_of(draw, name, height=7.2 if study.device else 3.8),
        alternative=figure_words(study),
        data=tables.size_table(study),
    )


def figure_words(study: Study) -> str:
    """What the figure shows, without it."""
    written = tuple(study.sizes.values())
    said = [f"Lines over square maps from {written[0]} to {written[-1]}."]
    times = (_time(arm, study.times(arm)) for arm in study.arms if study.times(arm))
    said += [f"Time of one call: {', '.join(times)}."] if study.device else []
    predicted = {arm: study.numbers(arm, "predicted_increment_bytes") for arm in study.arms}
    memory = (_memory(arm, points) for arm, points in predicted.items() if points)
    said.append(f"Predicted memory: {', '.join(memory)}.")
    return " ".join((*said, answer.crossover_answer(study)) if study.device else said)


def _time(arm: str, points: Mapping[int, Interval]) -> str:
    last = max(points)
    return f"{arm} {short(points[last].median / MILLI)} ms at {answer.square_map(last)}"


def _memory(arm: str, points: Mapping[int, float]) -> str:
    last = max(points)
    return f"{arm} {short(points[last] / MEBI)} MiB at {answer.square_map(last)}"


def _label(arm: str, points: Mapping[int, float], *, noisy: bool = True) -> str:
    fit = exponent(points, upper_half(points))
    if fit is None or fit.low is None or fit.high is None:
        return arm
    ends = f" [{fit.low:.2f}, {fit.high:.2f}]" if noisy else ""
    return f"{arm}: N^{fit.median:.2f}{ends}"


def _draw_times(axes: "Axes", study: Study) -> None:
    for at, arm in enumerate(list(study.arms)[: len(COLOURS)]):
        points = study.times(arm)
        if points:
            medians = {size: point.median for size, point in points.items()}
            label = _label(arm, medians)
            _errorbars(axes, points, label=label, at=at, dashes=_dashes(arm))
            _say_why_it_ends(axes, study, arm, at=at)
    _scale(axes, study, "time of one call (ms)")
    axes.legend(frameon=False, loc="lower right", fontsize=8, handlelength=3)
    # For the words at the ends of the lines.
    axes.margins(y=0.1)
    found = answer.contests(study)[-1].crossing
    if found is not None:
        _mark(axes, found)


def _dashes(arm: str) -> Any:  # noqa: ANN401
    return DASHES.get(arm.partition(":")[0], "-")


def _errorbars(
    axes: "Axes",
    points: Mapping[int, Interval],
    *,
    label: str,
    at: int,
    dashes: Any,  # noqa: ANN401
) -> None:
    sizes = list(points)
    values = [point.median / MILLI for point in points.values()]
    down = [(p.median - (p.low or p.median)) / MILLI for p in points.values()]
    up = [((p.high or p.median) - p.median) / MILLI for p in points.values()]
    axes.errorbar(
        sizes,
        values,
        yerr=(down, up),
        label=label,
        color=COLOURS[at],
        marker=MARKERS[at],
        markersize=4,
        linewidth=1.6,
        linestyle=dashes,
        elinewidth=1,
        capsize=2,
    )


def _say_why_it_ends(axes: "Axes", study: Study, arm: str, *, at: int) -> None:
    times = study.times(arm)
    larger = {size: row for size, row in study.arms[arm].items() if size > max(times)}
    failure = next((row["failure"] for row in larger.values() if row["failure"]), None)
    if failure is None or not failure.needs_bytes:
        return
    last = max(times)
    axes.annotate(
        f"{arm} needs {failure.needs_bytes / GIBI:.0f} GiB at {answer.square_map(min(larger))}",
        (last, times[last].median / MILLI),
        xytext=(0, 7),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=COLOURS[at],
    )


def _mark(axes: "Axes", found: Crossing) -> None:
    """Shade where the crossing may be, with a line where the medians cross."""
    smallest, largest = min(found.ratios), max(found.ratios)
    low, high = (min(max(end, smallest), largest) for end in (found.low, found.high))
    if found.high > 0 and found.low < math.inf and low < high:
        axes.axvspan(low, high, color=INK, alpha=0.08, linewidth=0)
    if 0 < found.at < math.inf:
        axes.axvline(found.at, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    axes.annotate(
        _crossed(found),
        (min(max(found.at, smallest), largest), 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if found.at == math.inf else 5, 0),
        textcoords="offset points",
        ha="right" if found.at == math.inf else "left",
        va="top",
        fontsize=8,
    )


def _crossed(found: Crossing) -> str:
    if found.high == 0:
        return "the best APNB wins at every size"
    if found.low == math.inf:
        return "the best NB wins at the largest size"
    if found.high == math.inf:
        return "undecided up to the largest size"
    if found.low == 0:
        return f"the best APNB wins\nfrom {answer.square_map(found.high)} on at the latest"
    return f"the best APNB wins\nfrom {answer.square_map(found.at)} on"


def _draw_memory(axes: "Axes", study: Study) -> None:
    for at, arm in enumerate(list(study.arms)[: len(COLOURS)]):
        points = study.numbers(arm, "predicted_increment_bytes")
        measured = study.numbers(arm, "memory_bytes")
        label = _label(arm, points, noisy=False)
        line = {"color": COLOURS[at], "linewidth": 1.6, "linestyle": _dashes(arm)}
        axes.plot(list(points), [value / MEBI for value in points.values()], **line)
        axes.plot(
            list(measured),
            [value / MEBI for value in measured.values()],
            color=COLOURS[at],
            marker=MARKERS[at],
            markersize=4,
            linestyle="",
        )
        axes.plot([], [], **line, marker=MARKERS[at], markersize=4, label=label)
    _scale(axes, study, "memory of one call (MiB)")
    axes.legend(frameon=False, loc="upper left", fontsize=8, handlelength=3)


def _scale(axes: "Axes", study: Study, what: str) -> None:
    from matplotlib.ticker import NullLocator

    axes.set(xscale="log", yscale="log", ylabel=what)
    axes.set_xlabel("side of the square map, whose N is side \N{MULTIPLICATION SIGN} side")
    sides = [(size, round(math.sqrt(size))) for size in study.sizes]
    axes.set_xticks(
        [size for size, _ in sides],
        ["" if side in UNLABELLED else str(side) for _, side in sides],
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(visible=True, which="major", color=INK, alpha=0.15, linewidth=0.6)


CHAPTER = Chapter(50, figures=crossover_figures)
