"""Where cells run at once: in slots of this machine, or as tasks of a Ray cluster.

An engine takes cells and what to do with one, and gives records as they come; records are written by
the caller alone, so that a worker that dies loses its own cell and nothing else.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from bench.record import Record
from experiments.spec import Cell

Act = Callable[[Cell, int], Record]
Engine = Callable[[Sequence[Cell], Act], Iterator[Record]]

ROOT = Path(__file__).resolve().parent.parent
# Not sent to the workers of a cluster: environments, results, history.
LEFT_BEHIND = [".venv", ".nox", ".git", "results", "**/__pycache__", ".mypy_cache", ".ruff_cache"]
RETRIES = 2


def one_by_one(cells: Sequence[Cell], act: Act) -> Iterator[Record]:
    """Do cells in order, alone on the machine, as readings of time and memory want it."""
    for cell in cells:
        yield act(cell, 0)


def local(slots: int) -> Engine:
    """Do so many cells at once; each knows its slot, and so its GPU or its share of the processor."""

    def engine(cells: Sequence[Cell], act: Act) -> Iterator[Record]:
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(slots):
            free.put(slot)

        def take(cell: Cell) -> Record:
            slot = free.get()
            try:
                return act(cell, slot)
            finally:
                free.put(slot)

        with ThreadPoolExecutor(slots) as pool:
            waiting = [pool.submit(take, cell) for cell in cells]
            try:
                yield from (done.result() for done in as_completed(waiting))
            finally:
                for one in waiting:
                    one.cancel()

    return engine if slots > 1 else one_by_one


def ray(device: str) -> Engine:
    """Do each cell as a task of a Ray cluster: that of RAY_ADDRESS, or one on this machine.

    A task has a GPU of its own, or a processor. One whose node dies is tried again elsewhere.

    Raises:
        ValueError: Ray is not installed.
    """
    try:
        import ray as core
    except ImportError as error:
        msg = "engine 'ray' needs Ray; install it with `uv sync --group cluster`, or pass --engine local"
        raise ValueError(msg) from error

    def engine(cells: Sequence[Cell], act: Act) -> Iterator[Record]:
        core.init(
            address=os.environ.get("RAY_ADDRESS"),
            runtime_env={"working_dir": str(ROOT), "excludes": LEFT_BEHIND},
            log_to_driver=False,
            ignore_reinit_error=True,
            include_dashboard=False,
        )
        wants = {"num_gpus": 1} if device == "cuda" else {"num_cpus": 1}

        def do(cell: Cell) -> Record:
            # Ray shows a task its own GPU alone, so that every one is slot 0.
            return act(cell, 0)

        task = core.remote(max_retries=RETRIES, **wants)(do)
        try:
            waiting = [task.remote(cell) for cell in cells]
            while waiting:
                (done, *_), waiting = core.wait(waiting, num_returns=1)
                yield core.get(done)
        finally:
            core.shutdown()

    return engine
