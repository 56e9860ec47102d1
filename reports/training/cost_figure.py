"""What a point of mIoU costs: mIoU against MACs, a figure for each study."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from reports.model import (
    COLOURS,
    GIGA,
    INK,
    Figure,
    Frame,
    Plot,
    Spread,
    label_point,
    short,
    svg_of,
)
from reports.training.claims import arm_name
from reports.training.runs import TrainingStudy
from reports.training.studies import training_studies
from reports.training.tables import miou_spread, study_table

if TYPE_CHECKING:
    from matplotlib.text import Annotation

# Where a label may stand about its point, in points of type, the first that is free.
LABEL_PLACES = (
    *(((8, 0), "left", "center"), ((-8, 0), "right", "center")),
    *(((0, 9), "center", "bottom"), ((0, -9), "center", "top")),
    *(((8, 12), "left", "bottom"), ((8, -12), "left", "top")),
    *(((-8, 12), "right", "bottom"), ((-8, -12), "right", "top")),
    # Of many near points, higher and lower.
    *(
        place
        for height in (26, 40, 54, 68)
        for place in (
            *(((8, height), "left", "bottom"), ((8, -height), "left", "top")),
            *(((-8, height), "right", "bottom"), ((-8, -height), "right", "top")),
        )
    ),
)

ScoredArm = tuple[str, float, Spread]


def cost_figures(frame: Frame) -> tuple[Figure, ...]:
    """One figure for each study with two arms or more that were both counted and trained."""
    figures = []
    for study in training_studies(frame):
        # Of inference where that was counted, else of a training step; never both in one figure.
        for mode, call in (("eval", "one call"), ("train", "one training step")):
            arms = [
                (arm_name(arm.key), macs / GIGA, score)
                for arm in study.arms
                if (macs := arm.cost("macs", mode=mode))
                and isinstance(score := miou_spread(arm), Spread)
            ]
            if len(arms) >= 2:
                figures.append(_scatter_figure(study, arms, call=call))
                break
    return tuple(figures)


def _scatter_figure(study: TrainingStudy, arms: Sequence[ScoredArm], *, call: str) -> Figure:
    style: Any = {"color": COLOURS[0], "marker": "o", "markersize": 5, "linewidth": 1.2}

    def draw(axes: Plot) -> None:
        for _, macs, score in arms:
            axes.errorbar(macs, score.mean, yerr=score.deviation or None, capsize=3, **style)
        axes.margins(x=0.3, y=0.3)
        axes.grid(visible=True, color=INK, alpha=0.15, linewidth=0.6)
        _label_points(axes, arms)
        axes.set(xlabel=f"MACs of {call} (G)", ylabel="mIoU (%)")

    texts = (f"{name} {score.mean:.1f} % at {short(macs)} G" for name, macs, score in arms)
    name = study.file_name("costs", study.experiment)
    data = study_table(study)
    return Figure(
        name=name,
        title=f"{data.title}: mIoU against MACs",
        svg=svg_of(draw, name),
        alternative=f"Points with one standard deviation over the seeds each way. {', '.join(texts)}.",
        data=data,
    )


def _label_points(axes: Plot, arms: Sequence[ScoredArm]) -> None:
    """Write each name beside its point, within the axes, over no other name or point if there is such a place."""
    from matplotlib.backends.backend_agg import RendererAgg

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    renderer = RendererAgg(640, 380, axes.figure.dpi)  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    dots = [tuple(axes.transData.transform((macs, score.mean))) for _, macs, score in arms]
    taken: list[Annotation] = []
    for name, macs, score in arms:
        label = partial(label_point, axes, name, (macs, score.mean), fontsize=9)
        for offset, side, height in LABEL_PLACES:
            text = label(offset=offset, ha=side, va=height)
            box = text.get_window_extent(renderer)
            covers = box.count_overlaps([other.get_window_extent(renderer) for other in taken])
            inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
            if inside and not covers and not box.count_contains(dots):
                break
            text.remove()
        else:
            text = label(offset=LABEL_PLACES[0][0])
        taken.append(text)
