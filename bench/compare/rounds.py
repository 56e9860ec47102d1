"""Rounds of an interleaved comparison: three or four worker processes at a time, which take turns.

What the first round shows of the arms (how long a call is, what it needs, what it gives) holds for
the others.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, Literal

from bench.analysis import LEVEL, MARGIN, ROUNDS, fewest_rounds, scatter
from bench.compare import turns
from bench.compare.turns import ArmDevice, ArmTask, Ready, TurnTimes, thread_variables
from bench.records import ArmReadings, ClockName, Failure, RoundRecord
from bench.workers import ForkServer, Worker, can_fork
from experiments.spec import Cell
from experiments.variants import write

Name = Literal["first", "control", "second", "planted"]
# The worker of an arm, not yet started, and its first message.
Start = Callable[[Name, ArmTask], tuple[Worker, object]]

LETTERS: Mapping[Name, str] = {"first": "A", "control": "C", "second": "B", "planted": "P"}
NAMES: Mapping[str, Name] = {letter: name for name, letter in LETTERS.items()}
# A turn that follows one of its own process has its caches, and is two percent shorter. So in a lap each arm follows
# each other one three times (of four arms twice) and itself never. Neighbours lie as often as far apart to either side,
# so that what drifts steadily cancels out, as it does in the short lap of long turns, which leave nothing in a cache.
LAP, SHORT_LAP = "ACBCABABCBCACBABAC", "ACBBCA"
LAP_OF_FOUR, SHORT_LAP_OF_FOUR = "ACBPCBAPCPABAPBCPBCABPAC", "ACBPPBCA"
# In every other round arms have each other's places.
SWAPPED = {3: str.maketrans("AB", "BA"), 4: str.maketrans("ABCP", "BAPC")}
LONG_TURN_S = 0.1
# On a shared processor turns of 2.5 to 40 ms scatter alike, by a tenth, so that short ones say more in the same time.
TURN_S = {"cpu": 0.005, "cuda": 0.02}
LEAST_TURNS, MOST_LAPS = 6, 24  # turns of an arm
MOST_ROUNDS = 2000  # over two hours, and a second for their exact boundary
# Of a round's median: its standard error as a share of the margin, and that of a mean of as many normal numbers.
PRECISION = 0.25
MEDIAN_ERROR = 1.2533
LONGEST_TURN_S = 0.5  # of the slowest arm, unless a single call takes longer
MOST_LAUNCHES = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What is fixed before anything runs."""

    margin: float = MARGIN  # share of a time that does not matter
    level: float = LEVEL  # chance of a wrong verdict in any of the comparisons, for each side
    rounds: int = ROUNDS
    comparisons: int = 1  # how many share the level
    turn_s: float | None = None  # of short calls; None: as the device has it
    round_s: float = 3.0  # of all turns of a round at most, if calls are not longer

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            msg = f"margin {self.margin:g} is not a share between 0 and 1; pass for example {MARGIN:g}"
            raise ValueError(msg)
        if not 0 < self.level < 0.5:
            msg = f"level {self.level:g} is not between 0 and 0.5; pass for example {LEVEL:g}"
            raise ValueError(msg)
        if self.rounds > MOST_ROUNDS:
            msg = f"{self.rounds} rounds would take days; pass at most {MOST_ROUNDS}"
            raise ValueError(msg)
        least = fewest_rounds(self.level, comparisons=self.comparisons)
        if self.rounds < least:
            shared = f" shared by {self.comparisons} comparisons" if self.comparisons > 1 else ""
            nothing = f"{self.rounds} rounds decide nothing at level {self.level:g}{shared}"
            msg = f"{nothing}, even if all agree; pass at least {least}"
            raise ValueError(msg)


