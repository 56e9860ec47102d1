"""Time of one call on a GPU: by events, cache hot and cold, by wall clock, by replaying a graph.

The stream is held while a sample's launches are enqueued, so that an interval between events is
the device's time even where the host is slower; where it is, the timing says `host_bound`, since
without the hold the host would set the pace.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Literal

from bench.analysis import below_share, is_conclusive, without_rejected
from bench.measure.collect import Read, Reading, WarmUp, collect_samples, collector_off, warm_up
from bench.measure.cuda_stream import Gpu, TorchGpu, Work
from bench.records import NO_GRAPH, Timing

# Two thousand times the resolution of an event.
SAMPLE_S = 1e-3
# A sample keeps the host busy no longer than this: a full queue would block it.
QUEUE_S = 2.5e-3
LONGEST_HOLD_S = 0.5
# What a sample adds to the host's work at each launch: two events and a flush.
LAUNCH_S = 1e-4
LONGEST_WARM_UP_S = 10.0
WARM_SHARE = 0.3
WINDOW_S = 0.1
AGREEMENT = 0.01
# Twelve blocks of 50 ms.
SPAN_S = 0.6
FLOOR_PAIRS = 12
LOW_CLOCK = 0.95
HOST_SHARE = 0.8
GRAPH_GAIN = 0.9


_Clock = Literal["cuda-events", "cuda-graph", "wall"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """How a sample is taken: launches in it, and how long the stream is held ahead of them."""

    launches: int = 1
    hold_s: float = 0.0

    @classmethod
    def of(cls, reading: Reading) -> "_Plan":
        wanted = math.ceil(SAMPLE_S / max(reading.time_s, 1e-7))
        enqueued = int(QUEUE_S / max(reading.host_s, 1e-7))
        launches = max(1, min(wanted, enqueued))
        return cls(
            launches=launches,
            hold_s=min(1.5 * launches * (reading.host_s + LAUNCH_S), LONGEST_HOLD_S),
        )


def time_cuda(
    work: Work | Sequence[Work], *, budget_s: float, gpu: Gpu | None = None, graph: bool = True
) -> tuple[Timing, ...]:
    """Time one call on the GPU by every clock there is.

    Args:
        work: makes one call; or several that do the same on inputs of their own, together more
            than four times the second-level cache. The cold timing rotates through those; with a
            single one it overwrites the cache ahead of each launch, outside the events.
        budget_s: seconds for all of it; overrun only by a first call that is longer than that.
        gpu: torch's current stream if None.
        graph: also capture a call as a CUDA graph and time its replay; where that fails the first
            timing notes why.

    Returns:
        Events hot, events cold, wall clock (one call, then waiting for it), and graph replay if
        it could be had. Calls of a quarter of the budget or more are timed by events alone,
        without warm-up.

    Raises:
        ValueError: no work was given, or there is no GPU.
    """
    works = (work,) if callable(work) else tuple(work)
    if not works:
        msg = "no work to time; pass a function that makes one call, or several"
        raise ValueError(msg)
    gpu = gpu or TorchGpu()
    with collector_off():
        before = gpu.other_processes()
        timings = _time(works, gpu, end_s=gpu.wall_s() + budget_s, graph=graph)
        others = max(before, gpu.other_processes())
    note = (f"other processes on the device: {others}",) if others else ()
    return tuple(_noted(timing, *note) for timing in timings)


def _noted(timing: Timing, *notes: str) -> Timing:
    return timing.model_copy(update={"notes": (*timing.notes, *notes)})


def _time(works: tuple[Work, ...], gpu: Gpu, *, end_s: float, graph: bool) -> tuple[Timing, ...]:
    budget_s = end_s - gpu.wall_s()
    hot = works[:1]
    first = _pair(gpu, hot, _Plan())
    if first.spent_s < budget_s / 2:
        # The very first call also loads kernels and plans, so it says little about the next.
        first = _pair(gpu, hot, _Plan())
    if first.spent_s >= budget_s / 4:
        read = partial(_pair, gpu, hot, _Plan())
        readings = collect_samples(
            read, gpu.wall_s, done=_known, end_s=end_s, span_s=SPAN_S, first=(first,)
        )
        cold = WarmUp(steady=False, seconds=0.0, last=first)
        return (_timing(readings, clock="cuda-events", plan=_Plan(), warm=cold),)
    warm = warm_up(
        partial(_pair, gpu, hot, _Plan.of(first)),
        gpu.wall_s,
        cap_s=min(LONGEST_WARM_UP_S, WARM_SHARE * budget_s),
        window_s=min(WINDOW_S, WARM_SHARE * budget_s / 4),
        agreement=AGREEMENT,
    )
    return _every_clock(works, gpu, warm=warm, end_s=end_s, graph=graph)


def _every_clock(
    works: tuple[Work, ...], gpu: Gpu, *, warm: WarmUp, end_s: float, graph: bool
) -> tuple[Timing, ...]:
    plan, hot = _Plan.of(warm.last), works[:1]
    rotate = _pair if len(works) > 1 else _flushed_pairs
    floor_s = median(_pair(gpu, (), plan).time_s for _ in range(FLOOR_PAIRS))
    take = partial(_take, gpu, warm=warm, floor_s=floor_s)
    events = take(partial(_pair, gpu, hot, plan), plan=plan, end_s=_share(gpu, end_s, 3 + graph))
    cold = take(
        partial(rotate, gpu, works, plan), plan=plan, end_s=_share(gpu, end_s, 2 + graph)
    ).model_copy(update={"cache": "cold"})
    wall = take(
        partial(_drained, gpu, hot), clock="wall", plan=_Plan(), end_s=_share(gpu, end_s, 1 + graph)
    )
    if not graph:
        return (events, cold, wall)
    # Last: a capture that fails may leave the allocator in another state.
    try:
        replay = gpu.capture(works[0])
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0][:160]
        return (_noted(events, NO_GRAPH + reason), cold, wall)
    replayed = take(
        partial(_pair, gpu, (replay,), plan), clock="cuda-graph", plan=plan, end_s=end_s
    )
    gains = _typical(replayed) < GRAPH_GAIN * _typical(events)
    events = events.model_copy(update={"host_bound": events.host_bound or gains})
    return (events, cold, wall, replayed)


def _share(gpu: Gpu, end_s: float, readings_left: int) -> float:
    """Moment by which the next of so many timings has to be ready, if all get as much."""
    now_s = gpu.wall_s()
    return now_s + (end_s - now_s) / readings_left


def _take(
    gpu: Gpu,
    read: Read,
    *,
    plan: _Plan,
    warm: WarmUp,
    floor_s: float,
    end_s: float,
    clock: _Clock = "cuda-events",
) -> Timing:
    readings = collect_samples(read, gpu.wall_s, done=_known, end_s=end_s, span_s=SPAN_S)
    timing = _timing(readings, clock=clock, plan=plan, warm=warm)
    return timing.model_copy(update={"floor_s": floor_s})


def _pair(gpu: Gpu, works: Sequence[Work], plan: _Plan) -> Reading:
    """Time the launches between one pair of events; of no works, the pair itself."""
    began_s = gpu.wall_s()
    gpu.hold(plan.hold_s)
    start = gpu.record()
    enqueued_s = gpu.wall_s()
    for launch in range(plan.launches if works else 0):
        works[launch % len(works)]()
    enqueued_s = gpu.wall_s() - enqueued_s
    end = gpu.record()
    launches = plan.launches if works else 1
    return _reading(gpu, [(start, end)], began_s=began_s, host_s=enqueued_s, launches=launches)


def _flushed_pairs(gpu: Gpu, works: Sequence[Work], plan: _Plan) -> Reading:
    """Time each launch between events of its own, the cache overwritten ahead of it."""
    began_s = gpu.wall_s()
    gpu.hold(plan.hold_s)
    pairs, host_s = [], 0.0
    for _ in range(plan.launches):
        gpu.flush()
        start = gpu.record()
        launched_s = gpu.wall_s()
        works[0]()
        host_s += gpu.wall_s() - launched_s
        pairs.append((start, gpu.record()))
    return _reading(gpu, pairs, began_s=began_s, host_s=host_s, launches=plan.launches)


def _drained(gpu: Gpu, works: Sequence[Work]) -> Reading:
    """Time one call and the wait for its result by the host's clock."""
    gpu.synchronize()
    began_s = gpu.wall_s()
    works[0]()
    enqueued_s = gpu.wall_s() - began_s
    gpu.synchronize()
    spent_s = gpu.wall_s() - began_s
    return Reading(time_s=spent_s, host_s=enqueued_s, spent_s=spent_s)


