"""What a row of the frame says about time, memory and the machine, as values for a table."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.analysis import MIN_SAMPLES, is_conclusive, median_interval, without_rejected
from bench.records import (
    Environment,
    Failure,
    Operator,
    OperatorTime,
    Timing,
    uncounted_calls,
    uncounted_note,
)
from reports.model.layout import HOST_BOUND, NOTE_GAP
from reports.model.table import GIBI, MEBI, Incomplete, Interval, Mark, Value, number_of

Row = Mapping[str, Any]

UNPUBLISHED = Mark("the documents give no number for this row")
UNMEASURED = Mark("not measured: the records hold no reading of this row")
UNREAD = Mark("this device or probe gives no such reading")
UNPREDICTED = Mark("the records hold no prediction for this row")
UNRECORDED = (UNPUBLISHED, UNMEASURED, UNREAD, UNPREDICTED)
# By how much two counters may differ.
MACS_TOLERANCE = 1e-3
BY_CUDA = "by the rules of CUDA for autocast and attention kernels"
# Half an interval as a share of its median: a processor that others use too can't do better. GPU events come before
# host clocks, since they leave out what the host adds.
CONCLUSIVE_WIDTH = {"cuda-events": 0.01, "cuda-graph": 0.01, "wall": 0.05, "process": 0.05}
CLOCK_ORDER = tuple(CONCLUSIVE_WIDTH)
FAILURE_WORDS = {
    "out-of-memory": "out of memory",
    "foreseen": "too large",
    "timeout": "timed out",
    "unavailable": "unavailable",
    "import": "not imported",
    "error": "failed",
}


def predicted_value(row: Row, column: str) -> Value:
    """Give a number that needed no execution, or in its place the failure or the dash that says why."""
    failure = row["failure"] or row["predicted_failure"]
    if row[column] is None and failure is not None:
        return failure_mark(failure, first=column == "parameters")
    return UNPREDICTED if row[column] is None else row[column]


def counted_value(row: Row, column: str) -> Value:
    """Give a count of operations; it is marked where operators of the row are in no count.

    Where torch's counter or fvcore has other MACs a note says so.
    """
    value = marked(predicted_value(row, column), row)
    others = (other_macs(row), fvcore_macs(row)) if column == "macs" else ()
    other = "; ".join(filter(None, others))
    if other and isinstance(value, Incomplete):
        return replace(value, note=f"{value.note}; {other}")
    return Interval(value, note=other) if other and isinstance(value, int | float) else value


def other_macs(row: Row) -> str:
    """What torch's counter has in place of a row's MACs, by operator; empty where it agrees or was not asked."""
    ledger: Sequence[Operator] = row["ledger"] or ()
    told = [(work, work.torch_macs) for work in ledger if work.torch_macs is not None]
    differing = [
        (work, macs) for work, macs in told if abs(macs - work.macs) > MACS_TOLERANCE * work.macs
    ]
    unknown = [work.name for work in ledger if work.macs and work.torch_macs is None]
    if not told or not (differing or unknown):
        return ""
    texts = [
        f"{macs:,} for {work.macs:,} of {work.name}{_known_reason(work)}"
        for work, macs in differing
    ]
    texts += [f"nothing for {', '.join(unknown)}"] if unknown else []
    return f"torch's own counter has {'; '.join(texts)}"


def fvcore_macs(row: Row) -> str:
    """What fvcore counts of a small map of somebody's own module; empty where it agrees or was not asked."""
    names = ("small_macs", "small_fvcore_macs")
    ours, theirs = ((row["readings"] or {}).get(name, (0,))[0] for name in names)
    if abs(theirs - ours) <= MACS_TOLERANCE * ours:
        return ""
    return f"of a map of 24x16 fvcore counts {theirs:,.0f} MACs where this suite counts {ours:,.0f}"


def _known_reason(work: Operator) -> str:
    is_grouped = any(product[0] > 1 for alike in work.alike for product in alike.products)
    is_known = work.name == "aten.convolution_backward" and is_grouped
    return ", which it takes for one without groups" if is_known else ""


def uncounted_work(row: Row) -> str:
    """Operators of a row whose work is in no count, with their calls; empty where there are none."""
    return uncounted_note(uncounted_calls(row["ledger"] or ()))


def marked(value: Value, row: Row) -> Value:
    """The same, and a number of operations as one that is too small where operators of the row are in no count."""
    note = uncounted_work(row)
    if note and isinstance(value, Interval):
        return replace(value, inconclusive=True, note=note)
    return Incomplete(value, note) if note and isinstance(value, int | float) else value


def predicted_increment(row: Row) -> Value:
    """Give the predicted memory of a call; a note says if it is by the rules of a GPU that the row is not of."""
    value = predicted_value(row, "predicted_increment_bytes")
    if isinstance(value, int | float) and row["predicted_device"] == "cuda" != row["device"]:
        return Interval(value, note=BY_CUDA)
    return value


def measured_value(row: Row, value: Value, *, first: bool = False) -> Value:
    """Give a measured value; the failure or the dash in its place where there is none."""
    if value is not None:
        return value
    if row["failure"] is not None:
        return failure_mark(row["failure"], first=first)
    return UNREAD if row["device_name"] else UNMEASURED