class ArmError(RuntimeError):
    """An arm could not be run; `failure` has the arm and the reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


# What the processes load of which arms are forks; nothing of it computes.
LOADED_FIRST = (
    turns.__name__,
    *(resolve_name(name, __package__) for name in ("..workloads", "..measure.memory")),
)
# Each has its libraries at addresses of its own; rounds take one after the other.
SERVERS = 3


def start_arm(
    name: Name, task: ArmTask, *, servers: Sequence[ForkServer] = ()
) -> tuple[Worker, object]:
    """An arm of this interpreter; whichever it is."""
    del name
    variables = {**os.environ, **thread_variables(os.environ, task.device)}
    server = server_of(servers, task)
    return Worker(f"{turns.__name__}:play_arm", variables=variables, server=server), task


def server_of(servers: Sequence[ForkServer], task: ArmTask) -> ForkServer | None:
    """The process of which all arms of a round are forks; None where there is none."""
    return servers[task.number % len(servers)] if servers else None


@contextmanager
def arm_servers(
    device: ArmDevice,
    modules: Sequence[str] = LOADED_FIRST,
    *,
    python: str | None = None,
    variables: Mapping[str, str] = os.environ,
) -> Iterator[tuple[ForkServer, ...]]:
    """Start the processes of which arms are forks; none on a GPU, whose driver outlives no fork, or without forks."""
    with ExitStack() as stack:
        placed = {**variables, **thread_variables(variables, device)}
        servers = (
            ForkServer(modules, python=python, variables=placed)
            for _ in range(SERVERS if device == "cpu" and can_fork() else 0)
        )
        yield tuple(stack.enter_context(server) for server in servers)


def receive(worker: Worker, cell: Cell) -> Any:  # noqa: ANN401
    """Wait for what an arm's process answers: `Ready`, then the times of each turn.

    Raises:
        ArmError: it can't be run, dies, or takes longer than its cell's limit.
    """
    answer = worker.receive(limit_s=cell.time_limit_s)
    if isinstance(answer, Failure):
        reason = f"{write(cell.name, cell.implementation)}: {answer.reason}"
        raise ArmError(answer.model_copy(update={"reason": reason}))
    return answer


@dataclass(slots=True)
class Match:
    """Plays rounds of two arms; the first one is its own control, the verdict is about the second.

    Each arm in `slowed` has that share of work added to every turn; `planted` there is a fourth arm, the first one
    again. The first round says how many `launches` a turn of each arm makes, how many `laps` a round
    goes through its order, and what each process answers when it is `ready`.
    """

    first: Cell
    second: Cell
    _: KW_ONLY
    device: ArmDevice
    settings: Settings
    start: Start = start_arm
    read_memory: bool = False  # in every round
    slowed: Mapping[Name, float] = field(default_factory=dict)
    launches: dict[Name, int] = field(init=False, default_factory=dict)
    lap: str = field(init=False, default=LAP)
    laps: int = field(init=False, default=1)
    _deviations: list[float] = field(init=False, default_factory=list)
    ready: Mapping[Name, Ready] = field(init=False, default_factory=dict)

    @property
    def cells(self) -> Mapping[Name, Cell]:
        """What each arm runs."""
        names: tuple[Name, ...] = ("first", "control", "second", "planted")
        cells = dict.fromkeys(names, self.first) | {"second": self.second}
        return {name: cells[name] for name in names if name != "planted" or name in self.slowed}

    def play(self, rounds: int, outputs: Mapping[Name, Path]) -> Iterator[RoundRecord]:
        """Play so many rounds; each as it ends, the first with files for what the modules give.

        Raises:
            ArmError: an arm can't be run, or dies, or takes longer than its cell's limit.
        """
        for number in range(rounds):
            yield self._round(number, {} if number else outputs)

    def _round(self, number: int, outputs: Mapping[Name, Path]) -> RoundRecord:
        cells = self.cells
        workers: dict[Name, Worker] = {}
        turns: list[tuple[Name, TurnTimes]] = []
        with ExitStack() as stack:
            for name, cell in cells.items():
                task = ArmTask(
                    cell=cell,
                    device=self.device,
                    outputs=outputs.get(name),
                    read_memory=self.read_memory and name != "planted",
                    planted=self.slowed.get(name, 0.0),
                    number=number,
                )
                workers[name], message = self.start(name, task)
                stack.callback(workers[name].end)
                workers[name].start().send(message)  # they get warm at once
            ready = {name: receive(worker, cells[name]) for name, worker in workers.items()}
            if not self.launches:
                self.ready = ready
                self.plan(ready)
            lap = self.lap.translate(SWAPPED[len(cells)]) if number % 2 else self.lap
            began_s = time.monotonic()
            for laps in range(1, self.laps + 1):
                for letter in lap:
                    name = NAMES[letter]
                    workers[name].send(self.launches[name])
                    turns.append((name, receive(workers[name], cells[name])))
                if (laps + 1) / laps * (time.monotonic() - began_s) > self.settings.round_s:
                    break
        readings = _readings_by_clock(turns)
        self._deviations.append(_deviation(next(iter(readings.values()))))
        self.laps = self._laps_wanted()
        return RoundRecord(
            order=lap,
            readings=readings,
            load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            memory=_added_memory(ready) if self.read_memory else None,
        )

    def plan(self, ready: Mapping[Name, Ready]) -> None:
        """How many calls make a turn, and how often it goes round; as in the first round in all others.

        As many calls for every arm: the first ones of a turn are slower (another process has had the
        core and its caches), and in a shorter turn they would weigh more. On a busy machine 4 calls
        beside 17 of the same block have looked like a difference of a quarter.
        """
        calls_s = {name: max(arm.call_s, 1e-9) for name, arm in ready.items()}
        turn_s = self.settings.turn_s or TURN_S[self.device]
        wanted = math.ceil(turn_s / min(calls_s.values()))
        most = int(LONGEST_TURN_S / max(calls_s.values()))
        least = 1
        if self.device == "cuda":  # where whole calls are added
            least = max((math.ceil(1 / share) for share in self.slowed.values()), default=1)
        launches = max(least, min(wanted, most, MOST_LAUNCHES))
        self.launches = dict.fromkeys(calls_s, launches)
        is_long = launches * max(calls_s.values()) > LONG_TURN_S
        laps = (LAP_OF_FOUR, SHORT_LAP_OF_FOUR) if len(calls_s) > 3 else (LAP, SHORT_LAP)
        self.lap = laps[is_long]
        self.laps = math.ceil(LEAST_TURNS / self._turns_a_lap)

    def _laps_wanted(self) -> int:
        """So many that a round's median is as sure as is wanted, by the scatter of turns in the rounds so far."""
        error = PRECISION * math.log1p(self.settings.margin)
        turns = (MEDIAN_ERROR * statistics.median(self._deviations) / error) ** 2
        turns = max(LEAST_TURNS, math.ceil(turns))
        return min(MOST_LAPS, math.ceil(turns / self._turns_a_lap))

    @property
    def _turns_a_lap(self) -> int:
        """Turns of each arm in a lap."""
        return len(self.lap) // len(set(self.lap))


def _deviation(readings: ArmReadings) -> float:
    """Scatter of the ratios of single turns, of the second arm and of the control over the first."""
    arms = (readings.second, readings.control)
    return max(
        scatter([math.log(one / other) for one, other in zip(arm, readings.first, strict=True)])
        for arm in arms
    )


def _added_memory(ready: Mapping[Name, Ready]) -> ArmReadings | None:
    """What a call of each arm added in this round, of nothing the least that is seen; None where one was not read."""
    added = {}
    for name, arm in ready.items():
        if name != "planted":
            if arm.memory is None or arm.memory.added_bytes is None:
                return None
            least = arm.memory.resolution_bytes or 1
            added[name] = (float(max(arm.memory.added_bytes, least)),)
    return ArmReadings(**added)


def _readings_by_clock(turns: Sequence[tuple[Name, TurnTimes]]) -> dict[ClockName, ArmReadings]:
    clocks: list[ClockName] = list(turns[0][1])  # type: ignore[arg-type]  # checked by pydantic
    return {
        clock: ArmReadings(
            **{arm: tuple(times[clock] for name, times in turns if name == arm) for arm in LETTERS}
        )
        for clock in clocks
    }
