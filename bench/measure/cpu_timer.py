"""Time of one call: process and wall clock here; events and graph replay in `cuda_timer`.

Every sample is kept and nothing is subtracted. An interval that stays wide is seen from the samples
(`bench.analysis.statistics.is_conclusive`); what else limits a reading stands in the `Timing`.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from bench.analysis import is_conclusive
from bench.measure import collect
from bench.measure.collect import HostClock, Reading
from bench.measure.cuda_stream import Work
from bench.records import Timing
from experiments.spec import Measurement

# Ten thousand times the resolution of either clock.
SAMPLE_S = 1e-3
WARM_SHARE = 0.2
LONGEST_WARM_UP_S = 2.0
AGREEMENT = 0.05
# An interval wants so many samples; of calls of which fewer fit into the budget, three are enough.
LEAST_FOR_INTERVAL, LONG_CALLS = 8, 3
# Speeds of a shared machine last for a second or two; a quiet moment must not end the reading.
SPAN_S = 3.0


def time_cpu(
    work: Work, *, budget_s: float, clock: HostClock | None = None
) -> tuple[Timing, Timing]:
    """Time one call by the process clock and by the wall clock, on the same calls.

    Short calls are batched into samples of a millisecond. Of calls so long that no interval can come there is no
    warm-up: the first one counts, there are `LONG_CALLS` at most, and the timing is not `steady`.

    Args:
        work: makes one call.
        budget_s: seconds for all of it; overrun only by a first call that is longer than that.
        clock: the operating system's if None.

    Returns:
        The timing by process time (all threads summed), and the one by wall time.
    """
    clock = clock or HostClock()
    with collect.collector_off():
        end_s = clock.wall_s() + budget_s
        read_call = partial(_read, work, clock, launches=1)
        longest_s = (1 - WARM_SHARE) * budget_s / LEAST_FOR_INTERVAL
        firsts = [read_call()]
        # A first call may be long since it is the first.
        if longest_s <= firsts[0].spent_s <= end_s - clock.wall_s():
            firsts.append(read_call())
        is_long = all(call.spent_s >= longest_s for call in firsts)
        warm, launches = collect.WarmUp(last=firsts[-1]), 1
        if not is_long:
            cap_s = min(LONGEST_WARM_UP_S, WARM_SHARE * budget_s)
            warm = collect.warm_up(read_call, clock.wall_s, cap_s=cap_s, agreement=AGREEMENT)
            sample_s = max(SAMPLE_S, budget_s / collect.MAX_SAMPLES)
            launches = max(1, math.ceil(sample_s / max(warm.last.host_s, 1e-9)))
        readings = collect.collect_samples(
            partial(_read, work, clock, launches=launches),
            clock.wall_s,
            done=_both_known,
            end_s=end_s,
            span_s=min(SPAN_S, budget_s / 3),
            first=firsts if is_long else (),
            most=LONG_CALLS if is_long else collect.MAX_SAMPLES,
        )
    timing = partial(Timing, launches=launches, warmup_s=warm.seconds, steady=warm.steady)
    return (
        timing(clock="process", samples_s=tuple(reading.time_s for reading in readings)),
        timing(clock="wall", samples_s=tuple(reading.host_s for reading in readings)),
    )


def _read(work: Work, clock: HostClock, *, launches: int) -> Reading:
    # The wall clock encloses the process clock, whose reading costs more.
    wall_s = clock.wall_s()
    process_s = clock.process_s()
    for _ in range(launches):
        work()
    process_s = clock.process_s() - process_s
    wall_s = clock.wall_s() - wall_s
    return Reading(time_s=process_s / launches, host_s=wall_s / launches, spent_s=wall_s)


def _both_known(readings: Sequence[Reading]) -> bool:
    by_process = [reading.time_s for reading in readings]
    return is_conclusive(by_process) and is_conclusive([reading.host_s for reading in readings])


def probe(work: Work, cell: Measurement, _device: str) -> dict[str, Any]:
    """The probe `timing`; what was seen of the calls that a time does not tell is with each timing."""
    from bench.measure.cheating import watched, with_caveats  # brings torch
    from bench.workloads import format_caveats

    with watched(work) as caveats:
        timings = time_cpu(work, budget_s=cell.budget_s)
    return {"timings": with_caveats(timings, (*format_caveats(cell.dtype, "cpu"), *caveats))}
