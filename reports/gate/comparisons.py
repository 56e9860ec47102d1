"""Tables of interleaved A/B comparisons: the verdict of each clock, memory, and whether outputs agree."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from bench.analysis import decide_comparison, rounds_of, setting_of
from bench.records import CLOCK_TIMES, ArmRecord, Comparison
from reports import model
from reports.model import (
    MILLI,
    Column,
    Incomplete,
    Interval,
    Mark,
    Table,
    Value,
    memory_column,
    text_column,
)

RATIO_TEXT = (
    "A ratio is the time of the arm over that of the one it is held against: the median over rounds, each in fresh "
    "processes that take turns, with its exact 99 % interval. A/A is the arm it is held against, over itself; "
    "times are medians over rounds of the medians over turns."
)
VERDICT_TEXT = (
    "Verdicts by exact sign tests: FASTER and SLOWER beyond the bar (the margin, or twice what A/A is off), SAME "
    "within the margin on both sides, otherwise INCONCLUSIVE. Each clock is a question of its own; the first decides."
)
MEMORY_TEXT = (
    "Memory is what one call adds to its input and parameters; measured: the high-water mark of the process, on a GPU "
    "the allocator's requested bytes."
)
OUTPUTS_TEXT = (
    "Outputs differ by the largest difference over the largest value, on the same maps and with the same random "
    "numbers; weights that start as zero are drawn."
)

INSTRUCTIONS_TEXT = "Instructions are those of one call in user mode, all threads summed, as the processor counts them."
OPERATING_TEXT = "Exact chances of such a comparison"

ARM_COLUMNS = tuple(map(text_column, ("of", "against", "size")))
VERDICT_COLUMNS = (
    *ARM_COLUMNS,
    *map(text_column, ("clock", "verdict")),
    *(Column(name, digits=3) for name in ("ratio", "A/A")),
    Column("bar", "%", 1, 0.01, "share"),
    text_column("rounds"),
    *(Column(arm, "ms", 3, MILLI, "seconds", "measured") for arm in ("of", "against")),
)


def _memory_columns(source: Literal["predicted", "measured"]) -> tuple[Column, ...]:
    both = (memory_column(arm, source) for arm in ("of", "against"))
    return (*both, Column("ratio", digits=3, source=source))


def comparison_tables(comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """The verdicts, and memory and outputs, of comparisons in the order in which they were made."""
    if not comparisons:
        return ()
    single = len(comparisons) == 1
    return (
        Table(
            name="comparisons",
            title=comparison_sentence(comparisons[0]) if single else "Interleaved A/B comparisons",
            columns=VERDICT_COLUMNS,
            rows=tuple(row for each in comparisons for row in _verdict_rows(each)),
            caption=_measured_on(comparisons),
            notes=(
                RATIO_TEXT,
                f"Fixed beforehand: {_fixed(comparisons)}. {VERDICT_TEXT}",
                *_setting_notes(comparisons),
                *_instruction_notes(comparisons),
            ),
            group_by=(0, 1, 2),
        ),
        Table(
            name="comparisons-memory",
            title="The same arms: memory of a call, and agreement of outputs",
            columns=(
                *(*ARM_COLUMNS, Column("outputs differ by"), Column("MACs, ratio", digits=3)),
                *(*_memory_columns("predicted"), *_memory_columns("measured")),
            ),
            rows=tuple(map(_memory_row, comparisons)),
            notes=(MEMORY_TEXT, OUTPUTS_TEXT),
        ),
    )


def comparison_sentence(comparison: Comparison) -> str:
    """The verdict in one sentence, by the clock that decides."""
    arms = f"{comparison.second.arm} against {comparison.first.arm} at {comparison.size}"
    if comparison.failure is not None or not comparison.clocks:
        reason = comparison.failure.reason if comparison.failure else "there are no rounds"
        return f"{arms}: not compared ({reason})"
    clock = comparison.clocks[0]
    decision = decide_comparison(comparison, clock)
    median, low, high = decision.ratio.median, decision.ratio.low, decision.ratio.high
    share = f"{median:.3f}" if low is None else f"{median:.3f} [{low:.3f}, {high:.3f}]"
    return f"{arms}: {decision.verdict}, {share} of its {CLOCK_TIMES[clock]} ({decision.reason})"


def _verdict_rows(comparison: Comparison) -> Iterator[tuple[Value, ...]]:
    arms = (*map(_arm, (comparison.second, comparison.first)), comparison.size)
    failure = comparison.failure
    if failure is not None:
        word = model.FAILURE_WORDS[failure.kind]
        note = f"{word}: {failure.reason}"
        yield (*arms, "", Mark(note, word), *([Mark(note)] * 6))
        return
    for clock in comparison.clocks:
        decision, rounds = decide_comparison(comparison, clock), rounds_of(comparison, clock)
        verdict, ratios = decision.verdict, (decision.ratio, decision.control)
        decisive = decision.within if verdict == "SAME" else (decision.above, decision.below)
        turns = ([each.second for each in rounds], [each.first for each in rounds])
        medians: list[Any] = [statistics.median(map(statistics.median, each)) for each in turns]
        name = CLOCK_TIMES[clock]
        if clock == "instructions":
            name += " ({:,.0f} and {:,.0f} a call)".format(*medians)
            medians = [Mark("instructions are no time")] * 2
        yield (
            *arms,
            name,
            Mark(decision.reason, verdict) if verdict == "INCONCLUSIVE" else verdict,
            *(Interval(ratio.median, ratio.low, ratio.high) for ratio in ratios),
            decision.bar,
            f"{(min if verdict == 'SAME' else max)(decisive)} of {decision.rounds}",
            *medians,
        )


def _arm(arm: ArmRecord) -> Value:
    return Mark("; ".join(arm.caveats), arm.arm) if arm.caveats else arm.arm


def _memory_row(comparison: Comparison) -> tuple[Value, ...]:
    of, against = arms = (comparison.second, comparison.first)
    predicted = [arm.predicted_increment_bytes for arm in arms]
    measured = [arm.memory.added_bytes if arm.memory else None for arm in arms]
    error = comparison.agreement.max_relative_error
    difference: Value = Mark(comparison.agreement.reason or "not compared")
    if error is not None:
        difference = "not at all" if error == 0 else f"{error:.1e}"
    unpredictable = Mark("this arm can't be predicted")
    unread = Mark("this device gives no such reading" if comparison.rounds else "not compared")
    no_ratio = Mark("the other arm has none, so there is no ratio")
    pairs = (tuple(map(_macs, arms)), predicted)
    macs, memory = (
        no_ratio if pair[1] == 0 and pair[0] is not None else model.ratio_of(*pair)
        for pair in pairs
    )
    counted = (macs, *predicted, memory)
    read = (*measured, model.ratio_of(*measured))
    return (
        *(of.arm, against.arm, comparison.size, difference),
        *(unpredictable if value is None else value for value in counted),
        *(unread if value is None else value for value in read),
    )


def _macs(arm: ArmRecord) -> Value:
    return Incomplete(arm.macs, arm.uncounted) if arm.uncounted and arm.macs else arm.macs


def _measured_on(comparisons: Sequence[Comparison]) -> str:
    where = [each.environment for each in comparisons if each.environment]
    machines = dict.fromkeys(map(model.describe_machine, where))
    settings: dict[str, None] = {}
    for each in comparisons:
        axes = (f"{name} {value}" for name, value in each.axes.items() if name != "size")
        settings[", ".join((*axes, f"batch {each.batch}", each.dtype, each.mode))] = None
    shown = " or ".join(settings).replace("_", " ")
    return f"Measured on {'; '.join(machines) or 'somewhere'}; {shown}."


def _setting_notes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """How often each setting is wrong, where it was looked at after each round."""
    for each in comparisons:
        setting = setting_of(each)
        name = f" ({each.second.arm} at {each.size})" if len(comparisons) > 1 else ""
        if setting:
            yield f"{OPERATING_TEXT}{name}, {setting.text}."


def _instruction_notes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What instructions are, or why there are none."""
    if any("instructions" in each.clocks for each in comparisons):
        yield INSTRUCTIONS_TEXT
    for reason in dict.fromkeys(each.no_instructions for each in comparisons):
        if reason:
            yield f"Instructions were not counted: {reason}."


def _fixed(comparisons: Sequence[Comparison]) -> str:
    rules = dict.fromkeys(
        f"margin {100 * each.margin:g} %, level {each.level:g}"
        + (f" shared by {each.comparisons} comparisons" if each.comparisons > 1 else "")
        + f", {each.rounds_text}"
        for each in comparisons
        if each.rounds
    )
    return "; ".join(rules) or "nothing was run"
