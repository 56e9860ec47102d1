"""The rounds of a comparison: three processes at a time, which take turns.

What the first round shows of the arms (how long a call is, what it needs, what it gives) holds for
the others.
"""

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from bench.compare import turns as pairing_worker
from bench.compare.turns import ArmDevice, ArmTask, Ready, Times
from bench.records import ArmReadings, ClockName, Failure, RoundRecord, exit_failure
from bench.run import end_process, end_with_parent
from experiments.spec import Cell
from experiments.variants import write

Name = Literal["first", "control", "second"]

# A first, then C, its control; a round that begins with B has them the other way round.
ORDERS: tuple[tuple[Name, ...], ...] = (
    ("first", "control", "second", "second", "control", "first"),
    ("second", "control", "first", "first", "control", "second"),
)
LETTERS: Mapping[Name, str] = {"first": "A", "control": "C", "second": "B"}
MOST_LAPS = 24
LONGEST_TURN_S = 0.5  # of the slowest arm, unless a single call takes longer
MOST_LAUNCHES = 100_000


class ArmError(RuntimeError):
    """An arm could not be run; `failure` has the arm and the reason."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def spawn(task: ArmTask) -> tuple[Any, Any]:
    """Start an arm in a process of this interpreter: the connection to it, and the process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Not a daemon, which may start no processes; somebody's own block may.
    process = context.Process(target=_serve, args=(task, theirs))
    added = pairing_worker.threads(os.environ, task.device)
    os.environ.update(added)
    try:
        process.start()
    finally:
        for name in added:
            del os.environ[name]
    theirs.close()
    return ours, process


def _serve(task: ArmTask, connection: Any) -> None:  # noqa: ANN401  # of multiprocessing
    end_with_parent()
    pairing_worker.serve(task, connection)


