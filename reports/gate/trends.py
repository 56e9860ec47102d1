"""Charts and a table of series over many runs, with the steps of their level marked."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from reports import model
from reports.gate.series import EXACT, TimeSeries
from reports.gate.wording import amount
from reports.model import COLOURS, Column, Figure, Plot, Table, plain, text_column
from reports.render import report_page, to_markdown

PER_CHART = len(COLOURS)
STEP_RULE = (
    "A step: where two levels of at least four points differ by more than 2 % and by more than four times the scatter "
    "about them; of exact quantities every change. A chart to look at; the gate compares by turns instead."
)


def history_table(series: Sequence[TimeSeries]) -> Table:
    """All series, those with the latest steps first within a device."""
    rows = []
    for each in sorted(series, key=lambda s: (s.device, -len(s.steps), s.quantity, s.cell)):
        first, last = each.points[0].value, each.points[-1].value
        amounts = (_amount(first, each), _amount(last, each), last / first)
        named = (each.device, each.quantity, each.cell)
        rows.append((*named, len(each.points), *amounts, _steps_text(each) or "none"))
    return Table(
        name="history",
        title="History of runs",
        columns=(
            *map(text_column, ("device", "quantity", "cell")),
            *map(Column, ("runs", "first", "last")),
            Column("last/first", digits=3),
            text_column("steps", wide=True),
        ),
        rows=tuple(rows),
        notes=(STEP_RULE,),
        group_by=(0,),
    )


def _amount(value: float, series: TimeSeries) -> str:
    return amount(int(value) if value == int(value) else value, series.unit)


def _steps_text(series: TimeSeries) -> str:
    points = [(series.points[step.at], step.ratio) for step in series.steps]
    return "; ".join(f"{p.at[:10]} {p.commit[:10]}: times {ratio:.3f}" for p, ratio in points)


def history_figures(series: Sequence[TimeSeries]) -> tuple[Figure, ...]:
    """A chart for each device and quantity, of so many lines at most; of what is exact only what has moved."""
    # A single point makes no line.
    drawn = (s for s in series if len(s.points) > 1 and (s.steps or s.quantity not in EXACT))
    groups = model.grouped(drawn, lambda each: (each.device, each.quantity))
    return tuple(
        _chart(lines[start : start + PER_CHART], number=start // PER_CHART)
        for lines in groups.values()
        for start in range(0, len(lines), PER_CHART)
    )


def _chart(lines: Sequence[TimeSeries], *, number: int) -> Figure:
    device, quantity = lines[0].device, lines[0].quantity
    name = model.slug("history", device, quantity, *([str(number + 1)] if number else []))

    steps = [f"{plain(line.cell)}: {_steps_text(line)}" for line in lines if line.steps]
    counts = f"{len(lines)} cells over {_count_commits(lines)} commits"
    rows = tuple(
        (line.cell, point.at, point.commit[:10], _amount(point.value, line))
        for line in lines
        for point in line.points
    )
    columns = (*map(text_column, ("cell", "run", "commit")), Column("value"))
    return Figure(
        name=name,
        title=f"{plain(quantity)} on {plain(device)}",
        svg=model.svg_of(lambda axes: _draw_time_series(axes, lines), name),
        alternative=f"Lines of {counts}. Steps: {' / '.join(steps) or 'none'}.",
        data=Table(name=name, title="Data of the chart", columns=columns, rows=rows),
    )


def _draw_time_series(axes: Plot, lines: Sequence[TimeSeries]) -> None:
    from matplotlib.dates import ConciseDateFormatter, date2num

    for colour, marker, line in zip(COLOURS, model.MARKERS, lines, strict=False):
        moments = [datetime.fromisoformat(point.at) for point in line.points]
        across = [float(at) for at in date2num(moments)]  # type: ignore[no-untyped-call]
        up = [point.value / line.points[0].value for point in line.points]
        axes.plot(across, up, marker=marker, markersize=4, color=colour, label=plain(line.cell))
        for step in line.steps:
            axes.axvline(across[step.at], color=colour, linestyle=":", linewidth=1)
            text, point = f"\N{MULTIPLICATION SIGN}{step.ratio:.3f}", (across[step.at], up[step.at])
            model.label_point(axes, text, point, offset=(4, 6), fontsize=9, color=colour)
    axes.xaxis_date()
    short = ConciseDateFormatter(axes.xaxis.get_major_locator())  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(short)
    axes.margins(y=0.15)
    axes.legend(frameon=False, fontsize=8)
    axes.set_ylabel(f"{lines[0].quantity}, over the first run's")


def _count_commits(series: Sequence[TimeSeries]) -> int:
    return len({point.commit for each in series for point in each.points})


def history_sentence(series: Sequence[TimeSeries]) -> str:
    """How much there is, and how much of it moved."""
    several = sum(len(each.points) > 1 for each in series)
    moved = sum(bool(each.steps) for each in series)
    total = f"{len(series)} series of {_count_commits(series)} commits"
    return f"{total}, {several} with more than one point; steps in {moved}"


def write_history(series: Sequence[TimeSeries], folder: Path) -> tuple[Table, ...]:
    """Write history.md, a page and a file for each chart; give the table of the series with a step, if any."""
    table, charts = history_table(series), history_figures(series)
    files = {f"{chart.name}.svg": chart.svg for chart in charts}
    files["history.md"] = to_markdown(table)
    files["index.html"] = report_page([table], charts, title="History of runs")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    moved = [each for each in series if each.steps]
    return (history_table(moved),) if moved else ()
