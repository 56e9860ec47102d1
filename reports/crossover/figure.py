"""The figure of the experiment `crossover`: time and memory of each arm against the size of the map.

The upper panel has the measured times with their intervals and marks where the fastest form of APNB
overtakes the fastest of NB; a line ends where an arm was not run, with the reason if it was too large.
The lower panel has predicted memory as lines and measured memory as markers.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reports.crossover.answer import contests, crossover_answer, square_map
from reports.crossover.curves import Study, crossover_studies
from reports.crossover.scaling import Crossing, exponent, upper_half
from reports.crossover.tables import size_table
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
    short,
    svg_of,
    use_log_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dashes tell the families apart where colours are alike.
DASHES = {"nb": (0, (5, 2))}
# Sides whose labels would cover each other on the axis go without.
UNLABELLED_SIDES = (96, 192, 384)


def crossover_figures(frame: Frame) -> tuple[Figure, ...]:
    """One figure for each study over two sizes or more."""
    studies = crossover_studies(frame)
    return tuple(crossover_figure(study) for study in studies if len(study.sizes) > 1)


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
        data=size_table(study),
    )


def figure_words(study: Study) -> str:
    """What the figure shows, without it."""
    sizes = tuple(study.sizes.values())
    times = {arm: _medians(study, arm) for arm in study.arms}
    memory = {arm: study.numbers(arm, "predicted_increment_bytes") for arm in study.arms}
    sentences = [
        f"Lines over square maps from {sizes[0]} to {sizes[-1]}.",
        f"Time of one call: {_last_values(times, MILLI, 'ms')}." if study.device else "",
        f"Predicted memory: {_last_values(memory, MEBI, 'MiB')}.",
        crossover_answer(study) if study.device else "",
    ]
    return " ".join(filter(None, sentences))


def _medians(study: Study, arm: str) -> dict[int, float]:
    return {size: time.median for size, time in study.times(arm).items()}


def _last_values(curves: Mapping[str, Mapping[int, float]], scale: float, unit: str) -> str:
    """Each arm's value at its largest size."""
    return ", ".join(
        f"{arm} {short(curve[max(curve)] / scale)} {unit} at {square_map(max(curve))}"
        for arm, curve in curves.items()
        if curve
    )


def _curve_label(arm: str, curve: Mapping[int, float], *, noisy: bool = True) -> str:
    fit = exponent(curve, upper_half(curve))
    if fit is None or fit.low is None or fit.high is None:
        return arm
    ends = f" [{fit.low:.2f}, {fit.high:.2f}]" if noisy else ""
    return f"{arm}: N^{fit.median:.2f}{ends}"


def _style(arm: str, at: int) -> dict[str, Any]:
    dashes = DASHES.get(arm.partition(":")[0], "-")
    return {"color": COLOURS[at], "marker": MARKERS[at], "linestyle": dashes, "linewidth": 1.6}


def _draw_times(axes: "Axes", study: Study) -> None:
    for at, arm in enumerate(list(study.arms)[: len(COLOURS)]):
        times = study.times(arm)
        if times:
            axes.errorbar(
                list(times),
                [time.median / MILLI for time in times.values()],
                yerr=(
                    [(time.median - (time.low or time.median)) / MILLI for time in times.values()],
                    [((time.high or time.median) - time.median) / MILLI for time in times.values()],
                ),
                label=_curve_label(arm, _medians(study, arm)),
                markersize=4,
                elinewidth=1,
                capsize=2,
                **_style(arm, at),
            )
            _say_why_it_ends(axes, study, arm, at=at)
    _use_size_axes(axes, study, "time of one call (ms)")
    axes.legend(frameon=False, loc="lower right", fontsize=8, handlelength=3)
    # For the words at the ends of the lines.
    axes.margins(y=0.1)
    best = contests(study)[-1].crossing
    if best is not None:
        _mark_crossing(axes, best)


def _say_why_it_ends(axes: "Axes", study: Study, arm: str, *, at: int) -> None:
    times = _medians(study, arm)
    last = max(times)
    larger = {size: row for size, row in study.arms[arm].items() if size > last}
    failure = next((row["failure"] for row in larger.values() if row["failure"]), None)
    if failure is None or not failure.needs_bytes:
        return
    axes.annotate(
        f"{arm} needs {failure.needs_bytes / GIBI:.0f} GiB at {square_map(min(larger))}",
        (last, times[last] / MILLI),
        xytext=(0, 7),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=COLOURS[at],
    )


def _mark_crossing(axes: "Axes", crossed: Crossing) -> None:
    """Shade where the crossing may be, with a line where the medians cross."""
    smallest, largest = min(crossed.ratios), max(crossed.ratios)
    low, high = (min(max(end, smallest), largest) for end in (crossed.low, crossed.high))
    if crossed.high > 0 and crossed.low < math.inf and low < high:
        axes.axvspan(low, high, color=INK, alpha=0.08, linewidth=0)
    if 0 < crossed.at < math.inf:
        axes.axvline(crossed.at, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    axes.annotate(
        _crossing_words(crossed),
        (min(max(crossed.at, smallest), largest), 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if crossed.at == math.inf else 5, 0),
        textcoords="offset points",
        ha="right" if crossed.at == math.inf else "left",
        va="top",
        fontsize=8,
    )


def _crossing_words(crossed: Crossing) -> str:
    if crossed.high == 0:
        return "the best APNB wins at every size"
    if crossed.low == math.inf:
        return "the best NB wins at the largest size"
    if crossed.high == math.inf:
        return "undecided up to the largest size"
    if crossed.low == 0:
        return f"the best APNB wins\nfrom {square_map(crossed.high)} on at the latest"
    return f"the best APNB wins\nfrom {square_map(crossed.at)} on"


def _draw_memory(axes: "Axes", study: Study) -> None:
    for at, arm in enumerate(list(study.arms)[: len(COLOURS)]):
        predicted = study.numbers(arm, "predicted_increment_bytes")
        measured = study.numbers(arm, "memory_bytes")
        style = _style(arm, at)
        for curve, hidden in ((predicted, "marker"), (measured, "linestyle")):
            values = [value / MEBI for value in curve.values()]
            axes.plot(list(curve), values, markersize=4, **style | {hidden: ""})
        axes.plot([], [], markersize=4, label=_curve_label(arm, predicted, noisy=False), **style)
    _use_size_axes(axes, study, "memory of one call (MiB)")
    axes.legend(frameon=False, loc="upper left", fontsize=8, handlelength=3)


def _use_size_axes(axes: "Axes", study: Study, what: str) -> None:
    sides = {size: round(math.sqrt(size)) for size in study.sizes}
    use_log_axes(
        axes,
        {size: "" if side in UNLABELLED_SIDES else str(side) for size, side in sides.items()},
        xlabel="side of the square map, whose N is side \N{MULTIPLICATION SIGN} side",
        ylabel=what,
    )


CHAPTER = Chapter(50, figures=crossover_figures)
