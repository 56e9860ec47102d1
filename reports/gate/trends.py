"""The history of runs: a chart for each quantity of a device, steps marked, and a table of all series."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reports.gate.findings import amount
from reports.gate.series import EXACT, Series
from reports.model import COLOURS, MARKERS, Column, Figure, Table, Value, svg_of
from reports.render import html, markdown, plain, slug

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_CHART = len(COLOURS)
COLUMNS = (
    Column("device", align="left"),
    Column("quantity", align="left"),
    Column("cell", align="left"),
    Column("runs"),
    Column("first"),
    Column("last"),
    Column("last/first", digits=3),
    Column("steps", align="left", wide=True),
)
RULE = (
    "A step: where two levels of at least four points differ by more than 2 % and by more than four times the scatter "
    "about them; of exact quantities every change. A chart to look at; the gate compares by turns instead."
)


def history_table(series: Sequence[Series]) -> Table:
    """All series, those with the latest steps first within a device."""
    rows = sorted(series, key=lambda one: (one.device, -len(one.steps), one.quantity, one.cell))
    return Table(
        name="history",
        title="History of runs",
        columns=COLUMNS,
        rows=tuple(_row(one) for one in rows),
        notes=(RULE,),
        group_by=(0,),
    )


def _row(one: Series) -> tuple[Value, ...]:
    first, last = one.points[0].value, one.points[-1].value
    return (
        one.device,
        one.quantity,
        one.cell,
        len(one.points),
        amount(_whole(first), one.unit),
        amount(_whole(last), one.unit),
        last / first,
        _told(one) or "none",
    )


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def _told(one: Series) -> str:
    return "; ".join(
        f"{one.points[step.at].at[:10]} {one.points[step.at].commit[:10]}: times {step.ratio:.3f}"
        for step in one.steps
    )


def history_figures(series: Sequence[Series]) -> tuple[Figure, ...]:
    """A chart for each device and quantity, of so many lines at most.

    Single points make no line, and of what is exact only that is drawn which has moved.
    """
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        if len(one.points) > 1 and (one.steps or one.quantity not in EXACT):
            groups.setdefault((one.device, one.quantity), []).append(one)
    return tuple(
        _figure(device, quantity, lines[start : start + PER_CHART], start // PER_CHART)
        for (device, quantity), lines in groups.items()
        for start in range(0, len(lines), PER_CHART)
    )


def _figure(device: str, quantity: str, lines: Sequence[Series], number: int) -> Figure:
    name = slug("history", device, quantity, *([str(number + 1)] if number else []))
    commits = {point.commit for one in lines for point in one.points}

    def draw(axes: "Axes") -> None:
        _draw(axes, lines)
        axes.set_ylabel(f"{quantity}, over the first run's")

    told = [f"{plain(one.cell)}: {_told(one)}" for one in lines if one.steps]
    return Figure(
        name=name,
        title=f"{plain(quantity)} on {plain(device)}",
        svg=svg_of(draw, name),
        alternative=f"Lines of {len(lines)} cells over {len(commits)} commits. Steps: {' / '.join(told) or 'none'}.",
        data=_data(name, lines),
    )


def _draw(axes: "Axes", lines: Sequence[Series]) -> None:
    from matplotlib.dates import ConciseDateFormatter, date2num

    for which, one in enumerate(lines):
        moments = [datetime.fromisoformat(point.at) for point in one.points]
        across = [float(at) for at in date2num(moments)]  # type: ignore[no-untyped-call]
        up = [point.value / one.points[0].value for point in one.points]
        colour = COLOURS[which % len(COLOURS)]
        marker = MARKERS[which % len(MARKERS)]
        axes.plot(across, up, marker=marker, markersize=4, color=colour, label=plain(one.cell))
        for step in one.steps:
            place, height = across[step.at], up[step.at]
            axes.axvline(place, color=colour, linestyle=":", linewidth=1)
            axes.annotate(
                f"\N{MULTIPLICATION SIGN}{step.ratio:.3f}",
                (place, height),
                textcoords="offset points",
                xytext=(4, 6),
                fontsize=9,
                color=colour,
            )
    axes.xaxis_date()
    short = ConciseDateFormatter(axes.xaxis.get_major_locator())  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(short)
    axes.margins(y=0.15)
    axes.legend(frameon=False, fontsize=8)


def _data(name: str, lines: Sequence[Series]) -> Table:
    rows = tuple(
        (one.cell, point.at, point.commit[:10], amount(_whole(point.value), one.unit))
        for one in lines
        for point in one.points
    )
    columns = (
        Column("cell", align="left"),
        Column("run", align="left"),
        Column("commit", align="left"),
        Column("value"),
    )
    return Table(name=name, title="Data of the chart", columns=columns, rows=rows)


def history_sentence(series: Sequence[Series]) -> str:
    """How much there is, and how much of it moved."""
    commits = {point.commit for one in series for point in one.points}
    several = sum(len(one.points) > 1 for one in series)
    moved = sum(bool(one.steps) for one in series)
    return f"{len(series)} series of {len(commits)} commits, {several} with more than one point; steps in {moved}"


def write_history(series: Sequence[Series], folder: Path) -> tuple[Table, ...]:
    """Write history.md, a page and a file for each chart; give the table of the series with a step, if any."""
    shown, drawn = history_table(series), history_figures(series)
    (folder / "history.md").write_text(markdown.to_markdown(shown), encoding="utf-8")
    for figure in drawn:
        (folder / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")
    page = html.report_page([shown], drawn, title="History of runs")
    (folder / "index.html").write_text(page, encoding="utf-8")
    moved = [one for one in series if one.steps]
    return (history_table(moved),) if moved else ()
