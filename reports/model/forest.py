"""Forest plots: a row for each number, its interval as a bar, its verdict as marker and colour, and a line to beat."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any, NamedTuple

from reports.model.drawing import INK, WIDTH, Plot, svg_of, tell_points, tick_text

ROW_INCHES, FRAME_INCHES = 0.185, 0.95
# Ticks of a logarithmic axis, by how many times its end is its beginning.
NARROW_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2)
USUAL_TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10)
WIDE_TICKS = tuple(digit * 10.0**power for power, digit in product(range(-6, 7), (1, 2, 5)))
NARROW, USUAL = 2.5, 10.0
# How many times the median reach of the intervals an axis shows; what lies beyond is an arrow at its edge.
SHOWN_REACH = 4.0


class Style(NamedTuple):
    """How the numbers of one kind are drawn."""

    colour: str
    marker: str
    is_hollow: bool = False


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One number; without `middle` the row has its texts alone."""

    group: str  # a heading above the rows that have it in common
    label: str
    kind: str
    text: str  # beside the axes
    middle: float | None = None
    low: float | None = None
    high: float | None = None
    published: float | None = None
    tip: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval; the number itself where it has none."""
        assert self.middle is not None
        low = self.middle if self.low is None else self.low
        return low, self.middle if self.high is None else self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestAxis:
    """What is measured along, where the line stands, and whether the axis is logarithmic."""

    label: str
    baseline: float
    baseline_label: str
    is_log: bool = False
    published_label: str = ""


def forest_svg(
    rows: Sequence[ForestRow], name: str, *, axis: ForestAxis, kinds: Mapping[str, Style]
) -> str:
    """Draw the rows from top to bottom in groups; `kinds` is the legend, of which only what occurs is shown."""
    groups = [(group, list(same)) for group, same in groupby(rows, lambda row: row.group)]
    lines: list[ForestRow | str] = []
    for group, same in groups:
        lines += [group] if group else []
        lines += same

    def draw(axes: Plot) -> None:
        _set_scale(axes, rows, axis)
        axes.axvline(axis.baseline, color=INK, linewidth=1.2, alpha=0.7)
        for place, line in enumerate(lines):
            if isinstance(line, ForestRow):
                _draw_row(axes, line, place, kinds)
        _write_labels(axes, lines)
        _write_legend(axes, rows, axis, kinds)

    height = FRAME_INCHES + ROW_INCHES * len(lines)
    return svg_of(draw, name, width=WIDTH, height=height)


def _set_scale(axes: Plot, rows: Sequence[ForestRow], axis: ForestAxis) -> None:
    drawn = [row for row in rows if row.middle is not None]
    ends = [end for row in drawn for end in row.ends]
    if axis.is_log:
        from matplotlib.ticker import NullLocator

        axes.set_xscale("log")
        least, most = min((axis.baseline, *ends)) / 1.12, max((axis.baseline, *ends)) * 1.12
        shown = [tick for tick in _ticks(most / least) if least <= tick <= most]
        axes.set_xlim(least, most)
        axes.set_xticks(shown, [tick_text(tick) for tick in shown])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        reaches = [max(abs(end - axis.baseline) for end in row.ends) for row in drawn] or [1.0]
        usual = SHOWN_REACH * statistics.median(reaches)
        reach = 1.08 * min(max(reaches), usual or 1.0) or 1.0
        axes.set_xlim(axis.baseline - reach, axis.baseline + reach)
    axes.set_xlabel(axis.label)
    axes.grid(visible=True, axis="x", color=INK, alpha=0.15, linewidth=0.6)
    axes.spines["left"].set_visible(False)


def _ticks(width: float) -> Sequence[float]:
    if width <= NARROW:
        return NARROW_TICKS
    return USUAL_TICKS if width <= USUAL else WIDE_TICKS


def _draw_row(axes: Plot, row: ForestRow, place: int, kinds: Mapping[str, Style]) -> None:
    if row.middle is None:
        return
    style = kinds[row.kind]
    left, right = axes.get_xlim()
    low, high = (min(max(end, left), right) for end in row.ends)
    axes.plot([low, high], [place, place], color=style.colour, linewidth=1.4)
    if row.published is not None and left <= row.published <= right:
        mark: Any = {"marker": "d", "markersize": 5, "markerfacecolor": "none", "linestyle": ""}
        axes.plot([row.published], [place], color=INK, alpha=0.6, **mark)
    marker, middle = style.marker, row.middle
    if not left <= middle <= right:
        marker = ">" if middle > right else "<"
        inset = 0.02 * (right - left)
        middle = min(max(middle, left + inset), right - inset)
    look: Any = {"markersize": 5.5, "linestyle": "", "clip_on": False}
    look |= {"markerfacecolor": "none", "markeredgewidth": 1.3} if style.is_hollow else {}
    (point,) = axes.plot([middle], [place], marker=marker, color=style.colour, **look)
    tell_points(point, [row.tip or f"{row.label}: {row.text}"])


def _write_labels(axes: Plot, lines: Sequence[ForestRow | str]) -> None:
    axes.set_yticks(range(len(lines)), [ln if isinstance(ln, str) else ln.label for ln in lines])
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if isinstance(line, str) else "normal")
    for place, line in enumerate(lines):
        if isinstance(line, ForestRow):
            across = axes.get_yaxis_transform()
            axes.text(1.03, place, line.text, transform=across, va="center", fontsize=9)


def _write_legend(
    axes: Plot, rows: Sequence[ForestRow], axis: ForestAxis, kinds: Mapping[str, Style]
) -> None:
    present = {row.kind for row in rows if row.middle is not None}
    for kind, style in kinds.items():
        if kind in present:
            face = {"markerfacecolor": "none"} if style.is_hollow else {}
            look: Any = {"color": style.colour, "marker": style.marker, "linestyle": "", **face}
            axes.plot([], [], label=kind, markersize=5.5, **look)
    left, right = axes.get_xlim()
    if any(row.published is not None and left <= row.published <= right for row in rows):
        look = {"marker": "d", "markerfacecolor": "none", "color": INK, "alpha": 0.6}
        axes.plot([], [], linestyle="", label=axis.published_label, **look)
    axes.plot([], [], color=INK, alpha=0.7, linewidth=1.2, label=axis.baseline_label)
    place: Any = {"loc": "outside upper center", "ncols": 3, "columnspacing": 1.2}
    axes.figure.legend(frameon=False, fontsize=9, handletextpad=0.4, **place)
