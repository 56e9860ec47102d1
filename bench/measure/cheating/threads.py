"""Threads of this process that compute while nothing is called."""

import threading
import time
from contextlib import suppress
from pathlib import Path

IDLE_S = 3e-3
# Of that time; a thread that only wakes up takes less.
BUSY_SHARE = 0.2
LOOKS = 3
TASKS = Path("/proc/self/task")


def busy_thread() -> str | None:
    """Name of a thread of Python's that computes, or waits for a core to, while this one idles; None if there is none.

    Only Linux says so. Those of the processor's libraries, which spin for a while after each call, are not looked at.
    Where there is no other thread nothing waits.
    """
    others = {each.native_id: each.name for each in threading.enumerate()}
    others.pop(threading.get_native_id(), None)
    if not others:
        return None
    busy = others
    for _ in range(LOOKS):  # one that has just been started waits for a core too, once
        before = {task: _wanted_s(task) for task in busy}
        time.sleep(IDLE_S)
        enough_s = BUSY_SHARE * IDLE_S
        busy = {
            task: name for task, name in busy.items() if _wanted_s(task) - before[task] > enough_s
        }
    return next(iter(busy.values()), None)


def _wanted_s(task: int | None) -> float:
    """Seconds for which a thread had a core or waited for one; 0 of one that is gone."""
    with suppress(OSError, ValueError):
        run_ns, wait_ns, *_ = (TASKS / str(task) / "schedstat").read_text("ascii").split()
        return 1e-9 * (int(run_ns) + int(wait_ns))
    return 0.0
