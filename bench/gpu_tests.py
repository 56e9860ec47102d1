"""The tests that need a GPU, run by `bench.reference` ahead of all readings, in a process that ends with it."""

import sys
from pathlib import Path

from bench.records import Failure
from bench.workers import Worker

ROOT = Path(__file__).resolve().parent.parent


def files() -> tuple[str, ...]:
    """Files that have tests for a GPU; all others would be imported in vain, which takes most of a minute."""
    return tuple(
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.gpu" in path.read_text(encoding="utf-8")
    )


def run_gpu_tests(log: Path, *, limit_s: float) -> int:
    """Run them, what they print into a file, and say how they ended; 0 if they passed."""
    chosen = files()
    if not chosen:
        sys.stdout.write("GPU tests: there are none beside this code\n")
        return 0
    arguments = [
        *("-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", f"pythonpath={ROOT}"),
        # Neither a file that can't be imported here keeps others from being run, nor a warning of another version.
        *("-o", "addopts=--import-mode=importlib", "--continue-on-collection-errors"),
        *("-W", "default"),
        *chosen,
    ]
    with Worker("pytest:main", folder=ROOT, log=log) as worker:
        outcome = worker.ask(arguments, limit_s=limit_s)
    if isinstance(outcome, Failure) and outcome.kind == "timeout":
        sys.stdout.write(f"GPU tests: not done after {limit_s:.0f} s; see {log.name}\n")
        return 1
    last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
    sys.stdout.write(f"GPU tests: {last}; see {log.name}\n")
    return int(outcome != 0)
