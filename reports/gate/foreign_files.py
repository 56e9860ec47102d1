"""Timings that other tools wrote, each file read by what is in it: pytest-benchmark, nvbench, KernelBench, tritonbench.

Names are those of pytest-benchmark 5 (`Stats.as_dict`, seconds), of nvbench's `--json` as `cuda.bench.results` of
cuda-bench 0.3.0 reads it (seconds; samples in a file of float32 beside it, `--jsonbin`), of KernelBench's
`results/timing` and `eval_results.json` (milliseconds), and of tritonbench's `write_csv_to_file` and
`userbenchmark_dict` (milliseconds, a cell the median of one process).
"""

import array
import csv
import json
import math
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports.model import MILLI

READ = (
    "pytest-benchmark's JSON (--benchmark-json), nvbench's (--json), KernelBench's JSON or CSV with mean and "
    "num_trials, tritonbench's CSV or JSON with a latency"
)
SAMPLE_TIMES = "nv/json/bin:nv/cold/sample_times"
GPU_TIME = "nv/cold/time/gpu"
TRITONBENCH_KEY = re.compile(r"tritonbench_(?P<name>.+\[x_.*\])_latency")
DEEPEST = 3  # level, problem, sample
NO_ROWS = {"average", "hashes"}  # what tritonbench writes below its rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a file says of one benchmark: a time, and where it has them the samples or their number."""

    time_s: float  # the median where there are samples, else what the file has
    statistic: str = "number"
    samples_s: tuple[float, ...] = ()  # in the order in which they were taken
    calls: int | None = None  # of which the time is the mean or the median
    deviation: float | None = None  # of the calls, as a share of their mean
    device: str = ""
    of_processes: bool = False  # whether each sample is of a process of its own


@dataclass(frozen=True, kw_only=True, slots=True)
class TimingFile:
    """The benchmarks of a file by name; in place of a reading the reason why there is none."""

    tool: str
    path: Path
    readings: Mapping[str, Reading | str]
    taken_at: datetime | None = None  # where the tool writes it


Rows = Iterator[tuple[str, Reading | str]]


