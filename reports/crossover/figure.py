"""The figure of the experiment `crossover`: time above memory of each arm against the size of the map.

The place where the fastest form of APNB overtakes the fastest of NB is marked; a line ends where an arm was not run,
with the reason if it was too large. Predicted memory are lines, measured memory markers.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from reports import model
from reports.crossover.answer import contests, crossing_words, crossover_answer, square_map
from reports.crossover.curves import Study, crossover_studies
from reports.crossover.scaling import Crossing, exponent
from reports.crossover.tables import size_table
from reports.model import COLOURS, MEBI, MILLI, Chapter, Figure, Frame, Plot

# Sides whose labels would cover each other on the axis go without.
UNLABELLED_SIDES = (96, 192, 384)


def crossover_figures(frame: Frame) -> tuple[Figure, ...]:
    """One figure for each study over two sizes or more."""
    return tuple(map(crossover_figure, (s for s in crossover_studies(frame) if len(s.sizes) > 1)))


def crossover_figure(study: Study) -> Figure:
    """Draw a study: time above memory, over the same sizes."""
    name = f"crossover-figure{study.suffix}"

    def draw(axes: Plot) -> None:
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
        svg=model.svg_of(draw, name, height=7.2 if study.device else 3.8),
        alternative=_figure_words(study),
        data=size_table(study),
    )


def _figure_words(study: Study) -> str:
    sizes = tuple(study.sizes.values())
    times = {arm: study.medians(arm) for arm in study.arms}
    memory = {arm: study.numbers(arm, "predicted_increment_bytes") for arm in study.arms}
    sentences = [f"Lines over square maps from {sizes[0]} to {sizes[-1]}."]
    if study.device:
        sentences.append(f"Time of one call: {_last_values(times, MILLI, 'ms')}.")
    sentences.append(f"Predicted memory: {_last_values(memory, MEBI, 'MiB')}.")
    if study.device:
        sentences.append(crossover_answer(study))
    return " ".join(sentences)


def _last_values(curves: Mapping[str, Mapping[int, float]], scale: float, unit: str) -> str:
    return ", ".join(
        f"{arm} {model.short(curve[max(curve)] / scale)} {unit} at {square_map(max(curve))}"
        for arm, curve in curves.items()
        if curve
    )


def _curve_label(arm: str, curve: Mapping[int, float], *, noisy: bool = True) -> str:
    fit = exponent(curve)
    if fit is None:
        return arm
    low, high = fit.ends
    ends = f" [{low:.2f}, {high:.2f}]" if noisy else ""
    return f"{arm}: N^{fit.median:.2f}{ends}"


def _drawn_arms(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """The arms that there are colours for, each with the style of its line."""
    for arm, colour, marker in zip(study.arms, COLOURS, model.MARKERS, strict=False):
        # Dashes tell the families apart where colours are alike.
        dashes = (0, (5, 2)) if arm.partition(":")[0] == "nb" else "-"
        style = {"color": colour, "marker": marker, "linestyle": dashes, "linewidth": 1.6}
        yield arm, style | {"markersize": 4}


def _draw_times(axes: Plot, study: Study) -> None:
    for arm, style in _drawn_arms(study):
        times = study.times(arm)
        if times:
            ends = [(time.median, *time.ends) for time in times.values()]
            down = [(middle - low) / MILLI for middle, low, _ in ends]
            up = [(high - middle) / MILLI for middle, _, high in ends]
            style |= {"label": _curve_label(arm, study.medians(arm)), "elinewidth": 1, "capsize": 2}
            heights = [middle / MILLI for middle, *_ in ends]
            axes.errorbar(list(times), heights, yerr=[down, up], **style)
            _say_why_it_ends(axes, study, arm, style["color"])
    _use_size_axes(axes, study, "time of one call (ms)")
    axes.legend(frameon=False, loc="lower right", fontsize=8, handlelength=3)
    # For the words at the ends of the lines.
    axes.margins(y=0.1)
    best = contests(study)["best against best"]
    if best is not None:
        _mark_crossing(axes, best)


def _say_why_it_ends(axes: Plot, study: Study, arm: str, colour: str) -> None:
    times = study.medians(arm)
    last = max(times)
    larger = {size: row for size, row in study.arms[arm].items() if size > last}
    failure = next((row["failure"] for row in larger.values() if row["failure"]), None)
    if failure is None or not failure.needs_bytes:
        return
    text = f"{arm} needs {failure.needs_bytes / model.GIBI:.0f} GiB at {square_map(min(larger))}"
    style = {"ha": "right", "fontsize": 8, "color": colour}
    model.label_point(axes, text, (last, times[last] / MILLI), offset=(0, 7), **style)


def _mark_crossing(axes: Plot, crossed: Crossing) -> None:
    """Shade where the crossing may be, with a line where the medians cross."""
    smallest, largest = min(crossed.ratios), max(crossed.ratios)
    low, at, high = (
        min(max(size, smallest), largest) for size in (crossed.low, crossed.at, crossed.high)
    )
    # Empty where the crossing is beyond all sizes.
    if low < high:
        axes.axvspan(low, high, color=model.INK, alpha=0.08, linewidth=0)
    if 0 < crossed.at < math.inf:
        axes.axvline(crossed.at, color=model.INK, alpha=0.5, linewidth=1, linestyle=":")
    offset, side = ((-5, 0), "right") if crossed.at == math.inf else ((5, 0), "left")
    style = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "top", "fontsize": 8}
    model.label_point(axes, crossing_words(crossed)[1], (at, 0.97), offset=offset, **style)


def _draw_memory(axes: Plot, study: Study) -> None:
    for arm, style in _drawn_arms(study):
        predicted = study.numbers(arm, "predicted_increment_bytes")
        measured = study.numbers(arm, "memory_bytes")
        for curve, hidden in ((predicted, "marker"), (measured, "linestyle")):
            values = [value / MEBI for value in curve.values()]
            axes.plot(list(curve), values, **style | {hidden: ""})
        axes.plot([], [], label=_curve_label(arm, predicted, noisy=False), **style)
    _use_size_axes(axes, study, "memory of one call (MiB)")
    axes.legend(frameon=False, loc="upper left", fontsize=8, handlelength=3)


def _use_size_axes(axes: Plot, study: Study, ylabel: str) -> None:
    sides = {size: round(math.sqrt(size)) for size in study.sizes}
    model.use_log_axes(
        axes,
        {size: "" if side in UNLABELLED_SIDES else str(side) for size, side in sides.items()},
        xlabel="side of the square map, whose N is side \N{MULTIPLICATION SIGN} side",
        ylabel=ylabel,
    )


CHAPTER = Chapter(50, figures=crossover_figures)
