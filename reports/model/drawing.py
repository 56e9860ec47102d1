"""What all figures share: colours that follow the page and its theme, the type, and SVG text from a drawing.

A file of its own shows the light colours. The same drawing gives the same bytes.
"""

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from reports.model.layout import plain

if TYPE_CHECKING:
    from matplotlib import axes as matplotlib_axes
    from matplotlib.axis import Axis
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation

# Not imported for this: matplotlib takes longer than all of reports.
Plot: TypeAlias = "matplotlib_axes.Axes"

# Okabe and Ito's colours, which readers with any colour vision tell apart (jfly.uni-koeln.de/color).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9")
INK = "#010203"
MARKERS = "osD^vP"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reports",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    # No factor of ten or sum that stands apart from the ticks.
    "axes.formatter.limits": (-9, 12),
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}


# Inches: as wide as half a page, so that its type is as large on a phone.
WIDTH, HEIGHT = 5.4, 3.6
# Logarithmic axes of so many decades have ticks at 2 and 5 too.
FEW_DECADES = 2.5
# Between the names of two lines, in points of type.
LINE_GAP = 11.0
# Before what the points of a line say, in the line's identifier, until they are titles of the points.
TIPS, TIP_END = "tips|", "|"
POINTS = re.compile(r'<g id="tips\|([^"]*)">(.*?)</g>', re.DOTALL)
TAG = re.compile(r"<[^>]*>")
NAMES = re.compile(r'\bid="|href="#|url\(#')
POINT = re.compile(r"<use [^>]*/>")


def short(value: float) -> str:
    """Three digits, but never a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def svg_of(
    draw: Callable[[Plot], None], name: str, *, width: float = WIDTH, height: float = HEIGHT
) -> str:
    """Draw on axes of their own and give the SVG text, in the page's colours; `name` goes before its identifiers."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(width, height))
        FigureCanvasSVG(canvas)
        draw(canvas.add_subplot())
        out = io.StringIO()
        undated = {"Date": None, "Creator": None}
        canvas.savefig(out, format="svg", transparent=True, metadata=undated)
    drawing = out.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(INK, "currentColor")
    drawing = POINTS.sub(_with_titles, drawing)
    for number, colour in enumerate(COLOURS, start=1):
        drawing = drawing.replace(colour, f"var(--series-{number}, {colour})")
    # Inside of tags alone, so that no word of the drawing changes.
    return TAG.sub(lambda tag: NAMES.sub(rf"\g<0>{name}-", tag[0]), drawing)


def tell_points(line: "Line2D", texts: Sequence[str]) -> None:
    """Say of each point of a line what a pointer at rest on it shows."""
    line.set_gid(TIPS + TIP_END.join(plain(text).replace(TIP_END, "/") for text in texts))


def _with_titles(line: re.Match[str]) -> str:
    """Give each point of a line the title that its identifier holds; none where a point is outside of the axes."""
    titles, body = line[1].split(TIP_END), line[2]
    if len(titles) != len(POINT.findall(body)):
        return f"<g>{body}</g>"
    rest = iter(titles)
    return (
        f"<g>{POINT.sub(lambda use: f'{use[0][:-2]}><title>{next(rest)}</title></use>', body)}</g>"
    )


def label_lines(axes: Plot, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Write the name of each line at its end in its colour, moved up or down where it would cover another.

    An end is the name, the point and the colour.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    points = 72 / axes.figure.dpi
    heights = [axes.transData.transform((x, y))[1] * points for _, x, y, _ in ends]
    order = sorted(range(len(ends)), key=heights.__getitem__)
    for at, height in zip(order, _apart([heights[at] for at in order]), strict=True):
        name, x, y, colour = ends[at]
        style = {"color": colour, "va": "center", "fontweight": "bold", "fontsize": 9}
        label_point(axes, name, (x, y), offset=(7, height - heights[at]), **style)


def _apart(heights: Sequence[float]) -> list[float]:
    """Keep a gap between heights, which ascend, by the least moves: what is too near moves as one about its mean."""
    blocks: list[
        tuple[float, int]
    ] = []  # sum of where the members would have the block begin, and their number
    for height in heights:
        total, count = height, 1
        while blocks and blocks[-1][0] / blocks[-1][1] + blocks[-1][1] * LINE_GAP > total / count:
            before, members = blocks.pop()
            total, count = before + total - count * members * LINE_GAP, count + members
        blocks.append((total, count))
    return [total / count + at * LINE_GAP for total, count in blocks for at in range(count)]


def label_point(
    axes: Plot,
    text: str,
    point: tuple[float, float],
    *,
    offset: tuple[float, float],
    **style: Any,  # noqa: ANN401
) -> "Annotation":
    """Write beside a point, so many points of type from it."""
    return axes.annotate(text, point, xytext=offset, textcoords="offset points", **style)


def use_log_axes(axes: Plot, ticks: Mapping[int, str], *, xlabel: str, ylabel: str) -> None:
    """Make both axes logarithmic, with these ticks below and plain numbers at the side."""
    from matplotlib.ticker import NullLocator

    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.xaxis.set_minor_locator(NullLocator())
    use_plain_ticks(axes.yaxis)
    axes.grid(visible=True, which="major", color=INK, alpha=0.15, linewidth=0.6)


def use_plain_ticks(axis: "Axis") -> None:
    """Give a logarithmic axis, whose data and margins are set, a few ticks of any span, as plain numbers.

    Matplotlib's own write powers of ten, which are TeX, and have two ticks or none where a span is short.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes = axis.axes
    low, high = axes.get_xlim() if axis is axes.xaxis else axes.get_ylim()
    decades = math.log10(high / low)
    if decades < 1:
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < FEW_DECADES else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: tick_text(value))


def tick_text(value: float) -> str:
    """Write a number of an axis without a power of ten."""
    return f"{value:,.12f}".rstrip("0").rstrip(".")
