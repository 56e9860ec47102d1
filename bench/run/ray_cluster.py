"""Engine of a Ray cluster: that of RAY_ADDRESS, or one on this machine.

A cell whose worker or node dies is done again elsewhere, from its checkpoint where the folder of the
records is shared. What can't be done at all is lost with its reason, and the others go on.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from bench.records import Failure, Record, one_line
from bench.run.pool import Act, Engine, Lost
from experiments.spec import Job

Resource = Literal["CPU", "GPU"]

SOURCES = Path(__file__).resolve().parents[2]
# Not sent to the workers: environments, results, history.
LEFT_BEHIND = [".venv", ".nox", ".git", "results", "**/__pycache__", ".mypy_cache", ".ruff_cache"]
# Of a cell whose worker or node died. Ray's own would go on for ever where memory is what is missing.
RETRIES = 2
# How long no node may have what a cell needs; a cluster that grows on demand takes minutes to start one.
PATIENCE_S = 600.0
ASK_EVERY_S = 5.0


def ray(device: str) -> Engine:
    """Do each cell as a task of a Ray cluster, with a GPU of its own or a processor.

    Raises:
        ValueError: Ray is not installed.
    """
    try:
        import ray as core
    except ImportError as error:
        msg = "engine 'ray' needs Ray; install it with `uv sync --group cluster`, or pass --engine local"
        raise ValueError(msg) from error

    def engine(cells: Sequence[Job], act: Act) -> Iterator[Record | Lost]:
        core.init(
            address=os.environ.get("RAY_ADDRESS"),
            runtime_env={"working_dir": str(SOURCES), "excludes": LEFT_BEHIND},
            log_to_driver=False,
            ignore_reinit_error=True,
            include_dashboard=False,
        )
        try:
            yield from _Tasks(core, act, "GPU" if device == "cuda" else "CPU").go(cells)
        finally:
            core.shutdown()

    return engine


class _Tasks:
    """The cells that a cluster has been given and has not brought back."""

    def __init__(self, core: Any, act: Act, resource: Resource) -> None:  # noqa: ANN401  # a module
        def do(cell: Job) -> Record:
            # Ray shows a task its own GPU alone, so that every one is slot 0.
            return act(cell, 0)

        wants = {"num_gpus": 1} if resource == "GPU" else {"num_cpus": 1}
        self.core = core
        self.resource = resource
        self.task = core.remote(max_retries=0, **wants)(do)
        self.running: dict[Any, Job] = {}
        self.tries: Counter[str] = Counter()
        self.hopeful_s = time.monotonic()

    def go(self, cells: Sequence[Job]) -> Iterator[Record | Lost]:
        """Start all and give each as it ends.

        Raises:
            OSError: the cluster itself is gone.
        """
        for cell in cells:
            self.start(cell)
        while self.running:
            for done in self.wait():
                yield from self.take(done)
            if self.is_hopeless():
                yield from self.give_up()

    def start(self, cell: Job) -> None:
        """Give a cell to the cluster, perhaps again."""
        self.tries[cell.id] += 1
        self.running[self.task.remote(cell)] = cell

    def wait(self) -> list[Any]:
        """Return what has ended, nothing if that takes long."""
        try:
            done, _ = self.core.wait(list(self.running), timeout=ASK_EVERY_S)
        except self.core.exceptions.RayError as error:
            msg = f"the Ray cluster is gone ({one_line(error)}); finished records are kept, call again to go on"
            raise OSError(msg) from error
        return done

    def take(self, done: Any) -> Iterator[Record | Lost]:  # noqa: ANN401  # a reference of Ray's
        """Give the record of a task that has ended, or start it again."""
        cell = self.running.pop(done)
        errors = self.core.exceptions
        try:
            record = self.core.get(done)
        except errors.RayTaskError as error:
            yield self.lose(cell, error.cause or error)
        except errors.RayError as error:
            if self.tries[cell.id] <= RETRIES:
                self.start(cell)
            else:
                yield self.lose(cell, error)
        else:
            yield record

    def lose(self, cell: Job, error: Exception) -> Lost:
        """Say why there is no record of a cell."""
        full = isinstance(error, self.core.exceptions.OutOfMemoryError | MemoryError)
        count = self.tries[cell.id]
        after = f" ({count} tries)" if count > 1 else ""
        reason = f"lost by the cluster{after}: {one_line(error)}"
        failure = Failure(kind="out-of-memory" if full else "error", reason=reason)
        return Lost(cell=cell, failure=failure)

    def is_hopeless(self) -> bool:
        """Whether for long no node has had what a cell needs."""
        if any(
            node["Alive"] and node["Resources"].get(self.resource, 0) >= 1
            for node in self.core.nodes()
        ):
            self.hopeful_s = time.monotonic()
        return time.monotonic() - self.hopeful_s > PATIENCE_S

    def give_up(self) -> Iterator[Lost]:
        """Lose all that is left."""
        reason = (
            f"no node of the cluster has had a {self.resource} for {PATIENCE_S:.0f} s; "
            "add one and call again"
        )
        for waiting, cell in self.running.items():
            self.core.cancel(waiting, force=True)
            yield Lost(cell=cell, failure=Failure(kind="error", reason=reason))
        self.running.clear()
