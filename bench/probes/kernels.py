"""Which attention kernel ran: torch chooses one by type, width, layout and device, and says nothing.

Read from the profiler, which sees operators that the dispatcher no longer names (the math path) and,
on a GPU, the kernels below them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

from bench.probes import operations

# The operator that a call ends in, and kernels by the names of their libraries.
OPERATOR = re.compile(r"^aten::_scaled_dot_product_(?!attention$)\w+$")
KERNEL = re.compile(r"flash|fmha|sdpa|attention", re.IGNORECASE)
LONGEST_NAME = 120  # a template's arguments say no more than its first ones


def ran(work: Callable[[], object], *, device: Literal["cpu", "cuda"]) -> tuple[str, ...]:
    """Call once more under the profiler; name the attention operators and GPU kernels, the most frequent first.

    Empty where no attention was fused, or compiled code calls none.
    """
    return named(operations.events(work, device))


def named(events: Iterable[Any]) -> tuple[str, ...]:
    """Names of those events that are attention."""
    seen: Counter[str] = Counter()
    for event in events:
        on_host = event.device_type.name == "CPU"
        if (OPERATOR if on_host else KERNEL).search(event.name):
            seen[event.name.removeprefix("aten::")[:LONGEST_NAME]] += 1
    return tuple(name for name, _ in seen.most_common())
