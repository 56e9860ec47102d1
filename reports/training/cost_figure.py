"""What a point of mIoU costs: mIoU against MACs, a figure for each study."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.model import COLOURS, GIGA, INK, Figure, Spread, Table, short, svg_of
from reports.training import runs, tables
from reports.training.runs import Arm, TrainingStudy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

# Where a label may stand about its point, in points of type, the first that is free.
LABEL_PLACES = (
    ((8, 0), "left", "center"),
    ((-8, 0), "right", "center"),
    ((0, 9), "center", "bottom"),
    ((0, -9), "center", "top"),
    ((8, 12), "left", "bottom"),
    ((8, -12), "left", "top"),
    ((-8, 12), "right", "bottom"),
    ((-8, -12), "right", "top"),
)

Point = tuple[str, float, Spread]


def cost_figures(frame: "pd.DataFrame") -> tuple[Figure, ...]:
    """One figure for each study with two arms or more that were both counted and trained."""
    made = (_figure(study) for study in runs.training_studies(frame))
    return tuple(figure for figure in made if figure is not None)


def _figure(study: TrainingStudy) -> Figure | None:
    # Of inference where that was counted, else of a training step; never both in one figure.
    for mode, what in (("eval", "one call"), ("train", "one training step")):
        points = [point for arm in study.arms if (point := _point(arm, mode)) is not None]
        if len(points) >= 2:
            return _scatter(study, points, what=what)
    return None


def _point(arm: Arm, mode: str) -> Point | None:
    macs, score = arm.cost("macs", mode=mode), tables.miou_spread(arm)
    return (arm.name, macs / GIGA, score) if macs and isinstance(score, Spread) else None


def _scatter(study: TrainingStudy, points: Sequence[Point], *, what: str) -> Figure:
    def draw(axes: "Axes") -> None:
        _draw(axes, points)
        axes.set_xlabel(f"MACs of {what} (G)")
        axes.set_ylabel("mIoU (%)")

    said = ", ".join(
        f"{name} {score.mean:.1f} % at {short(macs)} G" for name, macs, score in points
    )
    name = study.file_name("costs", study.experiment)
    data: Table = tables.study_table(study)
    return Figure(
        name=name,
        title=f"{data.title}: mIoU against MACs",
        svg=svg_of(draw, name),
        alternative=f"Points with one standard deviation over the seeds each way. {said}.",
        data=data,
    )


def _draw(axes: "Axes", points: Sequence[Point]) -> None:
    for _, macs, score in points:
        axes.errorbar(
            macs,
            score.mean,
            yerr=score.deviation or None,
            color=COLOURS[0],
            marker="o",
            markersize=5,
            linewidth=1.2,
            capsize=3,
        )
    axes.margins(x=0.18, y=0.12)
    axes.grid(visible=True, color=INK, alpha=0.15, linewidth=0.6)
    _label(axes, points)


def _label(axes: "Axes", points: Sequence[Point]) -> None:
    """Write each name beside its point, where it covers neither another name nor a point if there is such a place."""
    from matplotlib.backends.backend_agg import RendererAgg

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    renderer = RendererAgg(640, 380, axes.figure.dpi)  # type: ignore[no-untyped-call]
    dots = [tuple(axes.transData.transform((macs, score.mean))) for _, macs, score in points]
    taken: list[Annotation] = []
    for name, macs, score in points:
        for offset, side, height in LABEL_PLACES:
            label = axes.annotate(
                name,
                (macs, score.mean),
                xytext=offset,
                textcoords="offset points",
                ha=side,
                va=height,
                fontsize=9,
            )
            box = label.get_window_extent(renderer)
            covers = box.count_overlaps([other.get_window_extent(renderer) for other in taken])
            if not covers and not box.count_contains(dots):
                break
            label.remove()
        else:
            offset, side, height = LABEL_PLACES[0]
            label = axes.annotate(
                name, (macs, score.mean), xytext=offset, textcoords="offset points", fontsize=9
            )
        taken.append(label)