Start = Callable[[ArmTask], tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Manner:
    """How arms are run where that is not as usual.

    Attributes:
        starts: what starts an arm's process, e.g. with another interpreter; `spawn` for the others.
        read_memory: read the memory of a call in every round.
        planted: share of each turn of the second arm that is done once more and not said.
        least_launches: calls in a turn at least.
    """

    starts: Mapping[Name, Start] = field(default_factory=dict)
    read_memory: bool = False
    planted: float = 0.0
    least_launches: int = 1


USUAL = Manner()


class Match:
    """Plays rounds.

    Args:
        first: the arm that is compared with, and once more its control.
        second: the arm that the verdict is about.
        device: where.
        turn_s: seconds of one turn of short calls.
        round_s: seconds of all turns of one round, if calls are not longer.
        manner: how the arms are run.

    Attributes:
        launches: calls in a turn of each arm, after the first round.
        ready: what each process said of itself in the first round.
    """

    def __init__(
        self,
        first: Cell,
        second: Cell,
        *,
        device: ArmDevice,
        turn_s: float,
        round_s: float,
        manner: Manner = USUAL,
    ) -> None:
        self.cells: Mapping[Name, Cell] = {"first": first, "control": first, "second": second}
        self.device = device
        self.turn_s = turn_s
        self.round_s = round_s
        self.manner = manner
        self.launches: dict[Name, int] = {}
        self.ready: Mapping[Name, Ready] = {}
        self.laps = 1

    def play(self, rounds: int, outputs: Mapping[Name, Path]) -> Iterator[RoundRecord]:
        """Play so many rounds.

        Args:
            rounds: how many.
            outputs: files into which the first round's processes put what their modules give.

        Raises:
            ArmError: an arm can't be run, or dies, or takes longer than its cell's limit.
        """
        for number in range(rounds):
            yield self._round(number, {} if number else outputs)

    def _round(self, number: int, outputs: Mapping[Name, Path]) -> RoundRecord:
        order = ORDERS[number % len(ORDERS)]
        with ExitStack() as stack:
            players: dict[Name, Player] = {
                name: stack.enter_context(
                    Player(self._task(name, outputs), self.manner.starts.get(name, spawn))
                )
                for name in self.cells
            }
            ready = {name: player.ready() for name, player in players.items()}
            if not self.launches:
                self.ready = ready
                self._plan(ready)
            turns = [(name, players[name].turn(self.launches[name])) for name in order * self.laps]
        return _as_round(order, turns, memory=_memory(ready) if self.manner.read_memory else None)

    def _task(self, name: Name, outputs: Mapping[Name, Path]) -> ArmTask:
        return ArmTask(
            cell=self.cells[name],
            device=self.device,
            outputs=outputs.get(name),
            read_memory=self.manner.read_memory,
            planted=self.manner.planted if name == "second" else 0.0,
        )

    def _plan(self, ready: Mapping[Name, Ready]) -> None:
        """How many calls make a turn, and how often it goes round; as in the first round in all others.

        As many calls for every arm: the first ones of a turn are slower (another process has had the
        core and its caches), and in a shorter turn they would weigh more. On a busy machine 4 calls
        beside 17 of the same block have looked like a difference of a quarter.
        """
        calls_s = {name: max(one.call_s, 1e-9) for name, one in ready.items()}
        wanted = math.ceil(self.turn_s / min(calls_s.values()))
        most = int(LONGEST_TURN_S / max(calls_s.values()))
        launches = max(self.manner.least_launches, min(wanted, most, MOST_LAUNCHES))
        self.launches = dict.fromkeys(calls_s, launches)
        self.laps = max(
            1, min(MOST_LAPS, int(self.round_s / (2 * launches * sum(calls_s.values()))))
        )


def _memory(ready: Mapping[Name, Ready]) -> ArmReadings | None:
    """What a call of each arm added in this round; None where one was not read or is nothing."""
    read = {name: one.memory.added_bytes if one.memory else None for name, one in ready.items()}
    if not all(read.values()):
        return None
    return ArmReadings(**{name: (float(value or 0),) for name, value in read.items()})


def _as_round(
    order: Sequence[Name], turns: Sequence[tuple[Name, Times]], *, memory: ArmReadings | None
) -> RoundRecord:
    clocks: list[ClockName] = list(turns[0][1])  # type: ignore[arg-type]  # checked by pydantic
    readings = {
        clock: ArmReadings(
            **{name: tuple(times[clock] for who, times in turns if who == name) for name in LETTERS}
        )
        for clock in clocks
    }
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    letters = "".join(LETTERS[name] for name in order)
    return RoundRecord(order=letters, readings=readings, load_average=load, memory=memory)


@dataclass(slots=True)
class Player:
    """An arm's process; a context that ends it."""

    task: ArmTask
    start: Start = spawn
    _connection: Any = field(init=False, default=None)
    _process: Any = field(init=False, default=None)

    def __enter__(self) -> Self:
        """Start it; `ready` waits for it, so that several start at once."""
        self._connection, self._process = self.start(self.task)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        end_process(self._process)

    def ready(self) -> Ready:
        """Wait until it is warm."""
        found = self._receive()
        assert isinstance(found, Ready), found
        return found

    def turn(self, launches: int) -> Times:
        """Let it make so many calls, and wait."""
        self._connection.send(launches)
        times: Times = self._receive()
        return times

    def _receive(self) -> Any:  # noqa: ANN401
        cell = self.task.cell
        try:
            if not self._connection.poll(cell.time_limit_s):
                reason = f"not done after {cell.time_limit_s:.0f} s; ended"
                raise self._error(Failure(kind="timeout", reason=reason))
            found = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            raise self._error(exit_failure(self._process.exitcode)) from error
        if isinstance(found, Failure):
            raise self._error(found)
        return found

    def _error(self, failure: Failure) -> ArmError:
        cell = self.task.cell
        reason = f"{write(cell.name, cell.implementation)}: {failure.reason}"
        return ArmError(failure.model_copy(update={"reason": reason}))
