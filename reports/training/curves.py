"""Curves by which rate and length of trainings were chosen: mIoU against both, and the loss on the way."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.model import COLOURS, INK, MARKERS, Figure, Frame, Plot, Spread, svg_of
from reports.training.claims import LENGTH, NETWORK, RATE, arm_name
from reports.training.runs import (
    Arm,
    TrainingStudy,
    is_schedule,
    most_frequent,
)
from reports.training.studies import training_studies
from reports.training.tables import miou_spread, study_table

Point = tuple[float, float, float]  # x, y, deviation


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one network, by increasing x."""

    name: str
    points: tuple[Point, ...]


def schedule_figures(frame: Frame) -> tuple[Figure, ...]:
    """Figures of each schedule study: mIoU by iterations, mIoU by rate, loss by iterations; empty ones are left out."""
    studies = (study for study in training_studies(frame) if is_schedule(study))
    return tuple(figure for study in studies for figure in _figures(study))


def _figures(study: TrainingStudy) -> Iterable[Figure]:
    arms = [arm for arm in study.arms if isinstance(miou_spread(arm), Spread)]
    for axis, other, words in (
        (LENGTH, RATE, "iterations"),
        (RATE, LENGTH, "learning rate at first"),
    ):
        usual = most_frequent(arm.axes[other] for arm in arms)
        curves = _curves(axis, [arm for arm in arms if arm.axes[other] == usual])
        if curves:
            at = f"{other.replace('_', ' ')} {usual}"
            yield _figure(study, curves, (axis, words, "mIoU (%)", at))
    longest = max((float(arm.axes[LENGTH]) for arm in arms), default=0.0)
    losses = _losses([arm for arm in arms if float(arm.axes[LENGTH]) == longest])
    if losses:
        yield _figure(study, losses, ("loss", "iterations", "loss", f"{longest:g} iterations"))


def _curves(axis: str, arms: Sequence[Arm]) -> list[Curve]:
    """Mean mIoU of each network by an axis, of networks with two points or more."""
    points: dict[str, list[Point]] = {}
    for arm in arms:
        score = miou_spread(arm)
        assert isinstance(score, Spread), "chosen so"
        point = float(arm.axes[axis]), score.mean, score.deviation or 0.0
        points.setdefault(_name(arm), []).append(point)
    return [Curve(name, tuple(sorted(each))) for name, each in points.items() if len(each) > 1]


def _losses(arms: Sequence[Arm]) -> list[Curve]:
    """Mean loss over the seeds at each reading."""
    curves = []
    for arm in arms:
        readings: dict[int, list[float]] = {}
        for run in arm.runs.values():
            for iteration, loss in run["accuracy"].losses:
                readings.setdefault(iteration, []).append(loss)
        points = [(float(at), statistics.fmean(each), 0.0) for at, each in sorted(readings.items())]
        if len(points) > 1:
            curves.append(Curve(_name(arm), tuple(points)))
    return curves


def _name(arm: Arm) -> str:
    return arm_name((arm.axes[NETWORK],))


def _figure(
    study: TrainingStudy, curves: Sequence[Curve], texts: tuple[str, str, str, str]
) -> Figure:
    what, xlabel, ylabel, at = texts

    def draw(axes: Plot) -> None:
        for number, curve in enumerate(curves):
            x, y, deviations = zip(*curve.points, strict=True)
            style: Any = {"color": COLOURS[number % len(COLOURS)], "linewidth": 1.2}
            style |= {"marker": MARKERS[number % len(MARKERS)], "markersize": 4}
            spread = deviations if any(deviations) else None
            axes.errorbar(x, y, yerr=spread, capsize=3, label=curve.name, **style)
        if what != "loss":
            axes.set_xscale("log")
            ticks = sorted({x for curve in curves for x, _, _ in curve.points})
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        axes.grid(visible=True, color=INK, alpha=0.15, linewidth=0.6)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.legend(frameon=False)

    name = study.file_name(study.experiment, what.replace("_", "-"))
    ends = "; ".join(_ends(curve, ylabel) for curve in curves)
    return Figure(
        name=name,
        title=f"{study.title('Schedule')}: {ylabel.partition(' ')[0]} against {xlabel}, {at}",
        svg=svg_of(draw, name),
        alternative=f"Lines with one standard deviation over the seeds each way. {ends}.",
        data=study_table(study),
    )


def _ends(curve: Curve, ylabel: str) -> str:
    (first, low, _), *_, (last, high, _) = curve.points
    unit = " %" if "%" in ylabel else ""
    return f"{curve.name} {low:.3g}{unit} at {first:g}, {high:.3g}{unit} at {last:g}"
