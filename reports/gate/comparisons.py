"""Comparisons of two arms: the verdict of each clock, and what else distinguishes the arms."""

import statistics
from collections.abc import Sequence

from bench.analysis import Decision, decide_comparison, rounds_of
from bench.records import ClockName, Comparison, MeasuredMemory
from reports.model import (
    FAILURE_WORDS,
    MEBI,
    MILLI,
    Column,
    Interval,
    Mark,
    Table,
    Value,
    describe_machine,
)

CLOCKS: dict[ClockName, str] = {
    "process": "process time",
    "wall": "wall time",
    "cuda-events": "GPU time",
}
UNPREDICTED = Mark("this arm can't be predicted")
UNREAD = Mark("this device gives no such reading")
RATIO = (
    "A ratio is the time of the arm over that of the one it is held against: the median over rounds, each in fresh "
    "processes that take turns, with its exact 99 % interval. A/A is the arm it is held against, over itself; "
    "times are medians over rounds of the medians over turns."
)
VERDICT = (
    "Verdicts by exact sign tests: FASTER and SLOWER beyond the bar (the margin, or twice what A/A is off), SAME "
    "within the margin on both sides, otherwise INCONCLUSIVE. Each clock is a question of its own; the first decides."
)
MEMORY = (
    "Memory is what one call adds to its input and parameters; measured: the high-water mark of the process, on a GPU "
    "the allocator's requested bytes."
)
OUTPUTS = (
    "Outputs differ by the largest difference over the largest value, on the same maps and with the same random "
    "numbers; weights that start as zero are drawn."
)

ARMS = (Column("of", align="left"), Column("against", align="left"), Column("size", align="left"))
VERDICTS = (
    *ARMS,
    Column("clock", align="left"),
    Column("verdict", align="left"),
    Column("ratio", digits=3),
    Column("A/A", digits=3),
    Column("bar", "%", 1, 0.01, "share"),
    Column("rounds", align="left"),
    Column("of", "ms", 3, MILLI, "seconds", "measured"),
    Column("against", "ms", 3, MILLI, "seconds", "measured"),
)
BESIDE = (
    *ARMS,
    Column("outputs differ by"),
    Column("MACs, ratio", digits=3),
    Column("of", "MiB", 1, MEBI, "bytes", "predicted"),
    Column("against", "MiB", 1, MEBI, "bytes", "predicted"),
    Column("ratio", "", 3, 1, "", "predicted"),
    Column("of", "MiB", 1, MEBI, "bytes", "measured"),
    Column("against", "MiB", 1, MEBI, "bytes", "measured"),
    Column("ratio", "", 3, 1, "", "measured"),
)


