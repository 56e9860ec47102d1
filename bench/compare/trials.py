"""Comparisons whose right verdict is known: of equal arms, and of one that was slowed on purpose.

Simulated from the noise of recorded rounds by the thousand, or a few in real processes.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench import records
from bench.analysis import (
    STRETCH,
    arm_noise,
    decide_comparison,
    log_ratio,
    rounds_of,
    scatter,
    simulate,
)
from bench.compare.compare import OnStep, compare
from bench.compare.rounds import Settings
from bench.compare.turns import ArmDevice
from bench.records import Comparison, Trials
from experiments.spec import Cell


def recorded_noise(folder: Path) -> dict[str, tuple[Comparison, ...]]:
    """Comparisons of equal arms that are long enough to draw from, by the name of the folder that they lie in.

    Raises:
        ValueError: there are none.
    """
    by_folder: dict[str, tuple[Comparison, ...]] = {}
    for path in sorted(folder.rglob(records.COMPARISONS_FILE)):
        comparisons = records.read_comparisons(path)
        equal = tuple(
            each for each in comparisons if each.is_of_equals and len(each.rounds) >= STRETCH
        )
        if equal:
            by_folder[path.parent.name] = equal
    if not by_folder:
        msg = f"{str(folder)!r} has no comparisons of an arm with itself; make some with --harness --real 3 --out DIR"
        raise ValueError(msg)
    return by_folder


def simulated_trials(
    noise: Mapping[str, Sequence[Comparison]],
    settings: Settings,
    *,
    planted: Iterable[float],
    count: int,
) -> Iterator[Trials]:
    """So many comparisons of each noise, of equal arms and with each share planted."""
    shares = (0.0, *planted)
    for name, comparisons in noise.items():
        arms = [arm_noise(each) for each in comparisons]
        logs = [log for each in comparisons for log in _logs(each)]
        for share in shares:
            counts = simulate(
                arms,
                planted=share,
                margin=settings.margin,
                level=settings.level,
                most=settings.rounds,
                count=count,
            )
            yield _trials(settings, {"noise": name, "scatter": scatter(logs), **counts}, share)


def real_trials(
    cell: Cell,
    out: Path,
    *,
    device: ArmDevice,
    settings: Settings,
    planted: Iterable[float],
    count: int,
    on_step: OnStep = lambda _: None,
) -> Iterator[Trials]:
    """So many comparisons of a cell with itself in real processes, and with each share planted; all are kept."""
    for share in (0.0, *planted):
        comparisons = []
        for _ in range(count):
            made = compare(
                *(cell, cell), device=device, settings=settings, planted=share, on_step=on_step
            )
            records.append_line(out / records.COMPARISONS_FILE, made)
            comparisons.append(made)
        verdicts = [
            decide_comparison(each, each.clocks[0]).verdict.lower()
            if each.rounds
            else "inconclusive"
            for each in comparisons
        ]
        logs = [log for each in comparisons if each.rounds for log in _logs(each)]
        content = {
            "noise": "this machine",
            "is_real": True,
            "scatter": scatter(logs) if logs else 0.0,
            **{name: verdicts.count(name) for name in ("same", "faster", "slower", "inconclusive")},
            "rounds": statistics.fmean(len(each.rounds) for each in comparisons),
            "seconds": statistics.fmean(each.seconds for each in comparisons),
        }
        yield _trials(settings, content, share)


def _logs(comparison: Comparison) -> list[float]:
    rounds = rounds_of(comparison, comparison.clocks[0])
    return [log_ratio(each.second, each.first) for each in rounds]


def _trials(settings: Settings, content: Mapping[str, object], planted: float) -> Trials:
    fixed = {"margin": settings.margin, "level": settings.level, "most_rounds": settings.rounds}
    return Trials.model_validate({**content, **fixed, "planted": planted})