def _reading(
    gpu: Gpu,
    pairs: Sequence[tuple[Any, Any]],
    *,
    began_s: float,
    host_s: float,
    launches: int,
) -> Reading:
    # Asked while the launches run: an idle device shows another clock.
    sm_clock_mhz, throttle_reasons = gpu.sm_clock_mhz(), gpu.throttle_reasons()
    gpu.synchronize()
    return Reading(
        time_s=sum(gpu.elapsed_s(start, end) for start, end in pairs) / launches,
        host_s=host_s / launches,
        spent_s=gpu.wall_s() - began_s,
        sm_clock_mhz=sm_clock_mhz,
        throttle_reasons=throttle_reasons,
    )


def _clocks(readings: Sequence[Reading]) -> tuple[int, ...]:
    """Clock at each reading, or nothing if it was not readable at every one."""
    clocks = [one.sm_clock_mhz for one in readings if one.sm_clock_mhz is not None]
    return tuple(clocks) if len(clocks) == len(readings) else ()


def _known(readings: Sequence[Reading]) -> bool:
    rejected = below_share(_clocks(readings), share=LOW_CLOCK)
    return is_conclusive(without_rejected([one.time_s for one in readings], rejected))


def _timing(readings: Sequence[Reading], *, clock: _Clock, plan: _Plan, warm: WarmUp) -> Timing:
    clocks = _clocks(readings)
    samples_s = tuple(one.time_s for one in readings)
    host_s = median(one.host_s for one in readings)
    reasons = {reason for one in readings for reason in one.throttle_reasons}
    return Timing(
        clock=clock,
        samples_s=samples_s,
        launches=plan.launches,
        warmup_s=warm.seconds,
        steady=warm.steady,
        host_bound=host_s > HOST_SHARE * median(samples_s),
        rejected=below_share(clocks, share=LOW_CLOCK),
        sm_clocks_mhz=clocks,
        throttle_reasons=tuple(sorted(reasons)),
    )


def _typical(timing: Timing) -> float:
    return median(without_rejected(timing.samples_s, timing.rejected))
