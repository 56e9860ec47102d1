"""Two sides that other tools timed, under this suite's rules: what their files allow to be said, and no more.

- One number a side, or a mean of calls without the calls: their ratio.
- Samples of one process a side: a ratio with an interval that speaks of these two processes alone. Another process has
  its own luck (the layout of its memory, what else the machine does), which no number of calls within one shows.
- A file a process, so many a side: the ratio of each pair with the exact interval of their median; and, where the files
  say that both sides took turns and neither always began, a verdict by the sign test.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from bench.analysis import LEVEL, MARGIN, MedianInterval, judge_rounds, median_interval
from reports.gate.foreign_files import Reading, TimingFile, read_timings
from reports.model import MILLI, Column, Interval, Mark, Table, Value, text_column

COLUMNS = (
    text_column("benchmark", wide=True),
    *(Column(side, "ms", 4, MILLI, "seconds") for side in ("A", "B")),
    Column("B / A", digits=3),
    *(text_column(name, wide=True) for name in ("verdict on B", "what the files allow")),
)
RATIO_NOTE = (
    "B / A below 1: B takes less. An interval of two processes reaches from the end of one 99 % interval to the "
    "opposite end of the other; one of several files a side is the exact 99 % interval of the median of the pairs'"
    " ratios."
)
VERDICT_NOTE = (
    "A verdict takes files of several processes a side that took turns: FASTER, SLOWER or SAME by exact sign tests, "
    f"margin {100 * MARGIN:g} %, level {LEVEL:g} shared by the rows. Such files have no control of A against itself."
)
TOOL_NOTES = {
    "KernelBench": "KernelBench writes three significant digits, so that a ratio is off by up to a percent of itself.",
    "tritonbench": "A latency of tritonbench is the median of one process; its other metrics are not compared.",
}
NO_VERDICT = "no verdict"
MOST_NAMED = 3


def compare_files(first: Path, second: Path) -> Table:
    """Compare two files of one tool, or two folders with as many of them, a file a process.

    Raises:
        ValueError: a file is none of those that are read, they are of different tools, or share no benchmark.
        OSError: one can't be read.
    """
    sides = (_read_side(first), _read_side(second))
    tools = [side[0].tool for side in sides]
    if tools[0] != tools[1]:
        msg = f"{first} is {tools[0]}'s and {second} is {tools[1]}'s; give two of one tool"
        raise ValueError(msg)
    _require_pairs(first, second, sides)
    shared = [name for name in sides[0][0].readings if name in sides[1][0].readings]
    if not shared:
        has = [
            f"{path} has {_first_names(side[0].readings)}"
            for path, side in zip((first, second), sides, strict=True)
        ]
        msg = f"no benchmark has the same name on both sides: {', '.join(has)}; name them alike"
        raise ValueError(msg)
    alone = [
        f"Only in {side}: {_first_names(names)}."
        for side, names in (("A", _without(*sides)), ("B", _without(*sides[::-1])))
        if names
    ]
    return Table(
        name="compared-files",
        title=f"B against A, timed by {tools[0]}",
        columns=COLUMNS,
        rows=tuple(_foreign_row(name, sides, comparisons=len(shared)) for name in shared),
        caption=f"A: {first}; B: {second}.",
        notes=(RATIO_NOTE, VERDICT_NOTE, *filter(None, [TOOL_NOTES.get(tools[0])]), *alone),
    )


Side = Sequence[TimingFile]


def _read_side(path: Path) -> Side:
    """One file, or those of a folder by name."""
    if not path.is_dir():
        return [read_timings(path)]
    files = sorted(file for file in path.iterdir() if file.suffix in {".json", ".csv"})
    if not files:
        msg = (
            f"{path} has no .json or .csv file; give a file, or a folder with one for each process"
        )
        raise ValueError(msg)
    side = [read_timings(file) for file in files]
    others = {file.tool for file in side} - {side[0].tool}
    if others:
        msg = f"{path} has files of {side[0].tool} and of {', '.join(sorted(others))}; give those of one tool"
        raise ValueError(msg)
    return side


def _require_pairs(first: Path, second: Path, sides: tuple[Side, Side]) -> None:
    counts = [len(side) for side in sides]
    if counts[0] != counts[1]:
        msg = f"{first} has {counts[0]} files and {second} has {counts[1]}; give as many, a pair a round"
        raise ValueError(msg)


def _without(side: Side, other: Side) -> list[str]:
    return [name for name in side[0].readings if name not in other[0].readings]


def _first_names(names: Mapping[str, object] | Sequence[str]) -> str:
    shown = [*names][:MOST_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _foreign_row(name: str, sides: tuple[Side, Side], *, comparisons: int) -> tuple[Value, ...]:
    pairs, reason = _paired_readings(name, sides)
    if not pairs:
        return (name, *([Mark(reason)] * 3), Mark(reason, "not compared"), "nothing")
    first, second = zip(*pairs, strict=True)
    devices = dict.fromkeys(reading.device for reading in (*first, *second))
    if len(devices) > 1:
        differs = f"timed on different devices: {' and '.join(device or 'one without a name' for device in devices)}"
        times = tuple(_middle(readings) for readings in (first, second))
        return (name, *times, Mark(differs), Mark(differs, NO_VERDICT), "nothing: other devices")
    if len(pairs) > 1:
        return (name, *_rounds(first, second, sides, comparisons=comparisons))
    return (name, *_one_process(first[0], second[0]))


def _paired_readings(
    name: str, sides: tuple[Side, Side]
) -> tuple[list[tuple[Reading, Reading]], str]:
    """Readings of both sides by round; none, and why, where one is missing."""
    pairs = []
    for first, second in zip(*sides, strict=True):
        both = [file.readings.get(name, f"not in {file.path.name}") for file in (first, second)]
        reasons = [each for each in both if isinstance(each, str)]
        if reasons:
            return [], "; ".join(dict.fromkeys(reasons))
        pairs.append((both[0], both[1]))
    return pairs, ""  # type: ignore[return-value]  # what is no reading has left above


def _one_process(first: Reading, second: Reading) -> Iterator[Value]:
    yield from (first.time_s, second.time_s)
    if first.samples_s and second.samples_s:
        yield from _values_of_samples(first, second)
        return
    yield Interval(second.time_s / first.time_s)
    if first.calls and second.calls:
        yield Mark(
            "without the calls of each process there is no interval, and no verdict", NO_VERDICT
        )
        yield f"a ratio: the {first.statistic} of {_calls_of(first)} and of {_calls_of(second)}".rstrip(
            ","
        )
    else:
        yield Mark("one number a side allows no verdict", NO_VERDICT)
        yield "a ratio: one number a side"


def _calls_of(reading: Reading) -> str:
    share = reading.deviation
    return f"{reading.calls} calls" + ("" if share is None else f", deviation {100 * share:.2g} %,")


def _values_of_samples(first: Reading, second: Reading) -> Iterator[Value]:
    several = first.of_processes and second.of_processes
    # Rounds are independent; samples of a process drift.
    below, above = (
        median_interval(each.samples_s, blocks=None) if several else median_interval(each.samples_s)
        for each in (first, second)
    )
    yield _interval_ratio(below, above)
    counts = f"{len(first.samples_s)} and {len(second.samples_s)}"
    if several:
        yield Mark(
            "the file sorts its rounds, so that none is paired; outcome.json has the verdict",
            NO_VERDICT,
        )
        yield f"an interval across processes: {counts} rounds, unpaired"
    else:
        yield Mark("samples of one process a side say nothing of another process", NO_VERDICT)
        yield f"an interval of these two processes: {counts} samples"


def _interval_ratio(below: MedianInterval, above: MedianInterval) -> Interval:
    middle = above.median / below.median
    ends = (above.low, below.high, above.high, below.low)
    if any(end is None for end in ends):
        return Interval(middle, note="too few samples for an interval; 99 % takes 8")
    low, by_high, high, by_low = (float(end or 0) for end in ends)
    return Interval(middle, low / by_high, high / by_low)


def _rounds(
    first: Sequence[Reading],
    second: Sequence[Reading],
    sides: tuple[Side, Side],
    *,
    comparisons: int,
) -> Iterator[Value]:
    yield from (_middle(first), _middle(second))
    logs = [
        math.log(above.time_s / below.time_s) for below, above in zip(first, second, strict=True)
    ]
    decision = judge_rounds(logs, [0.0] * len(logs), comparisons=comparisons)
    yield Interval(decision.ratio.median, decision.ratio.low, decision.ratio.high)
    reason = _no_turns(sides)
    if reason:
        yield Mark(reason, NO_VERDICT)
        yield f"an interval across processes: {len(logs)} files a side, {reason}"
        return
    verdict = decision.verdict
    yield Mark(decision.reason, verdict) if verdict == "INCONCLUSIVE" else verdict
    yield f"a verdict across processes: {decision.reason}"


def _no_turns(sides: tuple[Side, Side]) -> str:
    """Why it is not known that both sides took turns; empty where it is."""
    rounds = [
        (first.taken_at, second.taken_at)
        for first, second in zip(*sides, strict=True)
        if first.taken_at and second.taken_at
    ]
    if len(rounds) < len(sides[0]):
        return "which do not say when they were taken"
    if any(max(before) >= min(after) for before, after in pairwise(rounds)):
        return "which were not taken by turns, as their names have them"
    first_is_ahead = [first < second for first, second in rounds]
    if all(first_is_ahead) or not any(first_is_ahead):
        return "in all of which the same side came first"
    return ""


def _middle(readings: Sequence[Reading]) -> float:
    return median_interval([reading.time_s for reading in readings]).median
