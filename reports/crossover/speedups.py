"""Each way of computing a block against the block as the documents wrote it: how many times as fast."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports import model
from reports.crossover.curves import time_bounds
from reports.crossover.scaling import ratios
from reports.model import (
    COLOURS,
    INK,
    MILLI,
    Chapter,
    Column,
    Figure,
    ForestAxis,
    ForestRow,
    Frame,
    Interval,
    Row,
    Style,
    Table,
)

IMPLEMENTATIONS = "implementations"
SPEEDUP_LEAD = 20
KINDS = {
    "faster": Style(COLOURS[0], "o"),
    "slower": Style(COLOURS[1], "v"),
    "no difference told": Style(INK, "o", is_hollow=True),
}
FAST = "fast"
MODE_WORDS = {"eval": "inference", "train": "training step"}
NOTE = (
    "Speed-up: time of the plain block over that of the arm. Its interval follows from those of the two times, each at "
    "least as wide as processes of one machine differ."
)


@dataclass(frozen=True, slots=True)
class SpeedUp:
    """How many times as fast as the plain block one way of computing it is, in one setting."""

    setting: str
    arm: str
    time: Interval  # seconds of one call
    ratio: Interval

    @property
    def verdict(self) -> str:
        """Whether the interval lies wholly above or below 1."""
        low, high = self.ratio.ends
        return "faster" if low > 1 else "slower" if high < 1 else "no difference told"


def speedups(rows: Sequence[Row]) -> Iterator[SpeedUp]:
    """Of every arm that was timed where the plain block was, by setting, the quickest first."""
    timed = [(row, time) for row in rows if (time := time_bounds(row)) is not None]
    for same in model.grouped(timed, lambda pair: _speedup_setting(pair[0])).values():
        plain = next((time for row, time in same if ":" not in _speedup_arm(row)), None)
        arms = [(row, time) for row, time in same if ":" in _speedup_arm(row)]
        for row, time in sorted(arms, key=lambda pair: pair[1].median) if plain else ():
            assert plain is not None
            setting = ", ".join(_speedup_setting(row))
            yield SpeedUp(setting, _speedup_arm(row), time, ratios({0: plain}, {0: time})[0])


def _speedup_arm(row: Row) -> str:
    return str(row["axes"]["block"])


def _speedup_setting(row: Row) -> tuple[str, ...]:
    mode = MODE_WORDS.get(row["mode"], str(row["mode"]))
    return f"{_speedup_arm(row).partition(':')[0]} at {row['size']}", mode, str(row["dtype"])


def speedup_answers(frame: Frame) -> Iterator[str]:
    """How many times as fast the fast path is, a sentence for each device and setting, the largest first."""
    for device, rows, _ in model.by_device(model.rows_of_experiment(frame, IMPLEMENTATIONS)):
        fast = [each for each in speedups(rows) if each.arm.endswith(f":{FAST}")]
        for each in sorted(fast, key=lambda each: -each.ratio.median):
            times = f"{each.arm} is {_times(each.ratio)} times as fast as the plain block"
            yield f"On {device}, {times} ({each.setting})."


def speedup_figures(frame: Frame) -> tuple[Figure, ...]:
    """One figure for each device on which a plain block and another way of computing it were timed."""
    devices = model.by_device(model.rows_of_experiment(frame, IMPLEMENTATIONS))
    found = ((device, list(speedups(rows)), suffix) for device, rows, suffix in devices)
    return tuple(_speedup_figure(*each) for each in found if each[1])


def _speedup_figure(device: str, found: Sequence[SpeedUp], suffix: str) -> Figure:
    name = f"speedups{suffix}"
    axis = ForestAxis(
        label="speed-up (times as fast as the plain block)",
        baseline=1.0,
        baseline_label="plain block",
        is_log=True,
    )
    best = max(found, key=lambda each: each.ratio.median)
    return Figure(
        name=name,
        title=f"Fast against plain: speed-up over the plain block, {device}",
        svg=model.forest_svg([*map(_speedup_row, found)], name, axis=axis, kinds=KINDS),
        alternative=(
            f"Time of the plain block over that of each other way of computing it, with intervals; right of the line "
            f"is faster. The largest: {best.arm} {_times(best.ratio)} times as fast ({best.setting})."
        ),
        data=_speedup_table(name, device, found),
        lead=SPEEDUP_LEAD,
    )


def _speedup_row(each: SpeedUp) -> ForestRow:
    low, high = each.ratio.ends
    taken = f"{model.short(each.time.median / MILLI)} ms"
    return ForestRow(
        group=each.setting,
        label=each.arm,
        kind=each.verdict,
        text=f"{model.decimal(each.ratio.median, 2)}x",
        middle=each.ratio.median,
        low=low,
        high=high,
        tip=f"{each.arm}, {each.setting}: {_times(each.ratio)} times as fast, {taken}",
    )


def _times(ratio: Interval) -> str:
    median, low, high = (model.decimal(number, 2) for number in (ratio.median, *ratio.ends))
    return f"{median} [{low}, {high}]"


def _speedup_table(name: str, device: str, found: Sequence[SpeedUp]) -> Table:
    return Table(
        name=f"{name}-data",
        title=f"Speed-up over the plain block, {device}",
        columns=(
            *map(model.text_column, ("block, map and pass", "arm")),
            model.time_column(),
            Column("speed-up", "times", 2),
            model.text_column("verdict"),
        ),
        rows=tuple(
            (each.setting, each.arm, each.time.median, each.ratio, each.verdict) for each in found
        ),
        notes=(NOTE,),
        group_by=(0,),
    )


CHAPTER = Chapter(60, figures=speedup_figures)
