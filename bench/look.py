"""A first look at a device: whether each kind of cell runs there, and is right; `python -m bench.reference --look`.

One call of each kind on small maps in one process, with all that its probes read, compared with the plain
block in float64 with the same weights and inputs, its gradients too; then one short training. The figures
are of small maps, and of a process that is not fresh: they tell faults and are no results.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from ann.spec import BlockSpec, Size
from bench import shell
from bench.measure import float64_errors, measure_cell, measure_memory
from bench.predict import fake, make_fake, predict_memory
from bench.records import NO_GRAPH, Failure, error_failure
from bench.run import Task, run_task, tidy_process
from bench.shell import KindResult
from bench.workloads import make_workload, unswitched
from experiments import reference
from experiments.paper import table1
from experiments.spec import Measurement, TrainingJob
from experiments.training import Setting

FILE = "look.jsonl"
# No grid divides the maps. A processor takes half a minute for a step in float16 on the larger one.
MAPS = {"cuda": Size(width=61, height=47), "cpu": Size(width=17, height=13)}
IMAGE = Size(width=129, height=65)
# Of outputs: the largest difference over the largest value.
TOLERANCES = {
    "float32": 1e-4,
    **dict.fromkeys(("tf32", "float16", "autocast-float16"), 5e-3),
    **dict.fromkeys(("bfloat16", "autocast-bfloat16"), 3e-2),
}
# Of gradients, which pass through more roundings: a product that is missing is off by about 1.
GRADIENT_TOLERANCE, SHORT_GRADIENT_TOLERANCE = 5e-3, 0.2
BUDGET_S, ITERATIONS, TRAINING_LIMIT_S = 0.3, 20, 120.0
# Launches that are timed for what the profiler leaves behind, and the share by which they may differ.
LAUNCHES, SLOWER = 2000, 0.2
MEBI = 2**20


def kinds(device: str) -> tuple[Measurement, ...]:
    """One small cell of each kind that is executed, the most needed first, what is compiled last.

    A kind is a block in one implementation, mode, number format and protocol with its probes, or a
    network of Table 2; of the model zoo's networks, which have the same parts, one training step.
    """
    smallest: dict[tuple[object, ...], Measurement] = {}
    for cell in (cell for step in reference.steps(Setting()) for cell in step.cells):
        if isinstance(cell, Measurement) and cell.is_executed and (key := _kind(cell)) is not None:
            size = MAPS[device] if isinstance(cell.subject, BlockSpec) else IMAGE
            smallest.setdefault(key, replace(cell, size=size, budget_s=BUDGET_S, preceded_by=()))
    return tuple(sorted(smallest.values(), key=reference.is_compiled))  # otherwise in order


def _kind(cell: Measurement) -> tuple[object, ...] | None:
    if isinstance(cell.subject, BlockSpec):
        call = (cell.name, cell.mode, cell.dtype, cell.protocol, cell.implementation)
        return *call, cell.probes == ("operations",)
    if cell.experiment == "table2":
        return (cell.name,)
    return ("network",) if cell.mode == "train" else None


def name(cell: Measurement) -> str:
    """A kind in words."""
    profiled = "profile" if cell.probes == ("operations",) else ""
    paper = cell.protocol if cell.protocol != "strict" else ""
    return " ".join(filter(None, (cell.name, cell.mode, cell.dtype, paper, profiled)))


def run(
    out: Path, setting: Setting, *, device: str, has_time: Callable[[], bool]
) -> tuple[int, list[KindResult]]:
    """Look at all kinds while there is time, and at a short training on the setting's data in any case.

    Prints a line each, which the folder gets as JSON, and the summary; gives 1 if anything failed or was wrong.
    """
    results: list[KindResult] = []
    left: list[str] = []
    with (out / FILE).open("w", encoding="utf-8") as file:  # of this look alone
        for result in _look_at_all(setting, left, device=device, has_time=has_time):
            results.append(result)
            sys.stdout.write(result.line() + "\n")
            file.write(json.dumps(asdict(result)) + "\n")
            sys.stdout.flush()
            file.flush()
    sys.stdout.write(f"{', '.join((*_tally(results), *left))}; see {FILE}\n")
    return int(any(result.state in ("wrong", "failed") for result in results)), results


def _tally(results: list[KindResult]) -> Iterator[str]:
    words = {"ok": "right", "wrong": "wrong", "failed": "failed", "lacks": "not on this device"}
    for state, word in words.items():
        yield f"{sum(result.state == state for result in results)} {word}"
    without = sum(any(note.startswith(NO_GRAPH) for note in result.notes) for result in results)
    if without:
        yield f"{without} without a CUDA graph"


def _look_at_all(
    setting: Setting, left: list[str], *, device: str, has_time: Callable[[], bool]
) -> Iterator[KindResult]:
    """Results as they come; `left` gets how many kinds were not looked at, and why."""
    launched_s = _launch_s() if device == "cuda" else 0.0
    cells, why_left = list(kinds(device)), ""
    while cells and not why_left:
        if has_time():
            cell = cells.pop(0)
            yield _attempt(name(cell), partial(look, cell, device))
            why_left = "" if tidy_process() else "the device computes no more"
        else:
            why_left = "the time was up"
    if cells:
        left.append(f"{len(cells)} not looked at: {why_left}")
    if device == "cuda":
        yield _attempt("launch after the profiler", lambda: _launches(launched_s))
        for block in ("nb", "apnb"):
            yield _attempt(f"{block} workspace of cuDNN", partial(_workspace, block))
            tidy_process()
    yield _attempt("training", lambda: _train(setting, device))


def _attempt(what: str, act: Callable[[], KindResult]) -> KindResult:
    """Do it; whatever goes wrong is what we look for."""
    began_s = time.monotonic()
    try:
        with shell.undisturbed(), unswitched():
            result = act()
    except Exception as error:  # noqa: BLE001
        failure = error_failure(error)
        lacks = failure.kind == "unavailable"
        result = KindResult(state="lacks" if lacks else "failed", reason=failure.reason)
    result.what, result.seconds = what, time.monotonic() - began_s
    return result


def look(cell: Measurement, device: str) -> KindResult:
    """Read all that a cell's probes read, and compare its call with float64."""
    measures = measure_cell(cell, device)  # type: ignore[arg-type]  # a device that computes
    added = measures.memory.requested_bytes if measures.memory else None
    result = KindResult(
        memory=added / _predicted_bytes(cell) if added else None,
        clocks=tuple(dict.fromkeys(timing.clock for timing in measures.timings)),
        notes=tuple(note for timing in measures.timings for note in timing.notes),
        kernels=measures.kernels[:1],
    )
    if cell.protocol == "strict":
        result.error, result.gradient_error = float64_errors(cell, device)
        result.reason = _wrong(cell, result)
        result.state = "wrong" if result.reason else "ok"
    return result


