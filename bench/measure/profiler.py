"""Time per operator, for the paper's Fig. 2: torch's profiler, each run summed by operator.

On the CPU an operator's own time, without the operators that it calls; on a GPU the time of the kernels that it
launched, so that rows add up to the whole on either device.
"""

import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal

from bench.records import OperatorTime
from experiments.spec import Measurement

# First match wins; names are those of ATen, backward ones included.
GROUPS = (
    ("softmax", re.compile(r"softmax")),
    ("pooling", re.compile(r"pool")),
    ("batch norm", re.compile(r"batch_?norm", re.IGNORECASE)),
    ("conv", re.compile(r"conv(olution|_transpose|_depthwise|_tbc|[0-9])|_conv_", re.IGNORECASE)),
    (
        "matmul",
        re.compile(r"::\w*mm(_|$)|::\w*(matmul|linear|einsum)|::(dot|mv)$|attention|gemm|^ann::"),
    ),
    ("element-wise", re.compile(r"::(add|sub|mul|div|relu|threshold\w*|clamp\w*|sum|mean)_?$")),
    ("concat/copy", re.compile(r"::_?(cat|concat|stack|to|clone|contiguous)$|copy|pad|reorder")),
)
# The operator that a call ends in, and kernels by the names of their libraries.
OPERATOR = re.compile(r"^(aten::_scaled_dot_product_(?!attention$)\w+|ann::attend_tiles)$")
KERNEL = re.compile(r"flash|fmha|sdpa|attention", re.IGNORECASE)
# Of calls that take as long as this so many runs are kept, the first one too: what is done for the first time alone
# takes milliseconds.
LONG_CALL_S, LONG_CALLS = 10.0, 3
LONGEST_NAME = 120  # a template's arguments say no more than its first ones
UNATTRIBUTED = "(launched outside operators)"
# What CUPTI reports beside operators: calls of CUDA's runtime and driver, and its own overhead (kinds as Kineto names
# them). In torch 2.11 one can bear the number of an operator, whose kernels it then has as well.
BESIDE_OPERATORS = re.compile(
    r"^(cu(da)?[A-Z]\w*|INVALID|Unknown|Driver Compiler|Buffer Flush|Instrumentation|Resource|UVM Activity Init|"
    r"Runtime Triggered Module Loading|Lazy Function Loading|Command Buffer Full|Activity Buffer Request)$"
)


def group_of(name: str) -> str:
    """Group of an operator as the figure has them; `other` for one that fits none."""
    return next((group for group, pattern in GROUPS if pattern.search(name)), "other")


def profile(
    work: Callable[[], object],
    *,
    device: Literal["cpu", "cuda"],
    repeats: int = 5,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[OperatorTime, ...]:
    """Time the operators of one call, in several runs after one that is not kept.

    Of calls of `LONG_CALL_S` there are `LONG_CALLS` runs, all of which are kept.

    Operators are by falling median; one that a run lacks took 0 s in it. `cpu` is the time on the
    host's threads, `cuda` that of the kernels.

    Raises:
        ValueError: the device is another, or there are no repeats.
    """
    if device not in ("cpu", "cuda"):
        msg = f"device {device!r} runs nothing that could be timed; pass cpu or cuda"
        raise ValueError(msg)
    if repeats < 1:
        msg = f"repeats={repeats} times nothing; pass 1 or more"
        raise ValueError(msg)
    began_s = clock()
    runs = [tally(events(work, device), device=device)]
    if clock() - began_s < LONG_CALL_S:
        runs, left = [], repeats
    else:
        left = min(repeats, LONG_CALLS) - 1
    runs += [tally(events(work, device), device=device) for _ in range(left)]
    return collate(runs)


def tally(events: Iterable[Any], *, device: Literal["cpu", "cuda"]) -> dict[str, float]:
    """Sum the events of one run by operator, in seconds; the profiler counts in microseconds.

    Kernels that no operator launched are summed under one name of their own.
    """
    totals: defaultdict[str, float] = defaultdict(float)
    on_device_us = 0.0
    for event in events:
        if getattr(event, "is_user_annotation", False):
            continue
        if event.device_type.name != "CPU":
            on_device_us += event.self_device_time_total
        elif device == "cpu" or not BESIDE_OPERATORS.match(event.name):
            on_cpu, on_gpu = event.self_cpu_time_total, event.self_device_time_total
            totals[event.name] += (on_gpu if device == "cuda" else on_cpu) * 1e-6
    lost_s = on_device_us * 1e-6 - sum(totals.values())
    if device == "cuda" and lost_s > 1e-9:
        totals[UNATTRIBUTED] = lost_s
    return {name: seconds for name, seconds in totals.items() if seconds > 0}


def collate(runs: Iterable[dict[str, float]]) -> tuple[OperatorTime, ...]:
    """Put the runs' sums side by side, the longest operators first."""
    runs = tuple(runs)
    operators = [
        OperatorTime(
            name=name, group=group_of(name), samples_s=tuple(run.get(name, 0.0) for run in runs)
        )
        for name in {name for run in runs for name in run}
    ]
    middle = len(runs) // 2
    return tuple(sorted(operators, key=lambda row: (-sorted(row.samples_s)[middle], row.name)))


def events(work: Callable[[], object], device: str) -> list[Any]:
    """What torch's profiler saw of one call."""
    # Its library reports every start and stop on standard error; read when it starts.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
        torch.cuda.synchronize()
    # torch 2.11 warns where events are not accumulated, although there is one cycle.
    with profiler(activities=activities, acc_events=True) as seen:
        work()
        if device == "cuda":
            torch.cuda.synchronize()
    return list(seen.events() or ())


def executed_kernels(
    work: Callable[[], object], *, device: Literal["cpu", "cuda"]
) -> tuple[str, ...]:
    """Call once more under the profiler; name the attention operators and GPU kernels, the most frequent first.

    Empty where no attention was fused, or compiled code calls none.
    """
    return attention_names(events(work, device))


def attention_names(launched: Iterable[Any]) -> tuple[str, ...]:
    """Names of those events that are attention."""
    seen: Counter[str] = Counter()
    for event in launched:
        on_host = event.device_type.name == "CPU"
        if (OPERATOR if on_host else KERNEL).search(event.name):
            seen[event.name.removeprefix("aten::")[:LONGEST_NAME]] += 1
    return tuple(name for name, _ in seen.most_common())


def probe(
    work: Callable[[], object], _cell: Measurement, device: Literal["cpu", "cuda"]
) -> dict[str, Any]:
    """The probe `operations`."""
    return {"operations": profile(work, device=device)}