def comparison_tables(comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """The verdicts, and memory and outputs, of comparisons in the order in which they were made."""
    if not comparisons:
        return ()
    rows = tuple(row for one in comparisons for row in _verdicts(one))
    return (
        Table(
            name="comparisons",
            title=_title(comparisons),
            columns=VERDICTS,
            rows=rows,
            caption=_caption(comparisons),
            notes=tuple(_rules(comparisons)),
            group_by=(0, 1, 2),
        ),
        Table(
            name="comparisons-memory",
            title="The same arms: memory of a call, and whether they give the same",
            columns=BESIDE,
            rows=tuple(_beside(one) for one in comparisons),
            notes=(MEMORY, OUTPUTS),
        ),
    )


def comparison_sentence(comparison: Comparison) -> str:
    """The verdict in one sentence, by the clock that decides."""
    arms = f"{comparison.second.arm} against {comparison.first.arm} at {comparison.size}"
    if comparison.failure is not None or not comparison.clocks:
        reason = comparison.failure.reason if comparison.failure else "there are no rounds"
        return f"{arms}: not compared ({reason})"
    clock = comparison.clocks[0]
    found = decide_comparison(comparison, clock)
    return f"{arms}: {found.verdict}, {_share(found)} of its {CLOCKS[clock]} ({found.reason})"


def _share(found: Decision) -> str:
    ratio = found.ratio
    ends = "" if ratio.low is None else f" [{ratio.low:.3f}, {ratio.high:.3f}]"
    return f"{ratio.median:.3f}{ends}"


def _title(comparisons: Sequence[Comparison]) -> str:
    if len(comparisons) == 1:
        return comparison_sentence(comparisons[0])
    return "Arms compared by turns"


def _verdicts(one: Comparison) -> list[tuple[Value, ...]]:
    named = (one.second.arm, one.first.arm, one.size)
    if one.failure is not None:
        note = f"{FAILURE_WORDS[one.failure.kind]}: {one.failure.reason}"
        failed = Mark(note, FAILURE_WORDS[one.failure.kind])
        return [(*named, "", failed, *([Mark(note)] * 6))]
    return [(*named, CLOCKS[clock], *_decided(one, clock)) for clock in one.clocks]


def _decided(one: Comparison, clock: ClockName) -> tuple[Value, ...]:
    found = decide_comparison(one, clock)
    rounds = rounds_of(one, clock)
    times = [
        statistics.median(statistics.median(turns) for turns in arm)
        for arm in ([each.second for each in rounds], [each.first for each in rounds])
    ]
    verdict: Value = found.verdict
    if found.verdict == "INCONCLUSIVE":
        verdict = Mark(found.reason, found.verdict)
    agreeing = max(found.above, found.below)
    if found.verdict == "SAME":
        agreeing = min(found.within)
    return (
        verdict,
        Interval(found.ratio.median, found.ratio.low, found.ratio.high),
        Interval(found.control.median, found.control.low, found.control.high),
        found.bar,
        f"{agreeing} of {found.rounds}",
        *times,
    )


def _beside(one: Comparison) -> tuple[Value, ...]:
    arms = (one.second, one.first)
    predicted = [arm.predicted_increment_bytes for arm in arms]
    measured = [_measured(arm.memory) for arm in arms]
    error = one.agreement.max_relative_error
    differ: Value = Mark(one.agreement.reason or "not compared")
    unread = UNREAD if one.rounds else Mark("not compared")
    if error is not None:
        differ = "not at all" if error == 0 else f"{error:.1e}"
    return (
        one.second.arm,
        one.first.arm,
        one.size,
        differ,
        _ratio(one.second.macs, one.first.macs) or UNPREDICTED,
        *(UNPREDICTED if value is None else value for value in predicted),
        _ratio(*predicted) or UNPREDICTED,
        *(unread if value is None else value for value in measured),
        _ratio(*measured) or unread,
    )


def _measured(memory: MeasuredMemory | None) -> int | None:
    if memory is None:
        return None
    on_gpu = memory.requested_bytes
    return memory.high_water_bytes if on_gpu is None else on_gpu


def _ratio(above: int | None, below: int | None) -> Value:
    return above / below if above is not None and below else None


def _caption(comparisons: Sequence[Comparison]) -> str:
    machines = dict.fromkeys(
        describe_machine(one.environment) for one in comparisons if one.environment
    )
    where = f"Measured on {'; '.join(machines)}" if machines else "Measured somewhere"
    settings = dict.fromkeys(
        ", ".join(
            (
                *(f"{name} {value}" for name, value in one.axes.items() if name != "size"),
                f"batch {one.batch}",
                one.dtype,
                one.mode,
            )
        ).replace("_", " ")
        for one in comparisons
    )
    return f"{where}; {' or '.join(settings)}."


def _rules(comparisons: Sequence[Comparison]) -> list[str]:
    """What was fixed beforehand, and what the words mean."""
    fixed = dict.fromkeys(
        f"margin {100 * one.margin:g} %, level {one.level:g}"
        + (f" shared by {one.comparisons} comparisons" if one.comparisons > 1 else "")
        + f", {len(one.rounds)} rounds"
        for one in comparisons
        if one.rounds
    )
    return [RATIO, f"Fixed beforehand: {'; '.join(fixed) or 'nothing was run'}. {VERDICT}"]