def _wrong(cell: Measurement, result: KindResult) -> str:
    limit = TOLERANCES[cell.dtype]
    if not (result.error or 0.0) <= limit:  # nor NaN
        return f"outputs differ from float64 by more than {limit:g} of the largest"
    limit = GRADIENT_TOLERANCE if cell.dtype == "float32" else SHORT_GRADIENT_TOLERANCE
    if not (result.gradient_error or 0.0) <= limit:
        return f"gradients differ from float64 by more than {limit:g} of their norm"
    return ""


def _predicted_bytes(cell: Measurement) -> int:
    with fake.on("cuda"):
        work = make_fake(cell, "cuda")
        predicted = predict_memory(work.module, work.inputs, mode=cell.mode, numbers=work.numbers)
    return predicted.increment_bytes


def _launch_s() -> float:
    """What the host needs to launch one small kernel."""
    small = torch.zeros(8, device="cuda")
    for _ in range(2):  # the first time is for loading
        torch.cuda.synchronize()
        began_s = time.perf_counter()
        for _ in range(LAUNCHES):
            small.add_(1.0)
        spent_s = time.perf_counter() - began_s
    return spent_s / LAUNCHES


def _launches(before_s: float) -> KindResult:
    """Whether the profiler leaves launches as quick as they were, since cells share a process."""
    after_s = _launch_s()
    reason = f"{before_s * 1e6:.2f} us before, {after_s * 1e6:.2f} us after"
    is_slower = after_s > (1 + SLOWER) * before_s
    return KindResult(state="wrong" if is_slower else "ok", reason=reason)


def _workspace(block: str) -> KindResult:
    """What a block of Table 1 requests with and without cuDNN, whose convolutions may take a workspace."""
    wanted = (block, table1.TESTING, "strict")
    cells = (cell for cell in table1.EXPERIMENT.cells if isinstance(cell, Measurement))
    cell = next(cell for cell in cells if (cell.name, cell.size, cell.protocol) == wanted)
    work = make_workload(cell, "cuda")
    readings = [f"{_predicted_bytes(cell) / MEBI:.1f} MiB predicted"]
    for enabled in (True, False):
        torch.backends.cudnn.enabled = enabled
        try:
            requested = measure_memory(work, device="cuda").requested_bytes or 0
        finally:
            torch.backends.cudnn.enabled = True
        readings.append(f"{requested / MEBI:.1f} {'with' if enabled else 'without'} cuDNN")
    return KindResult(reason=", ".join(readings))


def _train(setting: Setting, device: str) -> KindResult:
    """Twenty iterations in a process of its own, as the ablations train."""
    cells = (cell for step in reference.steps(setting) for cell in step.cells)
    cell = next(cell for cell in cells if isinstance(cell, TrainingJob))
    short = replace(cell.training, iterations=ITERATIONS)
    short_cell = replace(cell, training=short, time_limit_s=TRAINING_LIMIT_S)
    outcome = run_task(Task(cell=short_cell, device=device))
    if isinstance(outcome, Failure):
        return KindResult(state="failed", reason=f"{outcome.kind}: {outcome.reason}")
    assert outcome.accuracy is not None, "that is its probe"
    return KindResult(reason=f"{ITERATIONS} iterations of {cell.name}")