def read_timings(path: Path) -> TimingFile:
    """Read a file of one of the tools.

    Raises:
        ValueError: it is none of theirs, it holds no times, or a time is none; the message says what is read.
        OSError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: not text; read are {READ}"
        raise ValueError(msg) from error
    content = _parsed(text)
    tool, rows = _recognise(content, path) if content is not None else _recognise_csv(text)
    if not tool:
        msg = f"{path}: none of the files that are read: {READ}"
        raise ValueError(msg)
    try:
        readings = dict(rows)
    except (KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
        what = f"{type(error).__name__}: {error}"
        msg = f"{path}: looks like {tool}'s, and is not as it writes it ({what}); write it again"
        raise ValueError(msg) from error
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error
    if not any(isinstance(reading, Reading) for reading in readings.values()):
        msg = f"{path}: {tool}'s, without a time; run the benchmarks and write it again"
        raise ValueError(msg)
    taken_at = _time_of(content.get("datetime")) if isinstance(content, dict) else None
    return TimingFile(tool=tool, path=path, readings=readings, taken_at=taken_at)


def _time_of(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # as pytest-benchmark writes it


def _parsed(text: str) -> Any:  # noqa: ANN401  # somebody else's JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _recognise(content: Any, path: Path) -> tuple[str, Rows]:  # noqa: ANN401  # somebody else's JSON
    """Which tool wrote it, empty for none, and what it wrote."""
    if not isinstance(content, dict):
        return "", iter(())
    benchmarks = content.get("benchmarks")
    if isinstance(benchmarks, list) and "devices" in content:
        return "nvbench", _nvbench_rows(content, path.parent)
    if isinstance(benchmarks, list):
        return "pytest-benchmark", _pytest_rows(content)
    metrics = content.get("metrics", content)
    if isinstance(metrics, dict) and any(str(key).startswith("tritonbench_") for key in metrics):
        return "tritonbench", _tritonbench_rows(metrics)
    if _has_trials(content):
        return "KernelBench", _kernelbench_rows(content)
    return "", iter(())


def _recognise_csv(text: str) -> tuple[str, Rows]:
    first = text.partition("\n")[0]
    if ";" in first and "-latency" in first:
        return "tritonbench", _tritonbench_cells(text)
    if {"mean", "num_trials"} <= {name.strip() for name in first.split(",")}:
        return "KernelBench", _kernelbench_cells(text)
    return "", iter(())


def seconds_of(value: object, *, of: str, unit_s: float = 1.0) -> float:
    """A time in seconds; a ValueError says whose is none."""
    try:
        time = float(value) * unit_s  # type: ignore[arg-type]  # a TypeError says that it is no number
    except (TypeError, ValueError):
        time = math.nan
    if not 0 < time < math.inf:
        msg = f"{of}: {value!r} is no time; all have to be above zero"
        raise ValueError(msg)
    return time


def _of_samples(samples: Sequence[float], *, of: str, device: str, **more: Any) -> Reading:  # noqa: ANN401
    times = tuple(seconds_of(sample, of=of) for sample in samples)
    middle = statistics.median(times)
    return Reading(time_s=middle, statistic="median", samples_s=times, device=device, **more)


def _pytest_rows(content: Mapping[str, Any]) -> Rows:
    machine = content.get("machine_info") or {}
    cpu = machine.get("cpu") or {}
    named = (cpu.get("brand_raw"), machine.get("processor"), machine.get("machine"))
    device = ", ".join(
        dict.fromkeys(filter(None, (machine.get("node"), next(filter(None, named), ""))))
    )
    # The gate of this suite writes the medians of rounds of fresh processes.
    of_gate = (content.get("commit_info") or {}).get("project") == "bench.regress"
    for benchmark in content["benchmarks"]:
        name, stats = str(benchmark["fullname"]), benchmark["stats"]
        if stats.get("data"):
            of = {"of": name, "device": device}
            yield name, _of_samples(stats["data"], **of, of_processes=of_gate)
        else:
            yield (
                name,
                Reading(
                    time_s=seconds_of(stats["median"], of=name),
                    statistic="median",
                    calls=int(stats["rounds"]),
                    deviation=stats["stddev"] / stats["mean"],
                    device=device,
                ),
            )


def _nvbench_rows(content: Mapping[str, Any], folder: Path) -> Rows:
    devices = {device["id"]: str(device["name"]) for device in content["devices"]}
    for benchmark in content["benchmarks"]:
        for state in benchmark["states"]:
            name = f"{benchmark['name']} {state['name']}"
            if state.get("is_skipped"):
                yield name, f"skipped: {state.get('skip_reason') or 'no reason given'}"
                continue
            device = devices.get(state.get("device"), "")
            yield name, _nvbench_reading(state, folder, of=name, device=device)


def _nvbench_reading(
    state: Mapping[str, Any], folder: Path, *, of: str, device: str
) -> Reading | str:
    values = {
        summary["tag"]: {each["name"]: each.get("value") for each in summary.get("data", ())}
        for summary in state.get("summaries") or ()
    }
    samples = _nvbench_samples(values.get(SAMPLE_TIMES, {}), folder)
    if samples:
        return _of_samples(samples, of=of, device=device)
    mean = values.get(f"{GPU_TIME}/mean", {}).get("value")
    if mean is None:
        return f"no {GPU_TIME}/mean"
    calls = values.get("nv/cold/sample_size", {}).get("value")
    noise = values.get(f"{GPU_TIME}/stdev/relative", {}).get("value")
    return Reading(
        time_s=seconds_of(mean, of=of),
        statistic="mean",
        calls=None if calls is None else int(calls),
        deviation=None if noise is None else float(noise),
        device=device,
    )


def _nvbench_samples(about: Mapping[str, Any], folder: Path) -> tuple[float, ...]:
    """Float32 in a file that the JSON names, from beside it or from the folder above; none where it is not there."""
    name = about.get("filename")
    places = (folder / str(name), folder.parent / str(name)) if name else ()
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        return ()
    content = file.read_bytes()
    if len(content) != 4 * int(about["size"]):
        msg = f"{file.name} has {len(content)} bytes and not 4 for each of {about['size']} samples"
        raise ValueError(msg)
    samples = array.array("f", content)
    if sys.byteorder != "little":
        samples.byteswap()
    return tuple(samples)


def _has_trials(content: Any, depth: int = 0) -> bool:  # noqa: ANN401  # somebody else's JSON
    if isinstance(content, list):
        content = dict(enumerate(content))
    if not isinstance(content, dict) or depth > DEEPEST:
        return False
    is_row = "runtime_stats" in content or {"mean", "num_trials"} <= content.keys()
    return is_row or any(_has_trials(value, depth + 1) for value in content.values())


def _kernelbench_rows(content: Any, path: tuple[str, ...] = ()) -> Rows:  # noqa: ANN401
    """A row for each problem, of a table of baselines or of evaluated samples."""
    if isinstance(content, list):
        content = {
            str(each.get("sample_id", at)) if isinstance(each, dict) else str(at): each
            for at, each in enumerate(content)
        }
    if not isinstance(content, dict) or len(path) > DEEPEST:
        return
    name = "/".join(path)
    if "runtime_stats" in content:
        if not content.get("correctness"):
            yield name, "not correct, so that its time says nothing"
        elif content["runtime_stats"]:
            hardware = (content.get("metadata") or {}).get("hardware", "")
            yield (
                name,
                _kernelbench_reading({"hardware": hardware, **content["runtime_stats"]}, name),
            )
        else:
            yield name, "its performance was not measured"
    elif {"mean", "num_trials"} <= content.keys():
        yield name, _kernelbench_reading(content, name)
    else:
        for key, value in content.items():
            if isinstance(value, dict | list):
                yield from _kernelbench_rows(value, (*path, str(key)))


def _kernelbench_reading(row: Mapping[str, Any], name: str) -> Reading:
    std = row.get("std")
    return Reading(
        time_s=seconds_of(row["mean"], of=name, unit_s=MILLI),
        statistic="mean",
        calls=int(row["num_trials"]),
        deviation=None if std in (None, "") else float(std) / float(row["mean"]),
        device=str(row.get("hardware") or ""),
    )


def _kernelbench_cells(text: str) -> Rows:
    figures = {"mean", "std", "min", "max", "num_trials", "hardware", "device"}
    for row in csv.DictReader(text.splitlines()):
        name = "/".join(value for key, value in row.items() if key and key not in figures and value)
        yield name, _kernelbench_reading(row, name)


def _tritonbench_rows(metrics: Mapping[str, Any]) -> Rows:
    for key, value in metrics.items():
        match = TRITONBENCH_KEY.fullmatch(key)
        if match and not any(f"[x_{word}-" in key for word in NO_ROWS):
            yield match["name"], _tritonbench_reading(value, match["name"])


def _tritonbench_cells(text: str) -> Rows:
    head, *rows = csv.reader(text.splitlines(), delimiter=";")
    for row in rows:
        if not row or row[0] in NO_ROWS:
            continue
        for column, value in zip(head[1:], row[1:], strict=False):
            if column.endswith("-latency"):
                name = f"{head[0]} {row[0]}, {column.removesuffix('-latency')}"
                yield name, _tritonbench_reading(value, name)


def _tritonbench_reading(value: object, name: str) -> Reading | str:
    """A cell's median; in the place of a number there may be an error's message, or nothing."""
    if value in (None, ""):
        return "no latency"
    try:
        float(value)  # type: ignore[arg-type]  # a TypeError says that it is no number
    except (TypeError, ValueError):
        return f"no latency: {value}"
    return Reading(time_s=seconds_of(value, of=name, unit_s=MILLI))
