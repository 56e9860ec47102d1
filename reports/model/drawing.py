"""What all figures share: colours that follow the page and its theme, the type, and SVG text from a drawing.

A file of its own shows the light colours. The same drawing gives the same bytes.
"""

import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from matplotlib import axes as matplotlib_axes
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
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}


def short(value: float) -> str:
    """Three digits, but never a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def svg_of(
    draw: Callable[[Plot], None], name: str, *, width: float = 6.4, height: float = 3.8
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
    for number, colour in enumerate(COLOURS, start=1):
        drawing = drawing.replace(colour, f"var(--series-{number}, {colour})")
    return re.sub(r'\bid="|href="#|url\(#', rf"\g<0>{name}-", drawing)


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
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(visible=True, which="major", color=INK, alpha=0.15, linewidth=0.6)
