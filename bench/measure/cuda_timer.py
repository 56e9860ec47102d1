"""Time of one call on a GPU: by events, cache hot and cold, by wall clock, by replaying a graph.

The stream waits while a sample's launches are enqueued, so that an interval between events is
the device's time even where the host is slower; where it is, the timing says `host_bound`, since
without that wait the host would set the pace.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from bench.analysis import below_share, is_conclusive, without_rejected
from bench.measure import collect
from bench.measure.collect import Read, Reading, WarmUp
from bench.measure.cuda_stream import TorchGpu, Work
from bench.records import NO_GRAPH, Timing
from experiments.spec import Measurement

# Two thousand times the resolution of an event.
SAMPLE_S = 1e-3
# A sample keeps the host busy no longer than this: a full queue would block it.
QUEUE_S = 2.5e-3
LONGEST_HOLD_S = 0.5
# What a sample adds to the host's work at each launch: two events and a flush.
LAUNCH_S = 1e-4
LONGEST_WARM_UP_S = 10.0
WARM_SHARE = 0.3
AGREEMENT = 0.01
# Twelve blocks of 50 ms.
SPAN_S = 0.6
FLOOR_PAIRS = 12
LOW_CLOCK = 0.95
HOST_SHARE = 0.8
GRAPH_GAIN = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """How a sample is taken: launches in it, and how long the stream waits ahead of them."""

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
    work: Work | Sequence[Work], *, budget_s: float, gpu: TorchGpu | None = None, graph: bool = True
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
    with collect.collector_off():
        before = gpu.other_processes()
        timings = _time(works, gpu, end_s=gpu.wall_s() + budget_s, graph=graph)
        others = max(before, gpu.other_processes())
    note = (f"other processes on the device: {others}",) if others else ()
    return tuple(_noted(timing, *note) for timing in timings)


def _noted(timing: Timing, *notes: str) -> Timing:
    return timing.model_copy(update={"notes": (*timing.notes, *notes)})


def _time(
    works: tuple[Work, ...], gpu: TorchGpu, *, end_s: float, graph: bool
) -> tuple[Timing, ...]:
    budget_s = end_s - gpu.wall_s()
    read_call = partial(_sample, gpu, works[:1], _Plan())
    first = read_call()
    if first.spent_s < budget_s / 2:
        # The very first call also loads kernels and plans, so it says little about the next.
        first = read_call()
    if first.spent_s >= budget_s / 4:
        cold = WarmUp(last=first)
        return (_take(gpu, read_call, plan=_Plan(), warm=cold, end_s=end_s, first=(first,)),)
    warm = collect.warm_up(
        partial(_sample, gpu, works[:1], _Plan.of(first)),
        gpu.wall_s,
        cap_s=min(LONGEST_WARM_UP_S, WARM_SHARE * budget_s),
        agreement=AGREEMENT,
    )
    return _every_clock(works, gpu, warm=warm, end_s=end_s, graph=graph)


def _every_clock(
    works: tuple[Work, ...], gpu: TorchGpu, *, warm: WarmUp, end_s: float, graph: bool
) -> tuple[Timing, ...]:
    plan, hot = _Plan.of(warm.last), works[:1]
    floor_s = median(_sample(gpu, (), plan).time_s for _ in range(FLOOR_PAIRS))

    def take(read: Read, readings_left: int, **update: object) -> Timing:
        # The next of so many timings has to be ready, if all get as much.
        now_s = gpu.wall_s()
        by_s = now_s + (end_s - now_s) / readings_left
        timing = _take(gpu, read, plan=plan, warm=warm, end_s=by_s)
        return timing.model_copy(update={"floor_s": floor_s, **update})

    events = take(partial(_sample, gpu, hot, plan), 3 + graph)
    cold = take(partial(_sample, gpu, works, plan, flush=len(works) == 1), 2 + graph, cache="cold")
    wall = take(partial(_drained, gpu, hot), 1 + graph, clock="wall", launches=1)
    if not graph:
        return (events, cold, wall)
    # Last: a capture that fails may leave the allocator in another state.
    try:
        replay = gpu.capture(works[0])
    except RuntimeError as error:
        reason = str(error).strip().split("\n")[0][:160]
        return (_noted(events, NO_GRAPH + reason), cold, wall)
    replayed = take(partial(_sample, gpu, (replay,), plan), 1, clock="cuda-graph")
    gains = _typical(replayed) < GRAPH_GAIN * _typical(events)
    events = events.model_copy(update={"host_bound": events.host_bound or gains})
    return (events, cold, wall, replayed)


def _sample(gpu: TorchGpu, works: Sequence[Work], plan: _Plan, *, flush: bool = False) -> Reading:
    """Time launches by events: those around all of them, or around nothing if there are no works.

    To `flush` gives each launch events of its own, the cache overwritten ahead of it.
    """
    began_s = gpu.wall_s()
    gpu.hold(plan.hold_s)
    pairs, host_s = [], 0.0
    launches = range(plan.launches if works else 0)
    for group in [(launch,) for launch in launches] if flush else [launches]:
        if flush:
            gpu.flush()
        start = gpu.record()
        enqueued_s = gpu.wall_s()
        for launch in group:
            works[launch % len(works)]()
        host_s += gpu.wall_s() - enqueued_s
        pairs.append((start, gpu.record()))
    # Read while the launches run: an idle device shows another clock.
    sm_clock_mhz, throttle_reasons = gpu.sm_clock_mhz(), gpu.throttle_reasons()
    gpu.synchronize()
    count = len(launches) or 1
    return Reading(
        time_s=sum(gpu.elapsed_s(start, end) for start, end in pairs) / count,
        host_s=host_s / count,
        spent_s=gpu.wall_s() - began_s,
        sm_clock_mhz=sm_clock_mhz,
        throttle_reasons=throttle_reasons,
    )


def _drained(gpu: TorchGpu, works: Sequence[Work]) -> Reading:
    """Time one call and the wait for its result by the host's clock."""
    gpu.synchronize()
    began_s = gpu.wall_s()
    works[0]()
    enqueued_s = gpu.wall_s() - began_s
    gpu.synchronize()
    spent_s = gpu.wall_s() - began_s
    return Reading(time_s=spent_s, host_s=enqueued_s, spent_s=spent_s)


