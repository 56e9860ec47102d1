"""The gallery as points: memory of a call against its MACs."""

from collections.abc import Sequence
from typing import Any

from reports import model
from reports.crossover.gallery import AGAINST, GALLERY, gallery_tables
from reports.model import GIGA, INK, MEBI, Chapter, Figure, Frame, Plot

# Blocks with fewer MACs than NB by more are of another kind (a mean and two vectors), and far to the left of all.
LEAST_SHARE = 1e-3

Point = tuple[str, float, float]


def gallery_figures(frame: Frame) -> tuple[Figure, ...]:
    """One figure, of the first map and the first settings of the gallery; none without two blocks that were counted."""
    points = _gallery_points(frame)
    if len(points) < 2:
        return ()
    (table, *_) = gallery_tables(frame)
    said = (
        f"{name} {model.short(macs)} G and {model.short(held)} MiB" for name, macs, held in points
    )
    return (
        Figure(
            name=GALLERY,
            title=f"{table.title}: memory against MACs",
            svg=model.svg_of(lambda axes: _draw_gallery(axes, points), GALLERY, height=4.6),
            alternative=f"A point for each block with at least a thousandth of NB's MACs: {', '.join(said)}.",
            data=table,
        ),
    )


def _gallery_points(frame: Frame) -> list[Point]:
    rows = [row for row in model.rows_of_experiment(frame, GALLERY) if row["mode"] == "eval"]
    first = [row for row in rows if row["size"] == rows[0]["size"]]
    counted = {
        str(row["axes"]["block"]): (row["macs"] / GIGA, row["predicted_increment_bytes"] / MEBI)
        for row in reversed(first)
        if row["macs"] and row["predicted_increment_bytes"]
    }
    least = LEAST_SHARE * counted.get(AGAINST, (0.0,))[0]
    return [(name, *place) for name, place in reversed(counted.items()) if place[0] >= least]


def _draw_gallery(axes: Plot, points: Sequence[Point]) -> None:
    style: Any = {"marker": "o", "linestyle": "", "markersize": 5}
    axes.set(xscale="log", yscale="log")
    for name, macs, held in points:
        colour = model.COLOURS[name != AGAINST]
        # NB's above those at the same place.
        axes.plot([macs], [held], color=colour, zorder=3 if name == AGAINST else 2, **style)
    axes.margins(x=0.25, y=0.15)
    for axis in (axes.xaxis, axes.yaxis):
        model.use_plain_ticks(axis)
    axes.grid(visible=True, color=INK, alpha=0.15, linewidth=0.6)
    axes.set(xlabel="MACs of one call (G)", ylabel="memory of one call, predicted (MiB)")
    model.label_points(axes, points)


CHAPTER = Chapter(65, figures=gallery_figures)
