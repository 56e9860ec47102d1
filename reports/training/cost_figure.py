"""What a point of mIoU costs: mIoU against MACs, a figure for each study."""

from collections.abc import Sequence
from typing import Any

from reports.model import (
    COLOURS,
    GIGA,
    INK,
    Figure,
    Frame,
    Plot,
    Spread,
    label_points,
    short,
    svg_of,
)
from reports.training.claims import arm_name
from reports.training.runs import TrainingStudy
from reports.training.studies import training_studies
from reports.training.tables import miou_spread, study_table

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
        axes.set(xlabel=f"MACs of {call} (G)", ylabel="mIoU (%)")
        # Last, where nothing moves any more.
        label_points(axes, [(name, macs, score.mean) for name, macs, score in arms])

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
