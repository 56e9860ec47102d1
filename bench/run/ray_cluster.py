"""Engine of a Ray cluster: that of RAY_ADDRESS, or one on this machine.

A cell whose worker or node dies is done again elsewhere, from its checkpoint where the folder of the
records is shared. What can't be done at all is lost with its reason, and the others go on.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.records import Failure, Record, one_line
from bench.run.pool import Act, Engine, Lost
from experiments.spec import Job

# Of a clone all of it; a wheel is on the nodes as its packages are, and a project's modules are where it is called.
SOURCES = Path(__file__).resolve().parents[2] if __name__.startswith("bench.") else Path.cwd()
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
        msg = "engine 'ray' needs Ray; pip install ray (in a clone: uv sync --group cluster), or pass --engine local"
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
            yield from _run(core, act, cells, resource="GPU" if device == "cuda" else "CPU")
        finally:
            core.shutdown()

    return engine


def _run(core: Any, act: Act, cells: Sequence[Job], *, resource: str) -> Iterator[Record | Lost]:  # noqa: ANN401
    """Start all cells and give each as it ends, those of a worker or node that died after some tries.

    Raises:
        OSError: the cluster itself is gone.
    """
    errors = core.exceptions
    wants = {"num_gpus": 1} if resource == "GPU" else {"num_cpus": 1}
    # Ray shows a task its own GPU alone, so that every one is slot 0.
    task = core.remote(max_retries=0, **wants)(lambda cell: act(cell, 0))
    tries = Counter(cell.id for cell in cells)
    running = {task.remote(cell): cell for cell in cells}
    hopeful_s = time.monotonic()

    def lost(cell: Job, error: Exception) -> Lost:
        full = isinstance(error, errors.OutOfMemoryError | MemoryError)
        after = f" ({tries[cell.id]} tries)" if tries[cell.id] > 1 else ""
        reason = f"lost by the cluster{after}: {one_line(error)}"
        failure = Failure(kind="out-of-memory" if full else "error", reason=reason)
        return Lost(cell=cell, failure=failure)

    while running:
        for done in _ended(core, list(running)):
            cell = running.pop(done)
            try:
                outcome = core.get(done)
            except errors.RayTaskError as error:
                outcome = lost(cell, error.cause or error)
            except errors.RayError as error:
                if tries[cell.id] <= RETRIES:
                    tries[cell.id] += 1
                    running[task.remote(cell)] = cell
                    continue
                outcome = lost(cell, error)
            yield outcome
        if _has_node(core, resource):
            hopeful_s = time.monotonic()
        if time.monotonic() - hopeful_s > PATIENCE_S:
            break
    seconds = f"{PATIENCE_S:.0f} s"
    reason = f"no node of the cluster has had a {resource} for {seconds}; add one and call again"
    for waiting, cell in running.items():
        core.cancel(waiting, force=True)
        yield Lost(cell=cell, failure=Failure(kind="error", reason=reason))


def _ended(core: Any, running: list[Any]) -> list[Any]:  # noqa: ANN401
    """What has ended; nothing if that takes long."""
    try:
        done, _ = core.wait(running, timeout=ASK_EVERY_S)
    except core.exceptions.RayError as error:
        msg = f"the Ray cluster is gone ({one_line(error)}); finished records are kept, call again to go on"
        raise OSError(msg) from error
    return done


def _has_node(core: Any, resource: str) -> bool:  # noqa: ANN401
    return any(node["Alive"] and node["Resources"].get(resource, 0) >= 1 for node in core.nodes())