def failure_mark(failure: Failure, *, first: bool) -> Mark:
    """Say why there is no value; the first in a row says it in a word."""
    word, needs = FAILURE_WORDS[failure.kind], failure.needs_bytes
    note = f"{word}: {failure.reason}"
    return Mark(note, f"needs {needs / GIBI:.1f} GiB" if needs else word) if first else Mark(note)


def timing_of(
    row: Row, *, clocks: Sequence[str] = CLOCK_ORDER, cache: str = "hot"
) -> Timing | None:
    """Choose the timing by the first of `clocks` that the row has."""
    usable = (
        timing
        for timing in row["timings"] or ()
        if timing.clock in clocks and timing.cache == cache and timing.samples_s
    )
    return min(usable, key=lambda timing: clocks.index(timing.clock), default=None)


def time_interval(timing: Timing | None) -> Interval | None:
    """Median and 99 % interval of one call in seconds, without the rejected samples; of all where no other is left."""
    if timing is None:
        return None
    kept = without_rejected(timing.samples_s, timing.rejected)
    time = median_interval(kept or timing.samples_s, confidence=0.99)
    calls = len(timing.samples_s)
    doubts = {
        "every sample was rejected: the GPU's clock was low or throttled": not kept,
        HOST_BOUND: timing.host_bound,
        f"calls that fitted into the time: {calls}": calls < MIN_SAMPLES,
        "the warm-up never became steady": calls >= MIN_SAMPLES and not timing.steady,
    }
    notes = NOTE_GAP.join((*(doubt for doubt, is_so in doubts.items() if is_so), *timing.caveats))
    narrow = is_conclusive(kept, relative=CONCLUSIVE_WIDTH[timing.clock])
    doubtful = not (kept and timing.steady and narrow)
    return Interval(time.median, time.low, time.high, doubtful, notes)


def median_time(
    row: Row, *, clocks: Sequence[str] = CLOCK_ORDER, cache: str = "hot"
) -> Interval | None:
    """Median time of one call in seconds without its ends, where there is one."""
    time = time_interval(timing_of(row, clocks=clocks, cache=cache))
    return None if time is None else Interval(time.median)


def time_value(row: Row) -> Value:
    """Time of one call in seconds with its interval, or why there is none."""
    return measured_value(row, time_interval(timing_of(row)), first=True)


def ratio_of(above: Value, below: Value) -> Value:
    """Divide; None where either is missing, so that a ratio is never made up; marked where either lacks something."""
    upper, lower = number_of(above), number_of(below)
    if upper is None or not lower:
        return None
    notes = [side.note for side in (above, below) if isinstance(side, Incomplete)]
    note = "; ".join(dict.fromkeys(notes))
    return Incomplete(upper / lower, note, is_least=False) if notes else upper / lower


def measured_memory(row: Row, *, first: bool = False) -> Value:
    """Measured memory of one call in bytes, or that it is less than its reading resolves."""
    have, least = row["memory_bytes"], row["memory_resolution_bytes"]
    is_seen = None in (have, least) or have >= least
    return measured_value(row, have if is_seen else _unresolved(least), first=first)


def workspace(row: Row) -> Value:
    """Measured minus predicted memory of one call, in bytes: what kernels took beside the tensors."""
    have, expected = measured_memory(row), row["predicted_increment_bytes"]
    if expected is None and row["predicted_failure"] and not isinstance(have, Mark):
        return failure_mark(row["predicted_failure"], first=False)
    if expected is None or not isinstance(have, int | float):
        return measured_value(row, have if isinstance(have, Mark) else None)
    least = row["memory_resolution_bytes"] or 0
    return have - expected if abs(have - expected) >= least else _unresolved(least)


def _unresolved(least: int) -> Mark:
    return Mark("less than the reading of this processor resolves", f"<{least / MEBI:.2g}")


def group_times(operations: Iterable[OperatorTime]) -> dict[str, float]:
    """Seconds of each operation group: the medians of its operators, added up."""
    groups: dict[str, float] = defaultdict(float)
    for operator in operations:
        if operator.samples_s:
            groups[operator.group] += median_interval(operator.samples_s).median
    return dict(groups)


def describe_machine(environment: Environment) -> str:
    """One phrase on where readings were taken."""
    if environment.device == "cuda":
        cuda = environment.cuda or "?"
        return f"{environment.device_name}, torch {environment.torch}, CUDA {cuda}"
    threads = f"{environment.threads} thread{'s' if environment.threads != 1 else ''}"
    return f"{environment.device_name} ({threads}), torch {environment.torch}"


def measuring_conditions(rows: Iterable[Row]) -> str:
    """A caption: machines, versions and how the cells were run."""
    rows = list(rows)
    machines = dict.fromkeys(
        describe_machine(row["environment"])
        for row in rows
        if row["device_name"] and row["environment"]
    )
    where = f"Measured on {'; '.join(machines)}" if machines else "Predicted without execution"
    settings = dict.fromkeys(
        f"batch {row['batch']}, {row['dtype']}, {row['mode']}"
        for row in rows
        if row["protocol"] != "published"
    )
    strict = "strict protocol unless a column says otherwise"
    return f"{where}; {' or '.join(settings)}; {strict}." if settings else f"{where}."
