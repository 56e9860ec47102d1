"""The figure of the experiment `crossover`: time above memory of each arm against the size of the map.

The place where the fastest form of APNB overtakes the fastest of NB is marked; a line ends where an arm was not run,
with the reason if it was too large. Predicted memory are lines, measured memory markers. A colour is a way of computing
a block, that of the text the plain one; NB is dashed with hollow markers, APNB is not.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from reports import model
from reports.crossover.answer import contests, crossing_words, crossover_answer, square_map
from reports.crossover.curves import Study, crossover_studies
from reports.crossover.scaling import Crossing, exponent
from reports.crossover.tables import size_table
from reports.model import COLOURS, INK, MEBI, MILLI, Chapter, Figure, Frame, Plot, short

# Sides whose labels would cover each other on the axis go without.
UNLABELLED_SIDES = (96, 192, 384)
# Half an interval of an exponent that a line's name gives.
NARROW = 0.25
LEAD = 10
CAPTION = (
    "nb is the non-local block, apnb the asymmetric one; after a colon stands another way of computing it. Above time "
    "with intervals, below memory: lines are predicted, markers measured. N^k: how the cost grows with the N positions "
    "of large maps."
)


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
        title=f"Time and memory of one call against the size of the map, {study.place}"
        if study.device
        else f"Memory of one call against the size of the map, {study.place}",
        svg=model.svg_of(draw, name, height=7.4 if study.device else 3.8),
        alternative=_figure_words(study),
        data=size_table(study),
        caption=CAPTION if study.device else "",
        lead=LEAD,
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
        f"{arm} {short(curve[max(curve)] / scale)} {unit} at {square_map(max(curve))}"
        for arm, curve in curves.items()
        if curve
    )


def _curve_label(arm: str, curve: Mapping[int, float]) -> str:
    """The name of an arm, and its exponent where the sizes tell it."""
    fit = exponent(curve)
    is_told = fit is not None and fit.ends[1] - fit.ends[0] <= 2 * NARROW
    return f"{arm} N^{fit.median:.2f}" if fit and is_told else arm


def _drawn_arms(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """The arms, each with the style of its line."""
    ways = [*dict.fromkeys(arm.partition(":")[2] for arm in study.arms)]
    others = [way for way in ways if way]
    for arm in study.arms:
        block, _, way = arm.partition(":")
        at = others.index(way) if way else 0
        style: dict[str, Any] = {
            "color": COLOURS[at % len(COLOURS)] if way else INK,
            "marker": model.MARKERS[(at + 1 if way else 0) % len(model.MARKERS)],
            "linestyle": (0, (5, 2)) if block == "nb" else "-",
            "linewidth": 1.4 if way else 2.2,
            "markersize": 4,
        }
        yield arm, style | ({"markerfacecolor": "none"} if block == "nb" else {})


def _draw_times(axes: Plot, study: Study) -> None:
    ends: list[tuple[str, float, float, str]] = []
    largest = max((max(t) for arm in study.arms if (t := study.medians(arm))), default=0)
    for arm, style in _drawn_arms(study):
        times = study.times(arm)
        if times:
            bounds = [(time.median, *time.ends) for time in times.values()]
            down = [(middle - low) / MILLI for middle, low, _ in bounds]
            up = [(high - middle) / MILLI for middle, _, high in bounds]
            heights = [middle / MILLI for middle, *_ in bounds]
            line, *_ = axes.errorbar(list(times), heights, yerr=[down, up], **style, elinewidth=1)
            told = zip(times, heights, bounds, strict=True)
            model.tell_points(
                line,
                [
                    f"{arm} at {square_map(size)}: {short(height)} ms "
                    f"[{short(low / MILLI)}, {short(high / MILLI)}]"
                    for size, height, (_, low, high) in told
                ],
            )
            end = _say_why_it_ends(axes, study, arm, style["color"])
            label = _curve_label(arm, study.medians(arm))
            last = max(times)
            if last < largest and not end:
                leader: dict[str, Any] = {
                    "color": style["color"],
                    "linestyle": ":",
                    "linewidth": 0.8,
                }
                axes.plot([last, largest], [heights[-1]] * 2, **leader)
            if last == largest or not end:
                ends.append((label, largest, heights[-1], style["color"]))
    _use_size_axes(axes, study, "time of one call (ms)")
    # For the words at the ends of the lines.
    axes.margins(y=0.1)
    best = contests(study)["best against best"]
    if best is not None:
        _mark_crossing(axes, best)
    model.label_lines(axes, ends)


def _say_why_it_ends(axes: Plot, study: Study, arm: str, colour: str) -> bool:
    """Say what an arm would need at the next size, where that was too much."""
    times = study.medians(arm)
    last = max(times)
    larger = ((size, row["failure"]) for size, row in study.arms[arm].items() if size > last)
    at, failure = next(((size, failure) for size, failure in larger if failure), (0, None))
    if failure is None or not failure.needs_bytes:
        return False
    text = f"{arm} needs {failure.needs_bytes / model.GIBI:.0f} GiB at {square_map(at)}"
    style = {"ha": "right", "fontsize": 8, "color": colour}
    model.label_point(axes, text, (last, times[last] / MILLI), offset=(-4, 7), **style)
    return True


def _mark_crossing(axes: Plot, crossed: Crossing) -> None:
    """Shade where the crossing may be, with a line where the medians cross."""
    smallest, largest = min(crossed.ratios), max(crossed.ratios)
    low, at, high = (
        min(max(size, smallest), largest) for size in (crossed.low, crossed.at, crossed.high)
    )
    # Empty where the crossing is beyond all sizes.
    if low < high:
        axes.axvspan(low, high, color=INK, alpha=0.08, linewidth=0)
    if 0 < crossed.at < math.inf:
        axes.axvline(crossed.at, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    offset, side = ((-5, 0), "right") if crossed.at == math.inf else ((5, 0), "left")
    style = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "top", "fontsize": 8}
    model.label_point(axes, crossing_words(crossed)[1], (at, 0.97), offset=offset, **style)


def _draw_memory(axes: Plot, study: Study) -> None:
    ends: list[tuple[str, float, float, str]] = []
    for arm, style in _drawn_arms(study):
        curves = {
            "predicted": study.numbers(arm, "predicted_increment_bytes"),
            "measured": study.numbers(arm, "memory_bytes"),
        }
        for what, curve in curves.items():
            values = [value / MEBI for value in curve.values()]
            hidden = {"marker": ""} if what == "predicted" else {"linestyle": ""}
            (line,) = axes.plot(list(curve), values, **style | hidden)
            if what == "measured":
                told = zip(curve, values, strict=True)
                texts = [f"{arm} at {square_map(n)}: {short(mib)} MiB measured" for n, mib in told]
                model.tell_points(line, texts)
        curve = curves["predicted"] or curves["measured"]
        if curve:
            end = max(curve)
            label = _curve_label(arm, curves["predicted"])
            ends.append((label, end, curve[end] / MEBI, style["color"]))
    _use_size_axes(axes, study, "memory of one call (MiB)")
    model.label_lines(axes, ends)


def _use_size_axes(axes: Plot, study: Study, ylabel: str) -> None:
    sides = {size: round(math.sqrt(size)) for size in study.sizes}
    model.use_log_axes(
        axes,
        {size: "" if side in UNLABELLED_SIDES else str(side) for size, side in sides.items()},
        xlabel="side of the square map, whose N is side \N{MULTIPLICATION SIGN} side",
        ylabel=ylabel,
    )


CHAPTER = Chapter(50, figures=crossover_figures)