def _take(
    gpu: TorchGpu,
    read: Read,
    *,
    plan: _Plan,
    warm: WarmUp,
    end_s: float,
    first: tuple[Reading, ...] = (),
) -> Timing:
    readings = collect.collect_samples(
        read, gpu.wall_s, done=_known, end_s=end_s, span_s=SPAN_S, first=first
    )
    clocks = _clocks(readings)
    samples_s = tuple(reading.time_s for reading in readings)
    host_s = median(reading.host_s for reading in readings)
    return Timing(
        clock="cuda-events",
        samples_s=samples_s,
        launches=plan.launches,
        warmup_s=warm.seconds,
        steady=warm.steady,
        host_bound=host_s > HOST_SHARE * median(samples_s),
        rejected=below_share(clocks, share=LOW_CLOCK),
        sm_clocks_mhz=clocks,
        throttle_reasons=tuple(sorted({x for each in readings for x in each.throttle_reasons})),
    )


def _clocks(readings: Sequence[Reading]) -> tuple[int, ...]:
    """Clock at each reading, or nothing if it was not readable at every one."""
    clocks = [reading.sm_clock_mhz for reading in readings if reading.sm_clock_mhz is not None]
    return tuple(clocks) if len(clocks) == len(readings) else ()


def _known(readings: Sequence[Reading]) -> bool:
    rejected = below_share(_clocks(readings), share=LOW_CLOCK)
    return is_conclusive(without_rejected([reading.time_s for reading in readings], rejected))


def _typical(timing: Timing) -> float:
    return median(without_rejected(timing.samples_s, timing.rejected))


def probe(work: Work, cell: Measurement, _device: str) -> dict[str, Any]:
    """The probe `timing`; what was seen of the calls that a time does not tell is with each timing."""
    from bench.measure.cheating import watched, with_caveats  # brings torch

    with watched(work, TorchGpu()) as caveats:
        timings = time_cuda(work, budget_s=cell.budget_s)
    return {"timings": with_caveats(timings, caveats)}
