"""The times of one side as pytest-benchmark writes them, so that `pytest-benchmark compare` reads both sides.

Its samples are here the medians of the rounds, each of fresh processes. Field names: pytest-benchmark
5, `Metadata.as_dict` and `Stats.as_dict`.
"""

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from bench.records import Finding, Outcome
from reports.model import plain

FORMAT = "5.1.0"


def side_report(outcome: Outcome, side: Literal["base", "head"]) -> dict[str, Any]:
    """What `pytest --benchmark-json` would have written of that side."""
    record = outcome.base if side == "base" else outcome.head
    where, commit = record.environment, record.commit or ""
    return {
        "machine_info": {
            "processor": where.device_name if where else "",
            "machine": where.device if where else "",
            "python_version": where.python if where else "",
            "python_implementation": "CPython",
            "system": where.os if where else "",
            "torch": where.torch if where else "",
        },
        "commit_info": {
            "id": commit.removesuffix("-dirty") or "unversioned",
            "dirty": commit.endswith("-dirty"),
            "project": "bench.regress",
        },
        "benchmarks": [
            _benchmark(finding, finding.before_rounds if side == "base" else finding.after_rounds)
            for finding in outcome.findings
            if finding.kind == "time" and finding.before_rounds and finding.after_rounds
        ],
        "datetime": outcome.created_at,
        "version": FORMAT,
    }


def _benchmark(finding: Finding, rounds: Sequence[float]) -> dict[str, Any]:
    name = f"{finding.cell}: {finding.quantity}"
    return {
        "group": plain(finding.cell),
        "name": plain(name),
        "fullname": plain(f"bench.regress::{name}"),
        "params": None,
        "param": None,
        "extra_info": {"verdict": finding.verdict, "ratio": finding.ratio},
        "options": {
            "disable_gc": True,
            "timer": plain(finding.quantity),
            "min_rounds": len(rounds),
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": _stats(sorted(rounds), launches=finding.launches),
    }


def _stats(rounds: Sequence[float], *, launches: int) -> dict[str, Any]:
    """The numbers that its tables show; `rounds` sorted."""
    median, mean = statistics.median(rounds), statistics.fmean(rounds)
    several = len(rounds) > 1
    deviation = statistics.stdev(rounds) if several else 0.0
    quartiles = statistics.quantiles(rounds, n=4, method="inclusive") if several else [median] * 3
    low, _, high = quartiles
    reach = 1.5 * (high - low)
    inside = [value for value in rounds if low - reach <= value <= high + reach]
    beyond = sum(not mean - deviation <= value <= mean + deviation for value in rounds)
    return {
        "min": rounds[0],
        "max": rounds[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(rounds),
        "median": median,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": len(rounds) - len(inside),
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{len(rounds) - len(inside)}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": 1 / mean,
        "total": sum(rounds),
        "iterations": launches,
        "data": list(rounds),
    }
