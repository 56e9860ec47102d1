"""Engines: cells one by one, or several at once in slots of this machine.

An engine takes cells and what to do with one, and gives records as they come; records are written by
the caller alone, so that a worker that dies loses its own cell and nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from queue import SimpleQueue

from bench.records import Failure, Record
from bench.workers import end_all
from experiments.spec import Job


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """A cell of which no record came back from where it was done, and why."""

    cell: Job
    failure: Failure


Act = Callable[[Job, int], Record]
Engine = Callable[[Sequence[Job], Act], Iterator[Record | Lost]]


def in_order(cells: Sequence[Job], act: Act) -> Iterator[Record]:
    """Do cells in order, alone on the machine, as readings of time and memory want it."""
    return (act(cell, 0) for cell in cells)


def local(slots: int) -> Engine:
    """Do so many cells at once; each knows its slot, and so which GPU it gets.

    Whoever stops asking for records, because of an error or an interruption, ends what is running.
    """

    def engine(cells: Sequence[Job], act: Act) -> Iterator[Record]:
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(slots):
            free.put(slot)

        def take(cell: Job) -> Record:
            slot = free.get()
            try:
                return act(cell, slot)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(slots) as pool:
            futures = [pool.submit(take, cell) for cell in cells]
            try:
                yield from (future.result() for future in as_completed(futures))
            finally:
                for future in futures:
                    future.cancel()
                # Again and again, as a thread may have been about to start another.
                while wait(futures, timeout=0.1).not_done:
                    end_all()

    return engine if slots > 1 else in_order
