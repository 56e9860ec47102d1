"""Worker of one arm in one round: builds, warms up, and takes turns as messages come.

On a processor under Linux it is a fork of a process that has loaded torch and run nothing: a fork of one whose OpenMP
threads have run would hang, and so would a driver's. Loading takes two seconds of a core, a fork a hundredth. All
forks of a process have its libraries at the same addresses, which is a luck of its own: so the three arms of a round
are forks of one process, the rounds take three processes by turns, and each arm's heap has blocks of random sizes
before what a call makes. What that leaves is in docs/comparing.md. On a GPU each arm is spawned.

What makes equal processes differ is mostly the C library's heap: where a freed tensor happens to lie
at its top, each call gives the memory back and takes it again, page by page. One process in three
or four is so unlucky, for life, and its calls take up to 1.6 times as long (483 page faults a call
instead of none, APNB of 64 channels at 48x32). So the heap is kept here, in all arms alike.

Next come the threads. Free to wander, both of two threads may share one core for seconds; and those
of an arm that has had its turn go on spinning for work into the turn of the next. On two cores that
made equal arms of 0.6 ms a call differ by factors of 0.4 to 2.2. See `thread_variables`.
"""

import ctypes
import math
import random
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench import measure
from bench.compare.instructions import ProcessCounter, open_counter
from bench.measure import LAUNCH_S, LONGEST_HOLD_S, QUEUE_S, HostClock, TorchGpu
from bench.records import MeasuredMemory, Model
from experiments.spec import Cell

if TYPE_CHECKING:
    from bench.workloads import Workload

ArmDevice = Literal["cpu", "cuda"]
TurnTimes = dict[str, float]

WARM_S = {"cpu": 0.2, "cuda": 1.0}
# malloc.h of glibc: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and the largest values that it takes.
KEPT_HEAP = {-1: 2**30, -3: 2**25}
# Blocks of up to 16 KiB, half a MiB in all: addresses differ in their last digits, and by pages.
SCATTERED = 64
# libgomp's, which reads them when torch loads; so many spins are a tenth of a millisecond to a few, by processor.
PLACED = {"OMP_PROC_BIND": "true"}
BRIEF = {"GOMP_SPINCOUNT": "20000"}
SETTLED_S, PAUSE_S = 5e-3, 5e-4
PLACED_BY_USER = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY")
BRIEF_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def thread_variables(variables: Mapping[str, str], device: ArmDevice) -> dict[str, str]:
    """What an arm's process is given beside its environment: a core for each thread, and short spins.

    Nothing where the user has set it, nothing for one thread (arms of several comparisons at once
    would share the first core) and nothing on a GPU.
    """
    if device != "cpu" or sys.platform != "linux" or variables.get("OMP_NUM_THREADS") == "1":
        return {}
    placed = {} if any(map(variables.get, PLACED_BY_USER)) else PLACED
    brief = {} if any(map(variables.get, BRIEF_BY_USER)) else BRIEF
    return {**placed, **brief}


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmTask:
    """What an arm's process is to do."""

    cell: Cell
    device: ArmDevice
    outputs: Path | None = None  # where to leave what the module gives, in the first round
    read_memory: bool = False  # read the memory of a call in other rounds too
    planted: float = 0.0  # share of work that is added to each turn, to slow an arm
    number: int = 0  # of the round


class Ready(Model):
    """Warm: seconds of a call, what was read of the first one where that was wanted, what its time does not tell.

    `no_instructions` says why none are counted.
    """

    call_s: float
    memory: MeasuredMemory | None = None
    caveats: tuple[str, ...] = ()
    no_instructions: str = ""


def play_arm() -> Generator[Ready | TurnTimes | None, Any, None]:
    """Answer a task when the arm is ready, then each number of calls with their times."""
    yield from take_turns((yield None))


def take_turns(task: ArmTask) -> Generator[Ready | TurnTimes, int, None]:
    """Make the arm ready, then time so many calls whenever a number comes."""
    from bench.compare.outputs import save_outputs  # brings torch
    from bench.workloads import format_caveats, make_workload, warm_device

    cell, device = task.cell, task.device
    counter, lack = instruction_counter(device)  # before any thread that it is to count
    warm_device(cell, device)
    work = make_workload(cell, device)
    # In inference under autocast all calls share what it has cast, as in cells.
    with work.numbers() if cell.mode == "eval" else nullcontext():
        refill(work, seed=cell.seed)
        reads = task.outputs is not None or task.read_memory
        memory = measure.measure_memory(work, device=device) if reads else None
        if task.outputs is not None:
            save_outputs(work, task.outputs)
        keep_heap()  # after memory was read, for which the heap keeps nothing
        scatter_heap()  # which would be read as half a MiB more, or not
        take = timed_turns(work, device)
        with measure.collector_off():
            gpu = TorchGpu() if device == "cuda" else None
            # In the first round: what misleads does so in each.
            watched: AbstractContextManager[list[str]] = (
                nullcontext([]) if task.number else measure.watched(work, gpu)
            )
            with watched as caveats:
                call_s = warm_up_arm(take, seconds=WARM_S[device])
            take = timed_turns(work, device, planted=task.planted, counter=counter)
            noted = (*format_caveats(cell.dtype, device), *caveats)
            launches = yield Ready(
                call_s=call_s, memory=memory, caveats=noted, no_instructions=lack
            )
            while True:
                launches = yield take(launches)


def instruction_counter(device: ArmDevice) -> tuple[ProcessCounter | None, str]:
    """Open the processor's counter, or say why there is none; that of the host says nothing of a GPU's work."""
    if device != "cpu":
        return None, ""
    try:
        return open_counter(), ""
    except OSError as error:
        return None, error.strerror or str(error)


def timed_turns(
    work: Callable[[], object],
    device: ArmDevice,
    *,
    planted: float = 0.0,
    counter: ProcessCounter | None = None,
) -> Callable[[int], TurnTimes]:
    """Make what times so many calls: seconds of one call by each clock, the one that decides first.

    With a counter the instructions of one call stand beside them. With a `planted` share each turn truly does that
    much more: on a processor it is busy until the process clock has gone on by it, on a GPU whole calls are made once
    more.
    """
    if device == "cpu":
        clock = HostClock()

        def take_and_settle(launches: int) -> TurnTimes:
            times = take_cpu(work, launches, clock, planted=planted, counter=counter)
            settle(clock)
            return times

        return take_and_settle
    import torch

    gpu = TorchGpu()

    def take(launches: int) -> TurnTimes:
        times = take_cuda(work, launches, gpu)
        torch.cuda.empty_cache()
        return times

    return plant_calls(take, planted)


def plant_calls(take: Callable[[int], TurnTimes], share: float) -> Callable[[int], TurnTimes]:
    """Make so large a share of the calls once more and count them as none: a true slowdown.

    At least one call more, so that of few calls it is a larger share.
    """
    if not share:
        return take

    def slowed(launches: int) -> TurnTimes:
        done = launches + max(1, round(launches * share))
        return {clock: call_s * done / launches for clock, call_s in take(done).items()}

    return slowed


def take_cpu(
    work: Callable[[], object],
    launches: int,
    clock: HostClock,
    *,
    planted: float = 0.0,
    counter: ProcessCounter | None = None,
) -> TurnTimes:
    """Time calls by the process clock (all threads summed) and by the wall clock.

    Where calls are short one goes ahead, untimed: another process has had the caches. With a `planted` share it goes
    on, busy with nothing, for that much of what they took.
    """
    if launches > 1:
        work()
    executed = counter.read() if counter else 0
    began_s, process_s = clock.wall_s(), clock.process_s()
    for _ in range(launches):
        work()
    if planted:
        end_s = process_s + (1 + planted) * (clock.process_s() - process_s)
        while clock.process_s() < end_s:
            pass
    process_s, wall_s = clock.process_s() - process_s, clock.wall_s() - began_s
    times = {"process": process_s / launches, "wall": wall_s / launches}
    if counter:
        times["instructions"] = (counter.read() - executed) / launches
    return times


def settle(clock: HostClock) -> None:
    """Wait until no thread of this process spins for work any more, for `SETTLED_S` at most.

    After a parallel region one does for up to a millisecond, beside the turn of the next process.
    """
    for _ in range(round(SETTLED_S / PAUSE_S)):
        before_s = clock.process_s()
        time.sleep(PAUSE_S)
        if clock.process_s() - before_s < PAUSE_S / 2:
            return


def take_cuda(work: Callable[[], object], launches: int, gpu: TorchGpu) -> TurnTimes:
    """Time calls by events, the stream kept waiting while they are enqueued, and by the wall clock.

    One goes ahead, untimed; it also takes the memory that was given back after the last turn, so
    that three processes share a device which holds the peak of one.
    """
    work()
    gpu.synchronize()
    began_s = gpu.wall_s()
    for _ in range(launches):
        work()
    host_s = (gpu.wall_s() - began_s) / launches
    gpu.synchronize()
    wall_s = (gpu.wall_s() - began_s) / launches
    chunk = max(1, min(launches, int(QUEUE_S / max(host_s, 1e-7))))
    hold_s = min(1.5 * chunk * (host_s + LAUNCH_S), LONGEST_HOLD_S)
    chunks = math.ceil(launches / chunk)
    events_s = 0.0
    for _ in range(chunks):
        gpu.hold(hold_s)
        start = gpu.record()
        for _ in range(chunk):
            work()
        end = gpu.record()
        gpu.synchronize()
        events_s += gpu.elapsed_s(start, end)
    return {"cuda-events": events_s / (chunks * chunk), "wall": wall_s}


def warm_up_arm(take: Callable[[int], TurnTimes], *, seconds: float) -> float:
    """Call for so long, at least once; return the shortest call's wall time."""
    end_s = time.perf_counter() + seconds
    calls_s = [take(1)["wall"]]
    while time.perf_counter() < end_s:
        calls_s.append(take(1)["wall"])
    return min(calls_s)


def keep_heap() -> bool:
    """Have the C library keep what was freed, in blocks of up to 32 MiB; False where it has no such switch."""
    return measure.set_malloc(KEPT_HEAP)


def scatter_heap() -> None:
    """Keep blocks of random sizes in the C library's heap, so that what comes next lies elsewhere in each fork."""
    try:
        malloc = ctypes.CDLL(None).malloc
    except (OSError, AttributeError, TypeError):
        return
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    draw = random.SystemRandom()
    for _ in range(SCATTERED):
        malloc(16 * draw.randrange(1, 1024))


def refill(work: "Workload", *, seed: int) -> None:
    """Draw the maps again from a seed of their own, so that they don't hang on what was built before."""
    import torch

    torch.manual_seed(seed + 1)
    for tensor in work.inputs:
        if tensor.is_floating_point():
            tensor.data.normal_()  # it may ask for a gradient
